//! A service in this process with users and roles of two accounts, each of whom can ask it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use axum::body::{Body, to_bytes};
use hsm_kms::api::http::Peer;
use hsm_kms::api::json::{Answer, OPERATIONS};
use hsm_kms::audit::EventSource;
use hsm_kms::auth::policy::{Kind, Policy};
use hsm_kms::auth::{Caller, Identity, Permissions, Session};
use hsm_kms::kms::{self, Context};
use hsm_kms::model::{AccountId, FriendlyName, Timestamp};
use hsm_kms::store::{AccessKeyRecord, AccountRecord, Change, PrincipalKind, PrincipalRecord, RoleDetails};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::in_process::{InProcess, MovedClock, START};

/// The account of the keys, and the other one.
pub const OURS: &str = "111122223333";
pub const THEIRS: &str = "444455556666";

/// What a user may who has this policy: everything.
pub const ADMIN: &str = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

pub struct People {
    pub service: InProcess,
    router: axum::Router,
}

/// Someone with an access key.
#[derive(Clone)]
pub struct Person {
    pub arn: String,
    pub unique_id: String,
    pub access_key_id: String,
    pub secret: String,
}

/// A session of a role, as STS would have given it out.
#[derive(Clone)]
pub struct RoleSession {
    pub arn: String,
    pub role_arn: String,
    caller: Caller,
}

/// An answer: the status, the exception's name, and the body.
#[derive(Debug)]
pub struct Said {
    pub error: String,
    pub message: String,
    pub body: Value,
}

impl People {
    pub async fn start(dir: &Path) -> Self {
        People::start_at(dir, START).await
    }

    /// At another time of day than all tests have, in milliseconds since the epoch.
    pub async fn start_at(dir: &Path, time: i64) -> Self {
        let service = InProcess::start(dir, MovedClock::at(time)).await;
        let people = People { router: service.app.router(), service };
        let account = AccountRecord { account: id(THEIRS), created: people.now() };
        people.commit(Change::new(people.now()).insert(account)).await;
        people
    }

    /// The service that was started in `dir` before.
    pub async fn open(dir: &Path) -> Self {
        let service = InProcess::open(dir, MovedClock::at(START + 60_000)).await;
        People { router: service.app.router(), service }
    }

    pub async fn close(self) {
        drop(self.router);
        self.service.close().await;
    }

    pub fn now(&self) -> Timestamp {
        self.service.app.kms().now()
    }

    pub async fn commit(&self, change: Change) {
        self.service.app.kms().commit(change).await.unwrap();
    }

    pub fn root(&self) -> Person {
        let root = self.service.app.root_user().expect("a root user");
        Person {
            arn: format!("arn:aws:iam::{OURS}:root"),
            unique_id: OURS.into(),
            access_key_id: root.access_key_id.clone(),
            secret: root.secret_access_key.to_string(),
        }
    }

    /// The root user of the other account.
    pub async fn their_root(&self) -> Person {
        let arn = format!("arn:aws:iam::{THEIRS}:root");
        let person = Person { arn, unique_id: THEIRS.into(), access_key_id: new_id("AKIA"), secret: new_id("") };
        self.commit(Change::new(self.now()).insert(self.access_key(&person, THEIRS))).await;
        person
    }

    /// A new user with these identity policies.
    pub async fn user(&self, account: &str, name: &str, policies: &[&str]) -> Person {
        let record = self.principal(account, PrincipalKind::User, name, policies);
        let person = Person {
            arn: record.arn().to_string(),
            unique_id: record.unique_id.clone(),
            access_key_id: new_id("AKIA"),
            secret: new_id(""),
        };
        let key = self.access_key(&person, account);
        self.commit(Change::new(self.now()).insert(record).insert(key)).await;
        person
    }

