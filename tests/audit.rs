//! The audit log as an auditor, an attacker, a full disk and `kill -9` meet it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hsm_kms::audit::{Audit, Call, Error, Event, EventSource, MAX_EVENT_LEN, Report, Settings, contains, verify};
use hsm_kms::model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn settings(dir: &Path) -> Settings {
    Settings { dir: dir.to_owned(), segment_bytes: 64 << 20, reserve_bytes: 1 << 20 }
}

fn event(id: &str) -> Event {
    Event::call(Call {
        time: Timestamp::from_millis(1_763_763_600_000),
        source: EventSource::Kms,
        name: "Decrypt",
        region: &"us-east-1".parse().unwrap(),
        account: &"111122223333".parse().unwrap(),
        source_ip: "127.0.0.1",
        user_agent: "test",
        request_id: "r",
        event_id: id,
        read_only: true,
    })
}

/// Appends events one after the other.
fn write(settings: &Settings, events: &[(Vec<u8>, u64)]) {
    let (audit, _) = Audit::open(settings).unwrap();
    runtime().block_on(async {
        for (event, epoch) in events {
            audit.append(audit.begin().unwrap(), event.clone(), *epoch).await.unwrap();
        }
    });
    audit.close();
}

fn write_five(dir: &Path, segment_bytes: u64) {
    let events: Vec<_> = (1..=5).map(|n| (event(&format!("e-{n}")).to_json(), n)).collect();
    write(&Settings { segment_bytes, ..settings(dir) }, &events);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for path in segments(from) {
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

fn vectors(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/audit").join(kind);
    segments(&root).into_iter().filter(|path| path.is_dir()).collect()
}

#[test]
fn old_logs_verify_as_they_did() {
    let reports = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/audit/good/reports.json");
    let reports: HashMap<String, Value> = serde_json::from_slice(&fs::read(reports).unwrap()).unwrap();
    let logs = vectors("good");
    assert_eq!(logs.len(), reports.len());
    for log in logs {
        let name = log.file_name().unwrap().to_str().unwrap();
        assert_eq!(serde_json::to_value(verify(&log).unwrap()).unwrap(), reports[name], "{name}");
    }
}

#[test]
fn bad_logs_are_refused() {
    let logs = vectors("bad");
    assert!(logs.len() >= 30);
    for log in logs {
        let error = verify(&log).expect_err(&log.display().to_string());
        assert!(matches!(error, Error::Damaged { .. }), "{}: {error}", log.display());
    }
}

#[test]
fn the_same_events_make_the_same_bytes_as_ever() {
    let golden = vectors("good").into_iter().find(|log| log.ends_with("plain")).unwrap();
    let golden = fs::read_to_string(&segments(&golden)[0]).unwrap();
    let events: Vec<_> = golden
        .lines()
        .map(|line| {
            let (_, event) = line.split_once(r#","event":"#).unwrap();
            let epoch = line.split_once(r#""epoch":"#).unwrap().1.split_once(',').unwrap().0;
            (event.strip_suffix('}').unwrap().as_bytes().to_vec(), epoch.parse().unwrap())
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    write(&settings(dir.path()), &events);
    assert_eq!(fs::read_to_string(&segments(dir.path())[0]).unwrap(), golden);
}

#[test]
fn old_logs_are_continued() {
    for log in vectors("good") {
        let dir = copy(&log);
        let before = verify(dir.path()).unwrap();
        let (audit, recovered) = Audit::open(&settings(dir.path())).unwrap();
        let cut = u64::from(before.unfinished_bytes > 0);
        assert_eq!(recovered.cut, cut > 0);
        assert_eq!(recovered.last_seq, before.last_seq + cut);
        assert_eq!(recovered.last_epoch, before.last_epoch);
        runtime().block_on(audit.append(audit.begin().unwrap(), b"{}".to_vec(), 0)).unwrap();
        audit.close();
        let after = verify(dir.path()).unwrap();
        assert_eq!((after.records, after.unfinished_bytes), (before.records + 1, 0), "{}", log.display());
        assert_eq!((after.cuts, after.last_epoch), (before.cuts + cut, before.last_epoch));
    }
}

/// What verification cannot find without signatures is in the last line alone: it has no successor that would hold
/// its hash. There, another event that still is one JSON object passes, and another epoch that is not below the one before;
/// without its newline, the line counts as unfinished, and the report says so.
#[test]
fn every_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write_five(dir.path(), 1500);
    let paths = segments(dir.path());
    assert!(paths.len() > 1, "the flips reach across segments");
    let mut checked = 0;
    for path in &paths {
        let good = fs::read(path).unwrap();
        for index in 0..good.len() {
            for bit in [0x01, 0x20] {
                let mut flipped = good.clone();
                flipped[index] ^= bit;
                fs::write(path, &flipped).unwrap();
                let found = verify(dir.path()).is_err();
                let last = Some(path) == paths.last() && last_line(&good).contains(&index);
                let expected = !last || !passes_unsigned(&good, &flipped, index);
                let unfinished = last && index == good.len() - 1;
                if unfinished {
                    assert!(verify(dir.path()).unwrap().unfinished_bytes > 0);
                } else {
                    assert_eq!(found, expected, "{}, byte {index}, bit {bit}", path.display());
                }
                checked += 1;
            }
        }
        fs::write(path, good).unwrap();
    }
    assert!(checked > 5000);
    verify(dir.path()).unwrap();
}

fn last_line(bytes: &[u8]) -> std::ops::Range<usize> {
    let start = bytes[..bytes.len() - 1].iter().rposition(|&byte| byte == b'\n').map_or(0, |index| index + 1);
    start..bytes.len()
}

/// In the last line: the event, if it still is JSON, and the epoch, if it is not below the 4 of the line before.
fn passes_unsigned(good: &[u8], flipped: &[u8], index: usize) -> bool {
    let line = last_line(good);
    let find = |text: &str| {
        let at = good[line.clone()].windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
        line.start + at + text.len()
    };
    let event = find(r#","event":"#)..good.len() - 2;
    let epoch = find(r#""epoch":"#)..find(r#","prev""#) - r#","prev""#.len();
    let is_json = serde_json::from_slice::<serde_json::Map<String, Value>>(&flipped[event.clone()]).is_ok();
    event.contains(&index) && is_json || epoch.contains(&index) && (b'4'..=b'9').contains(&flipped[index])
}

#[test]
fn every_line_removed_swapped_or_doubled_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write_five(dir.path(), 1 << 20);
    let path = &segments(dir.path())[0];
    let good: Vec<String> = fs::read_to_string(path).unwrap().lines().map(|line| format!("{line}\n")).collect();
    let refused = |lines: &[String]| {
        fs::write(path, lines.concat()).unwrap();
        verify(dir.path()).is_err()
    };
    assert!(!refused(&good));
    for index in 0..good.len() {
        let mut lines = good.clone();
        lines.insert(index, good[index].clone());
        assert!(refused(&lines), "line {index} doubled");
        if index + 1 < good.len() {
            let mut lines = good.clone();
            lines.remove(index);
            assert!(refused(&lines), "line {index} removed");
            let mut lines = good.clone();
            lines.swap(index, index + 1);
            assert!(refused(&lines), "line {index} swapped");
        }
    }
}

#[test]
fn every_segment_removed_renamed_or_shortened_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write_five(dir.path(), 1);
    let paths = segments(dir.path());
    assert_eq!(paths.len(), 5, "a line each");
    for path in &paths[..4] {
        let good = fs::read(path).unwrap();
        for len in 0..good.len() {
            fs::write(path, &good[..len]).unwrap();
            assert!(verify(dir.path()).is_err(), "{} has {len} bytes", path.display());
        }
        fs::remove_file(path).unwrap();
        assert!(verify(dir.path()).is_err(), "{} removed", path.display());
        fs::write(path.with_file_name("audit-00000000000000000077.jsonl"), &good).unwrap();
        assert!(verify(dir.path()).is_err(), "{} renamed", path.display());
        fs::remove_file(path.with_file_name("audit-00000000000000000077.jsonl")).unwrap();
        fs::write(path, good).unwrap();
        verify(dir.path()).unwrap();
    }
    paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert!(matches!(verify(dir.path()), Err(Error::NoLog(_))));
}

#[test]
fn a_damaged_log_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    write_five(dir.path(), 1);
    let path = &segments(dir.path())[3];
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replace("e-4", "e-X")).unwrap();
    let error = Audit::open(&settings(dir.path())).err().unwrap();
    assert!(matches!(&error, Error::Damaged { line: 1, .. }), "{error}");
}

#[test]
fn only_the_owner_may_read_and_one_process_may_write() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let (audit, recovered) = Audit::open(&settings(&dir)).unwrap();
    assert_eq!((recovered.last_seq, recovered.last_epoch, recovered.cut), (0, 0, false));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&segments(&dir)[0])), (0o700, 0o600));
    assert!(matches!(Audit::open(&settings(&dir)), Err(Error::InUse(_))));
    drop(audit);
    assert!(Audit::open(&settings(&dir)).is_ok());
}

