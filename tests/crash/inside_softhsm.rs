//! `kill -9` inside the files that SoftHSM writes in place: its login's and its objects'.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Scene;
use super::load::Random;
use super::support::{PROGRAM, Service};

/// Every login empties and rewrites `token.object`; whatever is left of it, the next start heals the token.
#[test]
fn kills_inside_a_login() {
    let mut scene = Scene::new(1);
    scene.load_and_kill();
    let token = std::fs::read_dir(scene.data.join("tokens")).unwrap().next().unwrap().unwrap().path();
    let file = token.join("token.object");
    let whole = std::fs::metadata(&file).unwrap().len();
    let mut broken = 0;
    for (call, counts) in [("ftruncate", 1..=1), ("write", 1..=3)] {
        for count in counts {
            scene.start().terminate();
            let _ = scene.start_killed_at(call, count, Some(&file));
            broken += usize::from(std::fs::metadata(&file).unwrap().len() < whole);
        }
    }
    scene.finish();
    assert!(broken >= 1, "the file was left broken {broken} times");
}

/// Kills at system calls of a service that makes keys: what is half-made on the token is undone or reported.
#[test]
fn kills_inside_the_writes_of_objects() {
    let mut scene = Scene::new(3);
    let mut random = Random::new(super::seed());
    let truncations = (2..=12).map(|count| ("ftruncate", count));
    let writes = (0..20).map(|_| ("write", 20 + random.below(400)));
    for (call, count) in truncations.chain(writes) {
        scene.start().terminate();
        if let Some(service) = scene.start_killed_at(call, count, None) {
            scene.load(&service, || wait_for_tracee(service.pid()));
        }
    }
    scene.finish();
    assert!(scene.in_flight >= 10, "{} of {}", scene.in_flight, scene.killed);
}

impl Scene {
    /// Starts the service under strace, which kills it at the `count`th system call of this name, on `file` if given.
    /// `None` if that was before it served.
    fn start_killed_at(&self, call: &str, count: usize, file: Option<&Path>) -> Option<Service> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={count}")]);
        if let Some(file) = file {
            command.arg("-P").arg(file);
        }
        command.args([PROGRAM, "dev", "--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        let service = Service::spawn(&self.data, &mut command).ok()?;
        if file.is_some() {
            // Alive, so this login had fewer calls. strace leaves its tracee alone when it ends.
            kill_tracee(service.pid());
        }
        Some(service)
    }
}

/// Waits until the program that this strace runs has been killed, and kills it if that takes too long.
fn wait_for_tracee(strace: u32) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while tracee(strace).is_some() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_tracee(strace);
}

fn kill_tracee(strace: u32) {
    if let Some(pid) = tracee(strace) {
        super::kill(pid);
        // Its lock is free when its last thread is gone and strace has seen it, a while later if one was computing.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{pid}")).exists() {
            assert!(Instant::now() < deadline, "process {pid} outlives SIGKILL");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn tracee(strace: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
