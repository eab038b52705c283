//! Whoever edits the rows of users, roles, policies, access keys and grants gets no more than a service that refuses.

use std::path::{Path, PathBuf};

use hsm_kms::app::{self, Accepted};
use hsm_kms::settings::Settings;
use hsm_kms::store;
use serde_json::{Value, json};

use crate::database::{Edit, Row, copy, edit, rows};
use crate::in_process::{InProcess, MovedClock, START, settings};
use crate::people::{Key, Person, Served};
use crate::process::{block_on, in_own_process};

/// A store with two of everything, and how its rows were before the second user lost what he had.
struct Past {
    data: PathBuf,
    key: Key,
    mighty: Person,
    poor: Person,
    before: Vec<Row>,
    after: Vec<Row>,
}

#[test]
fn no_edit_of_a_principal_a_policy_an_access_key_or_a_grant_is_taken() {
    in_own_process("tampering::no_edit_of_a_principal_a_policy_an_access_key_or_a_grant_is_taken", |dir| {
        let past = Past::make(dir);
        let edits = past.edits();
        assert!(edits.len() >= 50, "{}", edits.len());
        for (number, (what, edits)) in edits.iter().enumerate() {
            let data = dir.join(format!("edit{number}"));
            copy(&past.data, &data);
            edit(&data.join("store.db"), edits);
            let settings = Settings { data: data.clone(), ..settings(dir) };
            let opened = block_on(InProcess::try_open(settings, MovedClock::at(START), Accepted::default()));
            match opened.err().unwrap_or_else(|| panic!("it starts: {what}")) {
                app::Error::Store(store::Error::Tampered { .. }) => {}
                other => panic!("{what}: {other}"),
            }
            std::fs::remove_dir_all(data).unwrap();
        }
        // And unedited, everyone may what he may.
        let service = Served::open(settings(dir), MovedClock::at(START));
        past.check(&service);
        service.close();
    });
}

/// Rows swapped under a running service give nobody anything: it goes by what it has read, and soon refuses everyone.
#[test]
fn rows_that_change_under_a_running_service_give_nothing() {
    in_own_process("tampering::rows_that_change_under_a_running_service_give_nothing", |dir| {
        let past = Past::make(dir);
        let service = Served::open(settings(dir), MovedClock::at(START));
        past.check(&service);
        let of = |person: &Person| past.row(&format!("/user/{}", person.arn.rsplit('/').next().unwrap()));
        edit(&past.data.join("store.db"), &swap(&of(&past.mighty), &of(&past.poor)));
        past.check(&service);
        assert!(service.block_on(service.kms.store.check()).is_err(), "housekeeping asks this every second");
        for person in [&past.mighty, &past.poor, service.root()] {
            assert_eq!(service.refused(person, "Encrypt", past.encrypt()).0, "KMSInternalException");
        }
        service.close();
    });
}

impl Past {
    fn make(dir: &Path) -> Self {
        let service = Served::start(dir, MovedClock::at(START));
        let account = service.root().account.clone();
        let everything = json!([{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }]);
        let mighty = service.user_who_may("mighty", everything.clone());
        let poor = service.user_who_may("poor", everything.clone());
        let stranger = service.account("444455556666");
        service.role(&account, "reader");
        service.role(&account, "writer");
        service.shared_policy(&account, "wide", everything.clone());
        service.shared_policy(&account, "narrow", json!([]));
        let key = service.new_key(service.root(), json!({}));
        service.grant(&mighty, &key);
        service.grant(&poor, &key);
        let sealed = |data: &Path| rows(&data.join("store.db"));
        let data = settings(dir).data;
        let (before, epoch) = (sealed(&data), service.kms.store.epoch());

        // The poor one loses his policy, his grant and his second access key; the wide policy is wide no more.
        let grants = service.kms.store.grants_on(&"us-east-1".parse().unwrap(), &key.id.parse().unwrap(), None, 9);
        let grant = grants.iter().find(|grant| grant.record.grantee == poor.arn).unwrap();
        service.commit(|change| change.delete(grant));
        service.give(&poor, "own", Value::Null);
        service.change(&mighty, |record| drop(record.tags.insert("k".into(), "v".into())));
        let row = service.kms.store.policy(&account, &"wide".parse().unwrap()).unwrap();
        let mut narrower = row.record.clone();
        narrower.document = crate::people::policy(json!([]));
        service.commit(|change| change.update(&row, narrower));
        assert!(service.kms.store.epoch() > epoch && stranger.account != account);
        service.close();
        Past { after: sealed(&data), data, key, mighty, poor, before }
    }

    fn encrypt(&self) -> Value {
        json!({ "KeyId": self.key.arn, "Plaintext": "eHk=" })
    }

    fn check(&self, service: &Served) {
        service.ok(&self.mighty, "Encrypt", self.encrypt());
        assert_eq!(service.refused(&self.poor, "Encrypt", self.encrypt()).0, "AccessDeniedException");
    }

    fn row(&self, part: &str) -> Row {
        self.after.iter().find(|row| row.1.contains(part)).unwrap_or_else(|| panic!("{part}")).clone()
    }

    /// Every row of these tables spoilt, older, gone, elsewhere, and in the place of each other one of its table.
    fn edits(&self) -> Vec<(String, Vec<Edit>)> {
        let is_meant = |row: &&Row| TABLES.contains(&row.0.as_str());
        let mut edits = Vec::new();
        for row in self.after.iter().filter(is_meant) {
            let name = |what: &str| format!("{} {} {what}", row.0, row.1);
            let mut flipped = row.clone();
            flipped.3[30] ^= 1;
            edits.push((name("flipped"), vec![Edit::Put(flipped)]));
            edits.push((name("removed"), vec![Edit::Remove(row.clone())]));
            let elsewhere = (row.0.clone(), format!("{}x", row.1), row.2, row.3.clone());
            edits.push((name("under another name"), vec![Edit::Put(elsewhere)]));
            let others = self.after.iter().filter(|other| other.0 == row.0 && other.1 > row.1);
            edits.extend(others.map(|other| (name(&format!("swapped with {}", other.1)), swap(row, other))));
        }
        let older: Vec<&Row> = self.before.iter().filter(is_meant).filter(|row| !self.after.contains(row)).collect();
        assert_eq!(older.len(), 4, "two users, a policy and a grant");
        edits.extend(
            older.iter().map(|row| (format!("{} {} as it was", row.0, row.1), vec![Edit::Put((*row).clone())])),
        );
        let all = older.iter().map(|row| Edit::Put((*row).clone())).collect();
        edits.push(("all of them as they were".into(), all));
        edits
    }
}

/// Each has what the other had.
fn swap(one: &Row, other: &Row) -> Vec<Edit> {
    let put = |to: &Row, from: &Row| Edit::Put((to.0.clone(), to.1.clone(), from.2, from.3.clone()));
    vec![put(one, other), put(other, one)]
}

const TABLES: [&str; 5] = ["accounts", "principals", "policies", "access-keys", "grants"];