#[test]
fn unknown_settings_are_refused() {
    let parsed: Settings = toml::from_str(r#"dir = "x""#).unwrap();
    assert_eq!(parsed, Settings::new("x"));
    assert!(toml::from_str::<Settings>("dir = \"x\"\nsegment_byte = 1").is_err());
}

#[test]
fn a_torn_last_write_is_cut_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    write_five(dir.path(), 1 << 20);
    let path = &segments(dir.path())[0];
    let good = fs::read(path).unwrap();
    let last = last_line(&good);
    // Blocks that never reached the disk read as zeros, with whole lines behind them.
    let mut torn = good.clone();
    torn.extend(vec![0; 600]);
    torn.extend(b"\n");
    torn.extend(&good[last]);
    fs::write(path, &torn).unwrap();
    assert!(verify(dir.path()).is_err(), "an auditor is told");
    let (audit, recovered) = Audit::open(&settings(dir.path())).unwrap();
    assert!(recovered.cut);
    assert_eq!(recovered.last_seq, 6);
    audit.close();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.records, report.cuts), (5, 1));
    let text = fs::read_to_string(path).unwrap();
    assert!(text.lines().last().unwrap().contains(&format!(r#""bytes":{}"#, torn.len() - good.len())));

    // More than one write is more than a power cut leaves.
    let mut bytes = fs::read(path).unwrap();
    bytes.extend(vec![0; (1 << 20) + 1]);
    fs::write(path, bytes).unwrap();
    assert!(matches!(Audit::open(&settings(dir.path())), Err(Error::Damaged { .. })));
}

#[test]
fn rotates_and_finds_events_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..200).map(|n| format!("id-{n}")).collect();
    let events: Vec<_> = ids.iter().map(|id| (event(id).to_json(), 3)).collect();
    write(&Settings { segment_bytes: 8 << 10, ..settings(dir.path()) }, &events);
    let report = verify(dir.path()).unwrap();
    assert!(report.segments > 10, "{report:?}");
    assert_eq!((report.records, report.last_seq, report.last_epoch), (200, 200, 3));
    let mut wanted: HashSet<String> = ids.iter().cloned().collect();
    assert_eq!(contains(dir.path(), &wanted, 0).unwrap(), wanted);
    assert_eq!(contains(dir.path(), &wanted, 101).unwrap().len(), 100, "line 101 and the 99 behind it");
    wanted = HashSet::from(["id-7".to_owned(), "never".to_owned()]);
    assert_eq!(contains(dir.path(), &wanted, 8).unwrap(), HashSet::from(["id-7".to_owned()]));
    assert!(contains(dir.path(), &wanted, 9).unwrap().is_empty());
    let blocks: u64 = segments(dir.path())
        .iter()
        .map(|path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()))
        .sum();
    assert!(blocks * 512 < 1 << 20, "closed segments keep nothing in reserve");
}

