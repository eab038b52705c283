//! The socket: who may come, what is refused, and that nobody holds others up.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::operator::{failure, principal};
use crate::support::{PROGRAM, Service, audit_lines};
use crate::{answer_of, ask, done, events, exchange, outcome};

#[test]
fn its_mode_is_never_wider_than_0600() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut modes = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" dev --listen 127.0.0.1:0 --data \"$1\"", PROGRAM]).arg(&data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(data.join("admin.sock")).is_err() && Instant::now() < deadline {
            modes.extend(std::fs::metadata(data.join("admin.sock")).map(|metadata| metadata.mode() & 0o777));
        }
        modes.insert(std::fs::metadata(data.join("admin.sock")).unwrap().mode() & 0o777);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(modes, [0o600].into());
}

/// Even if somebody opens the folder and the socket.
#[test]
fn a_foreign_user_is_turned_away() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can be somebody else");
    }
    let service = Service::start();
    let data = service.data().to_owned();
    for (path, mode) in [(data.parent().unwrap(), 0o755), (&data, 0o711), (&data.join("admin.sock"), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let program = data.with_file_name("hsm-kms");
    std::fs::copy(PROGRAM, &program).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    let output =
        nobody.args(["principal", "create-user", "--user-name", "mallory", "--data"]).arg(&data).output().unwrap();
    let (code, text) = failure(&output);
    assert!(code == 1 && text.contains("it serves root and its own user only"), "{code} {text}");
    assert_eq!(done(&service, "ListUsers", json!({})), json!({ "Users": [] }));
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (_, _folder) = service.terminate();
    let lines = audit_lines(&data);
    let refused: Vec<_> = lines.iter().filter(|line| line["refused"]["reason"] == "ForeignUser").collect();
    assert!(refused.len() == 1 && refused[0]["refused"]["count"] == 1, "{refused:?}");
}

/// A service that is not root's serves its own user and root, under a path that no socket address holds.
#[test]
fn a_service_of_another_user_serves_that_one_and_root() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can be somebody else");
    }
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("a".repeat(100));
    std::fs::create_dir(&long).unwrap();
    let program = folder.path().join("hsm-kms");
    std::fs::copy(PROGRAM, &program).unwrap();
    for path in [folder.path(), &long, &program] {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let data = long.join("data");
    let own = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
        command.arg("--data").arg(&data);
        command
    };
    let service = Service::spawn(&data, &mut own(&["dev", "--listen", "127.0.0.1:0"])).unwrap();
    assert_eq!(std::fs::metadata(data.join("admin.sock")).unwrap().mode() & 0o777, 0o600);
    assert!(own(&["principal", "create-user", "--user-name", "alice"]).output().unwrap().status.success());
    assert!(principal(&data, &["create-user", "--user-name", "bob"]).status.success());
    let users: Vec<_> = events(&data, "CreateUser").iter().map(|event| event["userIdentity"].clone()).collect();
    assert_eq!(users[0]["principalId"], "uid:65534");
    assert_eq!((&users[1]["principalId"], &users[1]["userName"]), (&json!("uid:0"), &json!("root")));
    service.terminate();
    assert!(own(&["principal", "get-user", "--user-name", "bob"]).output().unwrap().status.success());
}

#[test]
fn a_path_longer_than_an_address_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("b".repeat(120)).join("data");
    let service = Service::start_in(&data, &[]);
    assert!(principal(&data, &["create-user", "--user-name", "alice"]).status.success());
    // And a short one to the same folder.
    let output = Command::new(PROGRAM)
        .current_dir(data.parent().unwrap())
        .args(["principal", "get-user", "--user-name", "alice", "--data", "data"])
        .output()
        .unwrap();
    assert!(output.status.success());
    drop(service);
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let service = Service::start();
    let data = service.data().to_owned();
    let _folder = service.kill9();
    let socket = data.join("admin.sock");
    assert!(socket.exists());
    let service = Service::start_in(&data, &[]);
    done(&service, "ListUsers", json!({}));
    service.terminate();
    assert!(!socket.exists());
    std::fs::write(&socket, "somebody's file").unwrap();
    let failed = Service::try_start_in(&data, &[]).err().expect("a refusal");
    assert!(failed.log.contains("is no socket; move it away"), "{}", failed.log);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "somebody's file");
}

