//! The nonce budget, made small: warned of at half, rotated before its end, never exceeded, never counted backwards.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_kms::app::Accepted;
use hsm_kms::settings::Settings;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::in_process::{InProcess, MovedClock, START, settings};
use crate::process::{again, assert_passed, block_on, dir_of, in_own_process, role, softhsm_dir, until};
use crate::{Key, events, housekeep, join_all, objects};

/// A service whose materials encrypt this often.
async fn open(dir: &Path, clock: Arc<MovedClock>, budget: u64) -> InProcess {
    let mut settings = settings(dir);
    settings.kms.nonce_budget = budget;
    InProcess::try_open(settings, clock, Accepted::default()).await.unwrap()
}

pub async fn start(dir: &Path, budget: u64) -> InProcess {
    crate::process::make_token(crate::process::LABEL);
    open(dir, MovedClock::at(START), budget).await
}

/// One encryption: the material's id, or the refusal.
pub async fn encrypt(service: &InProcess, key: &str) -> Result<String, Value> {
    let body = json!({ "KeyId": key, "KeySpec": "AES_128" });
    let (status, answer) = service.try_call("GenerateDataKey", &body).await;
    if status == 200 { Ok(answer["KeyMaterialId"].as_str().unwrap().to_owned()) } else { Err(answer) }
}

/// How many encryptions are counted for a key's material, at most.
fn counted(service: &InProcess, key: &str, material: u32) -> u64 {
    let (region, key) = ("us-east-1".parse().unwrap(), key.parse().unwrap());
    service.app.kms().store.wrap_count(&region, &key, material).map_or(0, |row| row.record.claimed)
}

#[test]
fn a_key_made_here_rotates_by_itself_before_its_budget_ends() {
    in_own_process("budget::a_key_made_here_rotates_by_itself_before_its_budget_ends", |dir| {
        block_on(async {
            const BUDGET: u64 = 6_400;
            let service = start(dir, BUDGET).await;
            let key = Key::new(&service).await;
            key.call("EnableKeyRotation", json!({})).await;
            let (next, first, sealed) = (key.next().await, key.current().await, key.encrypt().await);
            let mut used: BTreeMap<String, u64> = BTreeMap::from([(first.clone(), 1)]);
            // No housekeeping: what is needed is begun by the requests themselves.
            for _ in 0..BUDGET * 5 / 2 / 64 {
                for material in join_all((0..64).map(|_| encrypt(&service, &key.id))).await {
                    *used.entry(material.expect("nobody waits for a rotation")).or_default() += 1;
                }
            }
            assert!(used.values().all(|used| *used <= BUDGET), "{used:?}");
            assert!(used[&first] > BUDGET / 2, "not long before its end: {used:?}");
            assert!(used.len() >= 3, "{used:?}");
            let rotations = key.rotations().await;
            assert_eq!(rotations.len(), used.len() - 1);
            assert!(rotations.iter().all(|rotation| rotation["RotationType"] == "AUTOMATIC"));
            assert_eq!(key.next().await, next, "the schedule does not move");
            key.opens(&sealed).await;

            let half = events(dir, "NonceBudgetHalfUsed");
            assert_eq!(half.len(), used.len() - usize::from(used[&key.current().await] < BUDGET / 2 - 200), "{half:?}");
            assert_eq!(half[0]["eventType"], "AwsServiceEvent");
            assert_eq!(half[0]["resources"][0]["ARN"], key.arn().as_str());
            assert_eq!(half[0]["additionalEventData"]["nonceBudget"], BUDGET);
            let begun = events(dir, "NonceBudgetRotation");
            assert_eq!(begun.len(), rotations.len());
            assert_eq!(begun[0]["resources"][0]["ARN"], key.arn().as_str());
            let done = events(dir, "RotateKey");
            assert_eq!(done.len(), rotations.len());
            assert_eq!(done[0]["additionalEventData"], json!({ "reason": "nonce budget" }));
            assert_eq!(done[0]["serviceEventDetails"]["rotationType"], "AUTOMATIC");
            assert_eq!(objects(&service, &key.id).await.len(), used.len());
            service.close().await;
            hsm_kms::audit::verify(&dir.join("data/audit")).unwrap();
        });
    });
}