#[test]
fn a_flood_of_refusals_writes_few_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = Audit::open(&settings(dir.path())).unwrap();
    let start = Instant::now();
    for number in 0..100_000_u32 {
        audit.refused(IpAddr::from(number.to_be_bytes()), "signature");
    }
    let windows = start.elapsed().as_secs() / 10 + 1;
    audit.close();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.refusals, 100_000, "counted, every one");
    assert!(report.last_seq <= windows * 65, "{report:?}");
    assert_eq!(report.records, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_event_is_one_line_and_parses_back(texts in proptest::collection::vec((any::<String>(), "\\PC{0,40}|[\\x00-\\x1f\"\\\\]{0,40}"), 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let events: Vec<Event> = texts
            .iter()
            .map(|(one, other)| event(one).parameters(json!({one: other, "list": [other]})).error("X", other))
            .collect();
        let lines: Vec<_> = events.iter().map(|event| (event.to_json(), 1)).collect();
        write(&settings(dir.path()), &lines);
        let text = fs::read_to_string(&segments(dir.path())[0]).unwrap();
        prop_assert_eq!(text.lines().count(), events.len());
        for (line, event) in text.lines().zip(&events) {
            let mut line: HashMap<String, Value> = serde_json::from_str(line).unwrap();
            let read: Event = serde_json::from_value(line.remove("event").unwrap()).unwrap();
            prop_assert_eq!(&read, event);
        }
        prop_assert_eq!(verify(dir.path()).unwrap().records, events.len() as u64);
    }
}

/// Sent as an event id by the child below, and back by it as a line `ack <seq> <id>` when it is durable.
const CHILD: &str = "HSM_KMS_TEST_AUDIT_DIR";

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(dir) = std::env::var_os(CHILD) {
        append_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    for round in 0..20_u64 {
        let mut child = Running(child(dir.path()));
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Different points of the work: after more and more lines.
        let before = acknowledged.len();
        let acks = lines.by_ref().filter_map(|line| acknowledgement(&line)).take(1 + 37 * round as usize);
        acknowledged.extend(acks);
        assert!(acknowledged.len() > before, "the child wrote nothing");
        child.0.kill().unwrap();
        acknowledged.extend(lines.filter_map(|line| acknowledgement(&line)));
    }
    let (audit, recovered) = Audit::open(&small_segments(dir.path())).unwrap();
    audit.close();
    let report: Report = verify(dir.path()).unwrap();
    assert_eq!(report.last_seq, recovered.last_seq);
    assert!(report.segments > 1);
    let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
    for line in segments(dir.path()).iter().flat_map(|path| BufReader::new(fs::File::open(path).unwrap()).lines()) {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if let Some(id) = line["event"]["eventID"].as_str() {
            seen.entry(id.to_owned()).or_default().push(line["seq"].as_u64().unwrap());
        }
    }
    for (id, seq) in &acknowledged {
        assert_eq!(seen.get(id), Some(&vec![*seq]), "{id}");
    }
}

fn small_segments(dir: &Path) -> Settings {
    Settings { segment_bytes: 64 << 10, ..settings(dir) }
}

/// A whole `ack <seq> <id>.`; the last one of a killed child may be a part.
fn acknowledgement(line: &str) -> Option<(String, u64)> {
    let mut words = line.strip_prefix("ack ")?.strip_suffix('.')?.split(' ');
    let seq = words.next()?.parse().ok()?;
    Some((words.next()?.to_owned(), seq))
}

/// Killed whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["what_was_acknowledged_survives_kill_9", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn append_until_killed(dir: &Path) -> ! {
    let (audit, recovered) = Audit::open(&small_segments(dir)).unwrap();
    println!();
    runtime().block_on(async {
        let audit = &audit;
        let appender = |task: u64| async move {
            for number in 0_u64.. {
                let id = format!("{}-{task}-{number}", recovered.last_seq);
                let Ok(permit) = audit.begin() else { continue };
                let seq = audit.append(permit, event(&id).to_json(), 1).await.unwrap().seq;
                // One write, so that lines of a killed child are whole.
                std::io::stdout().write_all(format!("ack {seq} {id}.\n").as_bytes()).unwrap();
            }
        };
        tokio::join!(
            appender(0),
            appender(1),
            appender(2),
            appender(3),
            appender(4),
            appender(5),
            appender(6),
            appender(7)
        );
    });
    unreachable!("killed before")
}