#[test]
fn garbage_is_refused_and_recorded() {
    let service = Service::start();
    for garbage in [
        &b""[..],
        b"\0\xff\xfe",
        b"GET / HTTP/1.1",
        b"[]",
        b"{}",
        br#"{"operation":"ListUsers","operation":"ListUsers"}"#,
        br#"{"operation":"GetUser","parameters":{"UserName":"a","UserName":"b"}}"#,
        br#"{"operation":"TagUser","parameters":{"UserName":"a","Tags":[{"Key":"a","Key":"b","Value":""}]}}"#,
        br#"{"operation":"ListUsers","parameters":[]}"#,
        br#"{"operation":"ListUsers","more":1}"#,
        br#"{"operation":"ListUsers"} {}"#,
        br#"{"operation":7}"#,
        br#"{"operation":"GetUser","parameters":{"UserName":7}}"#,
        br#"{"operation":"ListUsers","parameters":{"AccountId":7}}"#,
        br#"{"operation":"ListUsers","parameters":{"AccountId":"7"}}"#,
        &[b'['; 100_000],
    ] {
        let shown = String::from_utf8_lossy(&garbage[..garbage.len().min(80)]);
        let before = audit_lines(service.data()).len();
        let (code, _) = outcome(&exchange(service.data(), &[garbage, b"\n"].concat())).expect_err(&shown);
        assert_eq!(code, "ValidationError", "{shown}");
        let lines = audit_lines(service.data());
        assert_eq!(lines.len(), before + 1, "{shown}");
        assert_eq!(lines[before]["event"]["errorCode"], "ValidationError");
    }
    // Half a request, and then the end.
    let mut stream = UnixStream::connect(service.data().join("admin.sock")).unwrap();
    stream.write_all(br#"{"operation":"CreateUser","parameters":{"UserName":"alice"}}"#).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(outcome(&answer_of(&mut stream)).unwrap_err().1, "The request ends before its newline.");
    assert_eq!(done(&service, "ListUsers", json!({})), json!({ "Users": [] }));
}

#[test]
fn a_line_is_at_most_256_kib() {
    let service = Service::start();
    let padded = |len: usize| {
        let request = r#"{"operation":"ListUsers"}"#;
        format!("{request}{}\n", " ".repeat(len - request.len() - 1))
    };
    assert!(outcome(&exchange(service.data(), padded(256 * 1024).as_bytes())).is_ok());
    for len in [256 * 1024 + 1, 4 << 20] {
        let (code, message) = outcome(&exchange(service.data(), padded(len).as_bytes())).unwrap_err();
        assert_eq!((code.as_str(), message.as_str()), ("ValidationError", "The request is longer than 262144 bytes."));
    }
}

/// Nine clients who send nothing take all places, and lose them after five seconds.
#[test]
fn slow_senders_hold_nobody_up_for_long() {
    let service = Service::start();
    let begun = Instant::now();
    let connect = || UnixStream::connect(service.data().join("admin.sock")).unwrap();
    let mut slow: Vec<UnixStream> = (0..8).map(|_| connect()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"{").unwrap());
    let mut dripping = slow.pop().unwrap();
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b" ").is_ok() && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(100));
        }
        begun.elapsed()
    });
    done(&service, "CreateUser", json!({ "UserName": "alice" }));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for stream in &mut slow {
        assert_eq!(outcome(&answer_of(stream)).unwrap_err().1, "The request took too long to arrive.");
    }
    assert!(drip.join().unwrap() < Duration::from_secs(15));
}

#[test]
fn many_clients_are_all_answered() {
    let service = Service::start();
    std::thread::scope(|scope| {
        for number in 0..60 {
            let data = service.data();
            scope.spawn(move || {
                let name = format!("user{number}");
                ask(data, "CreateUser", &json!({ "UserName": name })).unwrap();
                assert_eq!(
                    ask(data, "GetUser", &json!({ "UserName": name })).unwrap()["User"]["UserName"],
                    name.as_str()
                );
            });
        }
    });
    assert_eq!(events(service.data(), "CreateUser").len(), 60);
}

/// A request that came whole is done and recorded, though nobody waits for its answer.
#[test]
fn what_was_asked_is_done_though_the_client_goes() {
    let service = Service::start();
    for number in 0..20 {
        let name = format!("user{number}");
        let line = format!("{}\n", json!({ "operation": "CreateUser", "parameters": { "UserName": name } }));
        let mut stream = UnixStream::connect(service.data().join("admin.sock")).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while events(service.data(), "CreateUser").len() < 20 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(done(&service, "ListUsers", json!({}))["Users"].as_array().unwrap().len(), 20);
}

/// Whoever only waits is let go when the service ends; nobody keeps it from ending.
#[test]
fn a_waiting_client_does_not_hold_the_end_up() {
    let service = Service::start();
    let data = service.data().to_owned();
    let mut waiting: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(data.join("admin.sock")).unwrap()).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(b"{").unwrap());
    let begun = Instant::now();
    let (status, _folder) = service.terminate();
    assert!(status.success() && begun.elapsed() < Duration::from_secs(4), "{status} {:?}", begun.elapsed());
    for stream in &mut waiting {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    assert_eq!(failure(&principal(Path::new("/nowhere"), &["list-users"])).0, 78);
}