#[test]
fn a_key_that_is_hardly_used_writes_nothing_and_a_start_costs_it_little() {
    in_own_process("budget::a_key_that_is_hardly_used_writes_nothing_and_a_start_costs_it_little", |dir| {
        block_on(async {
            let service = start(dir, 1 << 32).await;
            let id = service.new_key().await;
            for _ in 0..2_000 {
                encrypt(&service, &id).await.unwrap();
            }
            assert_eq!(counted(&service, &id, 1), 0);
            let epoch = service.app.kms().store.epoch();
            service.close().await;
            for starts in 1..=5 {
                let service = open(dir, MovedClock::at(START), 1 << 32).await;
                assert_eq!(service.app.kms().store.runs().unwrap().record.count, 1 + starts);
                service.close().await;
            }
            let service = open(dir, MovedClock::at(START), 1 << 32).await;
            assert!(service.app.kms().store.epoch() - epoch <= 2 * 6 + 1, "a change a start, and no more a key");
            for _ in 0..2_200 {
                encrypt(&service, &id).await.unwrap();
            }
            // Seven runs' free blocks, and the first that was claimed.
            until("a block is claimed", || counted(&service, &id, 1) == 7 * 4_096 + 4_096);
            service.close().await;
        });
    });
}

/// Killed at random, again and again: every material of the key encrypts at most as often as its budget says, all runs
/// together, and the counts that are written never go down.
#[test]
fn no_kill_makes_a_count_run_backwards() {
    let test = "budget::no_kill_makes_a_count_run_backwards";
    const BUDGET: u64 = 12_800;
    if let Some(dir) = dir_of(test) {
        return block_on(async {
            if role() == "begin" {
                let service = start(&dir, BUDGET).await;
                std::fs::write(dir.join("key"), service.new_key().await).unwrap();
                return service.close().await;
            }
            let service = open(&dir, MovedClock::at(START), BUDGET).await;
            let key = std::fs::read_to_string(dir.join("key")).unwrap();
            loop {
                for material in join_all((0..16).map(|_| encrypt(&service, &key))).await {
                    let mut told = std::fs::File::options().append(true).create(true).open(dir.join("used")).unwrap();
                    writeln!(told, "{}", material.unwrap()).unwrap();
                }
                let count =
                    service.app.kms().store.wrap_counts_of(&"us-east-1".parse().unwrap(), &key.parse().unwrap());
                let counts: Vec<_> = count.iter().map(|row| (row.record.material, row.record.claimed)).collect();
                std::fs::write(dir.join("counts"), json!(counts).to_string()).unwrap();
            }
        });
    }
    let dir = softhsm_dir();
    assert_passed(test, &again(test, "begin", dir.path()).output().unwrap());
    let mut before: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 0..25_u64 {
        let mut command = again(test, "work", dir.path());
        if round % 5 == 4 {
            command.env(hsm_kms::crash_point::VARIABLE, format!("nonces-claimed:{}", 1 + round % 3));
        }
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let used = dir.path().join("used");
        let len = || std::fs::metadata(&used).map_or(0, |file| file.len());
        let (start, wanted) = (len(), 65 * (300 + 170 * (round % 7)));
        until("it is killed, or has done enough", || child.try_wait().unwrap().is_some() || len() - start > wanted);
        let _ = child.kill();
        child.wait().unwrap();
        let text = std::fs::read_to_string(dir.path().join("counts")).unwrap_or_default();
        let Ok(counts) = serde_json::from_str::<Vec<(u32, u64)>>(&text) else { continue };
        for (material, claimed) in counts {
            let last = before.insert(material, claimed).unwrap_or(0);
            assert!(claimed >= last, "round {round}: {claimed} after {last}");
        }
    }
    let mut used: BTreeMap<String, u64> = BTreeMap::new();
    for material in std::fs::read_to_string(dir.path().join("used")).unwrap().lines() {
        *used.entry(material.to_owned()).or_default() += 1;
    }
    assert!(used.values().sum::<u64>() > BUDGET, "{used:?}");
    assert!(used.values().all(|used| *used <= BUDGET), "{used:?}");
    assert!(used.len() >= 2, "{used:?}");
    hsm_kms::audit::verify(&dir.path().join("data/audit")).unwrap();
}

