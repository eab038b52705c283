//! The whole service, killed as a power cut would kill it but for the page cache: nothing acknowledged is lost, no
//! answer lacks its record, nothing half-made is left in use.

mod inside_softhsm;
mod load;
mod pairs;
#[path = "../support/mod.rs"]
mod support;
mod truth;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use load::{Client, Random};
use support::{PROGRAM, Service};
use truth::{check, check_all};

#[test]
fn kills_at_random_moments_1() {
    kill_at_random_moments(3, 16, 3);
}

#[test]
fn kills_at_random_moments_2() {
    kill_at_random_moments(3, 16, 5);
}

#[test]
fn kills_at_random_moments_3() {
    kill_at_random_moments(3, 16, 8);
}

/// The service ends itself at each of its own crash points, the first few times it comes there.
#[test]
fn kills_at_the_service_s_own_crash_points() {
    let mut scene = Scene::new(4);
    for nth in [1, 2, 3, 7] {
        for point in ["creation-begun", "creation-on-token", "change-committed", "change-recorded"] {
            scene.load_until_point(&format!("{point}:{nth}"));
        }
    }
    // Purged once a second.
    for point in ["outbox-copied:1", "outbox-copied:2"] {
        scene.load_until_point(point);
    }
    scene.finish();
    assert_eq!(scene.killed, 18);
    assert!(scene.in_flight >= 12, "a crash point is inside a request: {}", scene.in_flight);
}

/// A first start that is killed at any moment does not keep the second from working.
#[test]
fn kills_amid_the_first_start() {
    let mut random = Random::new(seed());
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        start_and_kill(&data, Duration::from_millis(random.below(250) as u64));
        let service = Service::start_in(&data, &[]);
        let made = truth::call(&service, "CreateKey", &serde_json::json!({}));
        assert!(made["KeyMetadata"]["KeyId"].is_string(), "round {round}");
        truth::check_all(
            &service,
            &mut [],
            &mut BTreeSet::from([made["KeyMetadata"]["KeyId"].as_str().unwrap().into()]),
        );
        verify(&data);
    }
}

fn kill_at_random_moments(folders: usize, rounds: usize, clients: usize) {
    let (mut killed, mut in_flight) = (0, 0);
    for _ in 0..folders {
        let mut scene = Scene::new(clients);
        for round in 0..rounds {
            if round % 4 == 3 {
                scene.kill_a_start();
            }
            scene.load_and_kill();
        }
        scene.finish();
        killed += scene.killed;
        in_flight += scene.in_flight;
    }
    eprintln!("{killed} kills, {in_flight} of them with requests in flight");
    assert!(in_flight * 2 >= killed, "most kills come amid requests: {in_flight} of {killed}");
}

/// One data folder, its clients, and what became of both.
struct Scene {
    _folder: tempfile::TempDir,
    data: PathBuf,
    random: Random,
    clients: Vec<Client>,
    strays: BTreeSet<String>,
    killed: usize,
    in_flight: usize,
}

impl Scene {
    fn new(clients: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seed = seed();
        eprintln!("seed {seed}");
        let data = folder.path().join("data");
        let clients = (0..clients).map(|number| Client::new(number, seed)).collect();
        let (random, strays) = (Random::new(seed), BTreeSet::new());
        Scene { _folder: folder, data, random, clients, strays, killed: 0, in_flight: 0 }
    }

    /// Starts the service, checks what the last kill left, and kills it again amid requests.
    fn load_and_kill(&mut self) {
        let service = self.start();
        let delay = Duration::from_millis(20 + self.random.below(130) as u64);
        self.load(&service, || {
            std::thread::sleep(delay);
            kill(service.pid());
        });
        drop(service);
    }

    /// As `load_and_kill`, where the service ends itself at a crash point.
    fn load_until_point(&mut self, point: &str) {
        self.start().terminate();
        let mut command = Command::new(PROGRAM);
        command.env(hsm_kms::crash_point::VARIABLE, point);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        match Service::spawn(&self.data, &mut command) {
            // A start reaches some points, too.
            Err(failed) => {
                assert_eq!(failed.status.signal(), Some(9), "{point}: {}", failed.log);
                self.killed += 1;
            }
            Ok(service) => self.load(&service, || {}),
        }
    }

    /// Starts the service and kills it before, or just when, it serves.
    fn kill_a_start(&mut self) {
        start_and_kill(&self.data, Duration::from_millis(self.random.below(120) as u64));
        self.killed += 1;
    }

    /// All clients at work until the service is gone.
    fn load(&mut self, service: &Service, end: impl FnOnce()) {
        std::thread::scope(|scope| {
            for client in &mut self.clients {
                scope.spawn(|| client.work(service));
            }
            end();
        });
        self.killed += 1;
        self.in_flight += usize::from(self.in_flight_now() > 0);
    }

    fn in_flight_now(&self) -> usize {
        self.clients.iter().filter(|client| client.in_flight.is_some()).count()
    }

    fn start(&mut self) -> Service {
        let service = Service::start_in(&self.data, &[]);
        check(&service, &mut self.clients, &mut self.strays);
        service
    }

    fn finish(&mut self) {
        let service = self.start();
        check_all(&service, &mut self.clients, &mut self.strays);
        let (status, _) = service.terminate();
        assert!(status.success(), "{status}");
        verify(&self.data);
    }
}

/// The chain of the log in a data folder.
fn verify(data: &Path) -> hsm_kms::audit::Report {
    hsm_kms::audit::verify(&data.join("audit")).unwrap()
}

fn start_and_kill(data: &Path, after: Duration) {
    let mut child = Command::new(PROGRAM)
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// New in every run; printed, so that a failed run's choices can be made again.
fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}