    /// A session of a new role with these identity policies.
    pub async fn session(&self, account: &str, name: &str, policies: &[&str]) -> RoleSession {
        let mut record = self.principal(account, PrincipalKind::Role, name, policies);
        record.role = Some(RoleDetails {
            trust_policy: r#"{"Statement":[]}"#.into(),
            trusted: BTreeMap::new(),
            max_session_seconds: 3_600,
            description: String::new(),
        });
        let (arn, role_arn) = (format!("arn:aws:sts::{account}:assumed-role/{name}/s1"), record.arn().to_string());
        let session = Session {
            issued: self.now(),
            expires: self.now().plus(Duration::from_secs(3_600)),
            source_identity: None,
            transitive_tag_keys: Vec::new(),
        };
        let identity_policies = policies.iter().map(|text| parsed(text, Kind::IdentityPolicy)).collect();
        let caller = Caller {
            account: id(account),
            arn: arn.clone(),
            user_id: format!("{}:s1", record.unique_id),
            access_key_id: new_id("ASIA"),
            identity: Identity::Role { arn: role_arn.clone(), name: name.to_owned() },
            tags: Arc::default(),
            permissions: Permissions { identity_policies, ..Permissions::default() },
            session: Some(Arc::new(session)),
        };
        self.commit(Change::new(self.now()).insert(record)).await;
        RoleSession { arn, role_arn, caller }
    }

    /// Deletes a user, with its access key, or a role.
    pub async fn delete(&self, arn: &str) {
        let store = &self.service.app.kms().store;
        let principal = self.service.app.kms().principal_of(arn).unwrap();
        let keys = store.access_keys_of(&principal.record.unique_id);
        let change = Change::new(self.now()).delete(&principal);
        self.commit(keys.iter().fold(change, |change, key| change.delete(key))).await;
    }

    /// Asks as a person, signed.
    pub async fn ask(&self, person: &Person, operation: &str, body: &Value) -> Said {
        self.ask_in(person, "us-east-1", operation, body).await
    }

    pub async fn ask_in(&self, person: &Person, region: &str, operation: &str, body: &Value) -> Said {
        self.send(self.request(person, region, operation, body)).await
    }

