//! The store's database in the hands of somebody else.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::support::Service;
use crate::support::wire::{Answer, Request};

/// A row of the complete set: table, primary key, revision, sealed bytes.
pub type Row = (String, String, i64, Vec<u8>);

/// What can be done to a database.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Writes this row, whether it is there or not.
    Put(Row),
    /// Removes it.
    Remove(Row),
    /// Any other statement.
    Sql(&'static str),
}

/// Makes the edits in one transaction, as another process that has the file open.
pub fn edit(database: &Path, edits: &[Edit]) {
    with(database, async |connection| {
        let mut transaction = connection.begin().await.unwrap();
        for edit in edits {
            let query = match edit {
                Edit::Put((table, key, revision, sealed)) => {
                    sqlx::query("INSERT OR REPLACE INTO records (tbl, pk, revision, sealed) VALUES (?1, ?2, ?3, ?4)")
                        .bind(table)
                        .bind(key)
                        .bind(revision)
                        .bind(sealed)
                }
                Edit::Remove((table, key, ..)) => {
                    sqlx::query("DELETE FROM records WHERE tbl = ?1 AND pk = ?2").bind(table).bind(key)
                }
                Edit::Sql(text) => sqlx::query(*text),
            };
            let done = query.execute(&mut *transaction).await.unwrap();
            assert!(done.rows_affected() > 0, "{edit:?} changed nothing");
        }
        transaction.commit().await.unwrap();
    });
}

/// All rows of the complete set.
pub fn rows(database: &Path) -> Vec<Row> {
    with(database, async |connection| {
        let rows = sqlx::query_as("SELECT tbl, pk, revision, sealed FROM records ORDER BY tbl, pk");
        rows.fetch_all(connection).await.unwrap()
    })
}

fn with<T>(database: &Path, work: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = options.connect().await.unwrap();
        let done = work(&mut connection).await;
        connection.close().await.unwrap();
        done
    })
}

/// A data folder with two states of a store: what an attacker kept, and what is so since.
pub struct History {
    folder: tempfile::TempDir,
    pub keys: [String; 3],
    /// A ciphertext under the first key.
    pub sealed: String,
    pub before: Vec<Row>,
    pub after: Vec<Row>,
}

impl History {
    /// First all keys are enabled and `alias/a` stands for the first one, tagged; then the third key is scheduled for
    /// deletion, the second disabled, `alias/a` stands for the second, `alias/gone` is deleted, the policy is another.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let service = Service::start_in(&data, &[]);
        let keys = [(); 3].map(|()| new_key(&service));
        let [first, second, third] = &keys;
        call(&service, "CreateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": first }));
        call(&service, "CreateAlias", json!({ "AliasName": "alias/gone", "TargetKeyId": first }));
        call(&service, "TagResource", json!({ "KeyId": first, "Tags": [{ "TagKey": "t", "TagValue": "1" }] }));
        let sealed = call(&service, "Encrypt", json!({ "KeyId": first, "Plaintext": "eHk=" }));
        let sealed = sealed["CiphertextBlob"].as_str().unwrap().to_owned();
        assert!(service.terminate().0.success());
        let before = rows(&data.join("store.db"));
        copy(&data, &folder.path().join("before"));

        let service = Service::start_in(&data, &[]);
        call(&service, "ScheduleKeyDeletion", json!({ "KeyId": third }));
        call(&service, "DisableKey", json!({ "KeyId": second }));
        call(&service, "UpdateAlias", json!({ "AliasName": "alias/a", "TargetKeyId": second }));
        call(&service, "DeleteAlias", json!({ "AliasName": "alias/gone" }));
        call(&service, "UntagResource", json!({ "KeyId": first, "TagKeys": ["t"] }));
        assert!(service.terminate().0.success());
        let after = rows(&data.join("store.db"));
        History { folder, keys, sealed, before, after }
    }

    /// A copy of the data folder as it is now.
    pub fn copy(&self, name: &str) -> std::path::PathBuf {
        let to = self.folder.path().join(name).join("data");
        std::fs::create_dir(to.parent().unwrap()).unwrap();
        copy(&self.folder.path().join("data"), &to);
        to
    }

    /// The data folder as it was before.
    pub fn older(&self) -> std::path::PathBuf {
        self.folder.path().join("before")
    }

    /// One edit of every kind for every row, and of the rows beside them.
    pub fn edits(&self) -> Vec<Vec<Edit>> {
        let mut edits: Vec<Vec<Edit>> = [
            "UPDATE meta SET body = CAST(replace(CAST(body AS TEXT), '\"hsm-kms\"', '\"another\"') AS BLOB)",
            "UPDATE meta SET body = X'7b7d'",
            "UPDATE root SET epoch = epoch + 1",
            "UPDATE root SET epoch = epoch - 1",
            "UPDATE root SET sealed = zeroblob(length(sealed))",
            "DELETE FROM root",
            "DELETE FROM meta",
            "UPDATE records SET revision = revision + 1",
            "DELETE FROM records",
        ]
        .map(|sql| vec![Edit::Sql(sql)])
        .into();
        for (at, row) in self.after.iter().enumerate() {
            let (table, key, revision, sealed) = row.clone();
            for byte in [0, sealed.len() / 2, sealed.len() - 1] {
                let mut flipped = sealed.clone();
                flipped[byte] ^= 0x10;
                edits.push(vec![Edit::Put((table.clone(), key.clone(), revision, flipped))]);
            }
            edits.push(vec![Edit::Put((table.clone(), key.clone(), revision - 1, sealed.clone()))]);
            edits.push(vec![Edit::Remove(row.clone())]);
            edits.push(vec![Edit::Put((table.clone(), format!("{key}x"), revision, sealed.clone()))]);
            let other = &self.after[(at + 1) % self.after.len()];
            let put = |to: &Row, from: &Row| Edit::Put((to.0.clone(), to.1.clone(), from.2, from.3.clone()));
            edits.push(vec![put(row, other), put(other, row)]);
        }
        let is_new = |row: &&Row| !self.after.contains(row);
        edits.extend(self.before.iter().filter(is_new).map(|row| vec![Edit::Put(row.clone())]));
        edits
    }
}

/// Copies a data folder of a service that does not run.
pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

pub fn new_key(service: &Service) -> String {
    call(service, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

pub fn call(service: &Service, operation: &str, body: Value) -> Value {
    let answer = try_call(service, operation, &body);
    assert_eq!(answer.status, 200, "{operation} {body}: {} {}", answer.error(), answer.message());
    answer.json()
}

pub fn try_call(service: &Service, operation: &str, body: &Value) -> Answer {
    Request::kms(operation, body).send(service)
}

/// What the log says of this act of the service's own.
pub fn events(data: &Path, name: &str) -> Vec<Value> {
    let events = crate::support::audit_lines(data).into_iter().map(|line| line["event"].clone());
    events.filter(|event| event["eventName"] == name).collect()
}
