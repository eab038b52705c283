//! Accounts, users and roles in a service of the test's own process, which is served by the real listener on a port of
//! its own; and requests signed as any of them.
#![allow(dead_code)] // every test uses its own part of this

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use hsm_kms::api::http::{Limits, Listener, serve};
use hsm_kms::app::Accepted;
use hsm_kms::kms::{Kms, arn_of};
use hsm_kms::model::{AccountId, Arn, FriendlyName, GrantOperation};
use hsm_kms::settings::Settings;
use hsm_kms::store::{
    AccessKeyRecord, AccountRecord, Change, GrantConstraints, GrantRecord, KeyRecord, PolicyRecord, PrincipalKind,
    PrincipalRecord, RoleDetails, Row,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::in_process::{InProcess, MovedClock, settings};
use crate::process::{LABEL, make_token};
use crate::support::audit_lines;
use crate::support::wire::{Answer, Request, exchange};

/// A service on the token of this process, behind its listener.
pub struct Served {
    pub clock: Arc<MovedClock>,
    pub kms: Arc<Kms>,
    /// `127.0.0.1:<port>`
    pub address: String,
    data: PathBuf,
    root: Person,
    runtime: Runtime,
    service: InProcess,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// Somebody with an access key.
#[derive(Clone, Debug)]
pub struct Person {
    pub account: AccountId,
    /// `arn:aws:iam::<account>:root`, or a user's.
    pub arn: String,
    /// `AIDA…`; the account id for a root user.
    pub unique_id: String,
    pub credentials: Credentials,
}

impl Served {
    /// A new token in `dir`, and a new service on it.
    pub fn start(dir: &Path, clock: Arc<MovedClock>) -> Self {
        make_token(LABEL);
        Served::open(settings(dir), clock)
    }

    /// The service of these settings.
    pub fn open(settings: Settings, clock: Arc<MovedClock>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let data = settings.data.clone();
        let opened = InProcess::try_open(settings, clock.clone(), Accepted::default());
        let service = runtime.block_on(opened).unwrap();
        let listener = runtime.block_on(Listener::bind(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.address().to_string();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let serving = runtime.spawn(serve(listener, service.app.router(), Limits::default(), stopped));
        let kms = service.app.kms().clone();
        let user = service.app.root_user().expect("a root user");
        let root = Person {
            account: user.account.clone(),
            arn: Arn::root_user(&user.account).to_string(),
            unique_id: user.account.to_string(),
            credentials: Credentials::from_keys(&user.access_key_id, user.secret_access_key.as_str(), None),
        };
        Served { clock, kms, address, data, root, runtime, service, stop, serving }
    }

    /// Ends it as SIGTERM does.
    pub fn close(self) {
        let Served { kms, runtime, service, stop, serving, .. } = self;
        drop((kms, stop));
        runtime.block_on(serving).unwrap();
        runtime.block_on(service.close());
    }

    /// The root user of the account in the settings.
    pub fn root(&self) -> &Person {
        &self.root
    }

    /// Runs a future in the service's runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Makes a change in the store as an operator's command does.
    pub fn commit(&self, change: impl FnOnce(Change) -> Change) {
        self.block_on(self.kms.commit(change(Change::new(self.kms.now())))).unwrap();
    }

    /// A new account; its root user.
    pub fn account(&self, id: &str) -> Person {
        let account: AccountId = id.parse().unwrap();
        self.commit(|change| change.insert(AccountRecord { account: account.clone(), created: self.kms.now() }));
        self.access_key(&account, &Arn::root_user(&account).to_string(), id)
    }

    /// A new user of an account, without a permission.
    pub fn user(&self, account: &AccountId, name: &str) -> Person {
        let record = self.principal(account, PrincipalKind::User, name);
        let (arn, unique_id) = (record.arn().to_string(), record.unique_id.clone());
        self.commit(|change| change.insert(record));
        self.access_key(account, &arn, &unique_id)
    }

    /// A new user of the account in the settings, who may do this by a policy of his own.
    pub fn user_who_may(&self, name: &str, statements: Value) -> Person {
        let user = self.user(&self.root.account, name);
        self.give(&user, "own", statements);
        user
    }

    /// A new role of an account, which nobody may assume; its ARN.
    pub fn role(&self, account: &AccountId, name: &str) -> String {
        let role = RoleDetails {
            trust_policy: policy(json!([])),
            trusted: BTreeMap::new(),
            max_session_seconds: 3_600,
            description: String::new(),
        };
        let record = PrincipalRecord { role: Some(role), ..self.principal(account, PrincipalKind::Role, name) };
        let arn = record.arn().to_string();
        self.commit(|change| change.insert(record));
        arn
    }

    /// A policy that principals of an account share.
    pub fn shared_policy(&self, account: &AccountId, name: &str, statements: Value) {
        let now = self.kms.now();
        let (path, name) = ("/".parse().unwrap(), name.parse().unwrap());
        let document = policy(statements);
        let record = PolicyRecord { account: account.clone(), path, name, document, created: now, updated: now };
        self.commit(|change| change.insert(record));
    }

    /// Sets a policy of the user's own; null takes it away.
    pub fn give(&self, user: &Person, name: &str, statements: Value) {
        let name: FriendlyName = name.parse().unwrap();
        self.change(user, |record| match &statements {
            Value::Null => drop(record.inline_policies.remove(&name)),
            statements => drop(record.inline_policies.insert(name.clone(), policy(statements.clone()))),
        });
    }

    /// Changes a user's record: its tags, policies, boundary.
    pub fn change(&self, user: &Person, change: impl FnOnce(&mut PrincipalRecord)) {
        let row = self.row(user);
        let mut record = row.record.clone();
        change(&mut record);
        self.commit(|committed| committed.update(&row, record));
    }

    /// Deletes a user with his access keys.
    pub fn delete(&self, user: &Person) {
        let row = self.row(user);
        let keys = self.kms.store.access_keys_of(&user.unique_id);
        self.commit(|change| keys.iter().fold(change.delete(&row), |change, key| change.delete(key)));
    }

    /// One more access key, of whoever has this ARN and unique id.
    pub fn access_key(&self, account: &AccountId, arn: &str, unique_id: &str) -> Person {
        let record = AccessKeyRecord {
            access_key_id: format!("AKIA{}", random_name()),
            account: account.clone(),
            principal: arn.to_owned(),
            user_id: unique_id.to_owned(),
            secret: random_name() + &random_name() + "12345678",
            active: true,
            created: self.kms.now(),
        };
        let credentials = Credentials::from_keys(&record.access_key_id, &record.secret, None);
        self.commit(|change| change.insert(record));
        Person { account: account.clone(), arn: arn.to_owned(), unique_id: unique_id.to_owned(), credentials }
    }

    /// A request as this person, at the service's own time.
    pub fn send(&self, person: &Person, operation: &str, body: &Value) -> Answer {
        self.send_as(&Request::kms(operation, body), &person.credentials)
    }

    /// As `send`, with a request that the test has made up.
    pub fn send_as(&self, request: &Request, credentials: &Credentials) -> Answer {
        let request = Request { time: self.time(), ..request.clone() };
        exchange(&self.address, &request.signed_as(&self.address, credentials))
    }

    /// The body of an answer that must be 200.
    #[track_caller]
    pub fn ok(&self, person: &Person, operation: &str, body: Value) -> Value {
        let answer = self.send(person, operation, &body);
        assert_eq!(answer.status, 200, "{operation} {body}: {} {}", answer.error(), answer.message());
        answer.json()
    }

    /// A request that must be refused: the exception's name and its message.
    #[track_caller]
    pub fn refused(&self, person: &Person, operation: &str, body: Value) -> (String, String) {
        let answer = self.send(person, operation, &body);
        assert_ne!(answer.status, 200, "{operation} {body}: {}", answer.json());
        (answer.error(), answer.message())
    }

    /// A new key of this person's, with these members in the request.
    #[track_caller]
    pub fn new_key(&self, person: &Person, body: Value) -> Key {
        let made = self.ok(person, "CreateKey", body)["KeyMetadata"].clone();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Key { id: text("KeyId"), arn: text("Arn") }
    }

    /// A request that brings the same material for ever into a key of the root user's.
    pub fn import_request(&self, key: &Key) -> Value {
        let body = json!({ "KeyId": key.id, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
        let parameters = self.ok(self.root(), "GetParametersForImport", body);
        json!({
            "KeyId": key.id,
            "ImportToken": parameters["ImportToken"],
            "EncryptedKeyMaterial": crate::support::wrapped(&parameters, &[7; 32]),
            "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
        })
    }

    /// A grant of everything that can be granted, on a key of the root user's; its id.
    pub fn grant(&self, person: &Person, key: &Key) -> String {
        let grant_id = hex::encode([uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat());
        let record = GrantRecord {
            region: "us-east-1".parse().unwrap(),
            account: self.root.account.clone(),
            key_id: key.id.parse().unwrap(),
            grant_id: grant_id.clone(),
            name: String::new(),
            grantee: person.arn.clone(),
            grantee_id: Some(person.unique_id.clone()),
            retiring: None,
            retiring_id: None,
            operations: GrantOperation::NAMES.iter().map(|name| name.parse().unwrap()).collect(),
            constraints: GrantConstraints::default(),
            creator: self.root.arn.clone(),
            created: self.kms.now(),
        };
        self.commit(|change| change.insert(record));
        grant_id
    }

    /// Puts this policy on a key, as the root user, who must still be able to; locking out is allowed.
    #[track_caller]
    pub fn put_policy(&self, key: &Key, statements: Value) {
        let body = json!({ "KeyId": key.id, "Policy": policy(statements), "BypassPolicyLockoutSafetyCheck": true });
        let region = key.arn.split(':').nth(3).unwrap().to_owned();
        let answer = self.send_as(&Request { region, ..Request::kms("PutKeyPolicy", &body) }, &self.root.credentials);
        assert_eq!(answer.status, 200, "{}", answer.message());
    }

    /// What the store says of a key.
    pub fn key_record(&self, key: &Key) -> KeyRecord {
        let region = key.arn.split(':').nth(3).unwrap().parse().unwrap();
        self.kms.store.key(&region, &key.id.parse().unwrap()).unwrap().record.clone()
    }

    /// Puts a key back to what it was, without grants: cheaper than a new one. What was rotated to stays on the token, so
    /// that its number is not used again.
    pub fn restore_key(&self, record: &KeyRecord) {
        let row = self.kms.store.key(&record.region, &record.key_id).unwrap();
        let record = &KeyRecord { next_material: row.record.next_material, ..record.clone() };
        let grants = self.kms.store.grants_on(&record.region, &record.key_id, None, usize::MAX);
        self.commit(|change| {
            grants.iter().fold(change.update(&row, record.clone()), |change, grant| change.delete(grant))
        });
    }

    /// The events of the audit log so far, by request id.
    pub fn events(&self) -> BTreeMap<String, Value> {
        let events = audit_lines(&self.data).into_iter().map(|line| line["event"].clone());
        events.filter_map(|event| Some((event["requestID"].as_str()?.to_owned(), event))).collect()
    }

    fn row(&self, user: &Person) -> Arc<Row<PrincipalRecord>> {
        self.kms.store.principal_by_id(&user.unique_id).expect("a user")
    }

    fn principal(&self, account: &AccountId, kind: PrincipalKind, name: &str) -> PrincipalRecord {
        let letters = if kind == PrincipalKind::User { "AIDA" } else { "AROA" };
        PrincipalRecord {
            account: account.clone(),
            kind,
            path: "/".parse().unwrap(),
            name: name.parse().unwrap(),
            unique_id: format!("{letters}{}", random_name()),
            created: self.kms.now(),
            tags: BTreeMap::new(),
            inline_policies: BTreeMap::new(),
            attached_policies: BTreeSet::new(),
            permissions_boundary: None,
            role: None,
            sessions_revoked_before: None,
        }
    }

    /// The service's own time.
    pub fn time(&self) -> std::time::SystemTime {
        let millis = u64::try_from(self.kms.clock().now().as_millis()).unwrap();
        UNIX_EPOCH + Duration::from_millis(millis)
    }
}

/// A key that a test made.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub arn: String,
}

impl Key {
    /// The key of this record.
    pub fn of(record: &KeyRecord) -> Self {
        Key { id: record.key_id.to_string(), arn: arn_of(record).to_string() }
    }
}

/// The text of a policy with these statements.
pub fn policy(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// Sixteen characters of base 32.
fn random_name() -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bytes = uuid::Uuid::new_v4().into_bytes();
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % 32])).collect()
}