/// A file system of 8 MiB, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "this test mounts a tmpfs: run it as root");
        SmallDisk(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let disk = SmallDisk::mount();
    let (dir, filler) = (disk.0.path().join("log"), disk.0.path().join("filler"));
    let settings = Settings { segment_bytes: 256 << 10, ..settings(&dir) };
    let (audit, _) = Audit::open(&settings).unwrap();
    let mut acknowledged = HashSet::new();
    let fill = || {
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    };
    runtime().block_on(async {
        for round in 0..3 {
            fill();
            // Running requests hold their space; whoever holds a permit never meets the full disk.
            let mut permits: Vec<_> = (0..8).map_while(|_| audit.begin().ok()).collect();
            assert!(!permits.is_empty());
            let refused = loop {
                let id = format!("{round}-{}", acknowledged.len());
                match audit.begin() {
                    Ok(permit) => {
                        let long = event(&id).parameters(json!({"x": "y".repeat(MAX_EVENT_LEN / 2)}));
                        audit.append(permit, long.to_json(), 1).await.unwrap();
                        acknowledged.insert(id);
                    }
                    Err(error) => break error,
                }
            };
            assert!(matches!(refused, Error::NoSpace(_)), "{refused}");
            assert!(!audit.status().writable);
            for (number, permit) in permits.drain(..).enumerate() {
                let id = format!("{round}-held-{number}");
                let longest = event(&id).parameters(json!({"x": "y".repeat(MAX_EVENT_LEN)})).to_json();
                audit.append(permit, longest, 1).await.unwrap();
                acknowledged.insert(id);
            }
            fs::remove_file(&filler).unwrap();
            let end = Instant::now() + Duration::from_secs(20);
            while !audit.status().writable {
                assert!(Instant::now() < end, "recovers when there is space");
                std::thread::yield_now();
            }
        }
    });
    fill();
    audit.close();
    assert_eq!(contains(&dir, &acknowledged, 0).unwrap(), acknowledged);
    let report = verify(&dir).unwrap();
    assert_eq!((report.records, report.breaks), (acknowledged.len() as u64, 0), "{report:?}");

    // A start on a full disk serves as soon as there is space.
    let (audit, recovered) = Audit::open(&settings).unwrap();
    assert_eq!(recovered.last_seq, report.last_seq);
    fs::remove_file(&filler).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while audit.begin().is_err() {
        assert!(Instant::now() < end, "recovers when there is space");
        std::thread::yield_now();
    }
}