/// Whoever edits the database cannot make a key encrypt more often: neither by the rows that nothing is decided by, nor
/// by those that count.
#[test]
fn an_editor_of_the_database_cannot_put_a_count_back() {
    let test = "budget::an_editor_of_the_database_cannot_put_a_count_back";
    in_own_process(test, |dir| {
        block_on(async {
            const BUDGET: u64 = 6_400;
            let service = start(dir, BUDGET).await;
            let key = service.new_key().await;
            for _ in 0..400 {
                encrypt(&service, &key).await.unwrap();
            }
            service.close().await;
            let database = dir.join("data/store.db");
            let old = dir.join("old.db");
            std::fs::copy(&database, &old).unwrap();
            let service = open(dir, MovedClock::at(START), BUDGET).await;
            for _ in 0..2_000 {
                encrypt(&service, &key).await.unwrap();
            }
            let before = counted(&service, &key, 1);
            assert!(before > 2_000);
            service.close().await;
            let new = std::fs::read(&database).unwrap();

            // Loose rows are no part of it.
            sql(&database, "DELETE FROM loose").await;
            sql(&database, &format!("ATTACH '{}' AS old; INSERT INTO loose SELECT * FROM old.loose", old.display()))
                .await;
            let service = open(dir, MovedClock::at(START), BUDGET).await;
            assert_eq!(counted(&service, &key, 1), before);
            service.close().await;

            let put_back = format!(
                "ATTACH '{}' AS old; DELETE FROM records WHERE tbl = 'wrap-counts'; \
                 INSERT INTO records SELECT * FROM old.records WHERE tbl = 'wrap-counts'",
                old.display()
            );
            let runs = put_back.replace("wrap-counts", "runs");
            for edit in [put_back.as_str(), &runs, "DELETE FROM records WHERE tbl = 'wrap-counts'"] {
                std::fs::write(&database, &new).unwrap();
                sql(&database, edit).await;
                let refused = refusal(settings(dir)).await;
                assert!(refused.contains("tampered"), "{edit}: {refused}");
            }
            // The whole store of before is older than its log. An operator may accept that; then what the log has seen
            // since is counted.
            std::fs::copy(&old, &database).unwrap();
            let mut settings = settings(dir);
            settings.kms.nonce_budget = BUDGET;
            let refused = refusal(settings.clone()).await;
            assert!(refused.contains("--accept-rollback"), "{refused}");
            let accepted = Accepted { rollback: true, ..Accepted::default() };
            released(dir);
            let service = InProcess::try_open(settings, MovedClock::at(START), accepted).await.unwrap();
            let mut used = 2_400_u64;
            let first = encrypt(&service, &key).await.unwrap();
            while encrypt(&service, &key).await.is_ok_and(|material| material == first) {
                used += 1;
            }
            assert!(used <= BUDGET, "{used}");
            service.close().await;
        });
    });
}