    /// A request as it arrives, signed.
    pub fn request(&self, person: &Person, region: &str, operation: &str, body: &Value) -> axum::http::Request<Body> {
        let body = body.to_string();
        let mut headers = vec![
            ("host".to_owned(), "localhost".to_owned()),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("TrentService.{operation}")),
        ];
        let credentials = Credentials::from_keys(&person.access_key_id, &person.secret, None);
        headers.extend(self.service.signature_of(credentials, region, &headers, body.as_bytes()));
        let request = axum::http::Request::post("/").extension(Peer(([127, 0, 0, 1], 1).into()));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        request.body(Body::from(body)).unwrap()
    }

    pub async fn send(&self, request: axum::http::Request<Body>) -> Said {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        Said::of(status, &bytes)
    }

    /// Asks as a session: past the signature, which is not what these tests are about.
    pub async fn ask_as(&self, session: &RoleSession, operation: &str, body: &Value) -> Said {
        let kms = self.service.app.kms().clone();
        let route = OPERATIONS.iter().find(|route| route.name == operation).unwrap();
        let request = kms::Request {
            operation: route.name,
            service: EventSource::Kms,
            read_only: route.read_only,
            id: uuid::Uuid::new_v4().to_string(),
            event_id: uuid::Uuid::new_v4().to_string(),
            region: "us-east-1".parse().unwrap(),
            source_ip: "127.0.0.1".into(),
            user_agent: String::new(),
            time: kms.now(),
            deadline: Instant::now() + Duration::from_secs(5),
        };
        let permit = kms.audit.begin().unwrap();
        let cx = Context::new(kms, session.caller.clone(), request, permit);
        let answer = (route.serve)(&cx, body.to_string().as_bytes()).await.map_err(Answer::from);
        let outcome = answer
            .as_ref()
            .map(drop)
            .map_err(|answer| kms::Failure { code: answer.code, message: answer.message.clone() });
        cx.finish(outcome).await.unwrap();
        match answer {
            Ok(body) => Said::of(200, &body),
            Err(answer) => Said::of(answer.status, &answer.json()),
        }
    }

    /// Asks for something that must be answered.
    #[track_caller]
    pub fn ok<'a>(
        &'a self,
        person: &'a Person,
        operation: &'a str,
        body: Value,
    ) -> impl Future<Output = Value> + use<'a> {
        let caller = std::panic::Location::caller();
        async move {
            let said = self.ask(person, operation, &body).await;
            assert_eq!(said.error, "", "{operation} {body} at {caller}: {}", said.message);
            said.body
        }
    }

    /// Asks for something that must be refused with this error: the message.
    #[track_caller]
    pub fn no<'a>(
        &'a self,
        person: &'a Person,
        operation: &'a str,
        body: Value,
        error: &'a str,
    ) -> impl Future<Output = String> + use<'a> {
        let caller = std::panic::Location::caller();
        async move {
            let said = self.ask(person, operation, &body).await;
            assert_eq!(said.error, error, "{operation} {body} at {caller}: {} {}", said.message, said.body);
            said.message
        }
    }

    /// A new key of our root user's, whose policy is AWS's default; its ARN.
    pub async fn key(&self) -> String {
        self.key_with(&json!({})).await
    }

    pub async fn key_with(&self, body: &Value) -> String {
        let made = self.ok(&self.root(), "CreateKey", body.clone()).await;
        made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    /// Our root user grants; the grant's id and token.
    pub async fn grant(&self, key: &str, grantee: &str, operations: &[&str], more: Value) -> (String, String) {
        let mut body = json!({ "KeyId": key, "GranteePrincipal": grantee, "Operations": operations });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.ok(&self.root(), "CreateGrant", body).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("GrantId"), text("GrantToken"))
    }

    /// Our root user encrypts under an encryption context; the ciphertext.
    pub async fn blob(&self, key: &str, context: Value) -> String {
        let body = json!({ "KeyId": key, "Plaintext": "eHk=", "EncryptionContext": context });
        self.ok(&self.root(), "Encrypt", body).await["CiphertextBlob"].as_str().unwrap().to_owned()
    }

    /// The ids of all grants on a key.
    pub async fn grants(&self, key: &str) -> Vec<String> {
        let listed = self.ok(&self.root(), "ListGrants", json!({ "KeyId": key, "Limit": 100 })).await;
        listed["Grants"].as_array().unwrap().iter().map(|grant| grant["GrantId"].as_str().unwrap().into()).collect()
    }

    fn principal(&self, account: &str, kind: PrincipalKind, name: &str, policies: &[&str]) -> PrincipalRecord {
        let inline = policies.iter().enumerate();
        let inline = inline.map(|(number, text)| (friendly(&format!("p{number}")), (*text).to_owned()));
        PrincipalRecord {
            account: id(account),
            kind,
            path: "/".parse().unwrap(),
            name: friendly(name),
            unique_id: new_id(if kind == PrincipalKind::User { "AIDA" } else { "AROA" }),
            created: self.now(),
            tags: BTreeMap::new(),
            inline_policies: inline.collect(),
            attached_policies: Default::default(),
            permissions_boundary: None,
            role: None,
            sessions_revoked_before: None,
        }
    }

    fn access_key(&self, person: &Person, account: &str) -> AccessKeyRecord {
        AccessKeyRecord {
            access_key_id: person.access_key_id.clone(),
            account: id(account),
            principal: person.arn.clone(),
            user_id: person.unique_id.clone(),
            secret: person.secret.clone(),
            active: true,
            created: self.now(),
        }
    }
}

impl RoleSession {
    /// The same session, given a session policy.
    pub fn within(&self, policy: &str) -> Self {
        let mut session = self.clone();
        session.caller.permissions.session_policies = vec![parsed(policy, Kind::SessionPolicy)];
        session
    }

    /// Another session of the same role.
    pub fn again(&self, name: &str) -> Self {
        let mut session = self.clone();
        session.arn = self.arn.replace("/s1", &format!("/{name}"));
        session.caller.arn = session.arn.clone();
        session.caller.user_id = format!("{}:{name}", self.caller.unique_id());
        session
    }
}

impl Said {
    fn of(status: u16, bytes: &[u8]) -> Self {
        let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).unwrap() };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (error, message) = (text("__type"), text("message"));
        assert_eq!(error.is_empty(), status == 200, "{status} {body}");
        Said { error, message, body }
    }
}

fn parsed(text: &str, kind: Kind) -> Arc<Policy> {
    Arc::new(Policy::parse(text, kind).unwrap())
}

fn id(account: &str) -> AccountId {
    account.parse().unwrap()
}

fn friendly(name: &str) -> FriendlyName {
    name.parse().unwrap()
}

fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple().to_string().to_uppercase())
}