/// Killed between the change that accepts an older store and the first one of its run, whose start needs no operator's word:
/// what the log has seen since is counted.
#[test]
fn wraps_since_a_backup_are_counted_whatever_comes_between() {
    let test = "budget::wraps_since_a_backup_are_counted_whatever_comes_between";
    const BUDGET: u64 = 6_400;
    const USED: u64 = 1_000;
    let Some(dir) = dir_of(test) else {
        let dir = softhsm_dir();
        assert_passed(test, &again(test, "use", dir.path()).output().unwrap());
        let mut killed = again(test, "killed", dir.path());
        let killed = killed.env(hsm_kms::crash_point::VARIABLE, "rollback-accepted").output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{killed:?}");
        assert_passed(test, &again(test, "after", dir.path()).output().unwrap());
        return;
    };
    let (database, backup) = (dir.join("data/store.db"), dir.join("backup.db"));
    block_on(async {
        match role().as_str() {
            "use" => {
                let service = start(&dir, BUDGET).await;
                let key = service.new_key().await;
                service.close().await;
                std::fs::copy(&database, &backup).unwrap();
                let service = open(&dir, MovedClock::at(START), BUDGET).await;
                for _ in 0..USED {
                    encrypt(&service, &key).await.unwrap();
                }
                service.close().await;
                std::fs::copy(&backup, &database).unwrap();
            }
            "killed" => {
                let mut settings = settings(&dir);
                settings.kms.nonce_budget = BUDGET;
                let accepted = Accepted { rollback: true, ..Accepted::default() };
                let _ = InProcess::try_open(settings, MovedClock::at(START), accepted).await;
                panic!("the crash point was not reached");
            }
            _ => {
                let service = open(&dir, MovedClock::at(START), BUDGET).await;
                // Each run stands for a free block, of a hundred.
                let runs = service.app.kms().store.runs().unwrap().record.count;
                assert!(runs >= 2 + USED / 100, "{runs}");
                service.close().await;
            }
        }
    });
}

/// A token that cannot make keys: the key encrypts on what was kept in reserve, then refuses with a clear error, decrypts
/// all the while, and rotates when the token can.
#[test]
fn without_new_material_the_budget_ends_and_decrypting_does_not() {
    let test = "budget::without_new_material_the_budget_ends_and_decrypting_does_not";
    in_own_process(test, |dir| {
        block_on(async {
            const BUDGET: u64 = 640;
            let disk = SmallDisk::mount(&dir.join("tokens"));
            let service = start(dir, BUDGET).await;
            let key = Key::new(&service).await;
            let sealed = key.encrypt().await;
            disk.fill();
            let mut made = 1;
            let refused = loop {
                match encrypt(&service, &key.id).await {
                    Ok(_) => made += 1,
                    Err(refused) => break refused,
                }
                assert!(made <= BUDGET);
            };
            assert!(made > BUDGET * 3 / 4, "the reserve was used: {made}");
            assert_eq!(refused["__type"], "KMSInvalidStateException");
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("encrypted 640 times") && message.contains("could not rotate"), "{message}");
            key.opens(&sealed).await;
            assert!(key.rotations().await.is_empty());
            assert!(!events(dir, "NonceBudgetRotation").is_empty());

            disk.empty();
            // What was left half done is undone, and tried again, a second after the last time.
            service.clock.pass(Duration::from_secs(600));
            let begun = Instant::now();
            while key.rotations().await.is_empty() && begun.elapsed() < Duration::from_secs(10) {
                housekeep(&service).await;
            }
            assert_eq!(key.rotations().await.len(), 1);
            key.opens(&key.encrypt().await).await;
            key.opens(&sealed).await;
            service.close().await;
        });
    });
}

/// Why a service with these settings does not start.
async fn refusal(settings: Settings) -> String {
    released(settings.data.parent().unwrap());
    let opened = InProcess::try_open(settings, MovedClock::at(START), Accepted::default()).await;
    opened.err().map(|error| error.to_string()).unwrap_or_default()
}

/// Waits until a service that was refused has let go of its audit log.
fn released(dir: &Path) {
    let lock = std::fs::File::open(dir.join("data/audit")).unwrap();
    until("the audit log is released", || lock.try_lock().is_ok());
}

async fn sql(database: &Path, text: &str) {
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A disk for the token alone, which can be full: then it makes no keys, and uses those that it has.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "hsm-kms-test"]).arg(path);
        assert!(mount.status().unwrap().success());
        SmallDisk(path.to_owned())
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("full")).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("full")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
