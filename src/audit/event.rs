//! One event, in CloudTrail's shape.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::crypto;
use crate::model::{AccountId, Arn, Region, Timestamp};

/// Bytes of the longest event, as JSON; longer ones are cut by [`Event::to_json`].
pub const MAX_EVENT_LEN: usize = 24 * 1024;

/// A CloudTrail event of this service. It never holds plaintext, ciphertext, keys, signatures of requests or PINs.
///
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Always `1.08`.
    pub event_version: Cow<'static, str>,
    /// Who asked.
    pub user_identity: UserIdentity,
    /// RFC 3339, UTC, seconds.
    pub event_time: String,
    /// The service that was asked.
    pub event_source: EventSource,
    /// The operation, for example `Decrypt`.
    pub event_name: Cow<'static, str>,
    /// The Region that was asked.
    pub aws_region: String,
    /// The peer's address, or the name of the service for an event of its own.
    #[serde(rename = "sourceIPAddress")]
    pub source_ip_address: String,
    /// As the client sent it, capped.
    pub user_agent: String,
    /// The error that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<Cow<'static, str>>,
    /// What the error said, capped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The request's members as far as they may be seen; null if it could not be read.
    pub request_parameters: Value,
    /// The answer's members as far as they may be seen; mostly null.
    pub response_elements: Value,
    /// What else the record should say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_event_data: Option<Value>,
    /// What an act of the service was, in CloudTrail's own words for such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_event_details: Option<Value>,
    /// As in the answer's `x-amzn-RequestId`.
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// Of this event alone.
    #[serde(rename = "eventID")]
    pub event_id: String,
    /// Whether the operation changes nothing.
    pub read_only: bool,
    /// The keys that were named.
    pub resources: Vec<Resource>,
    /// A caller's request or an act of the service.
    pub event_type: EventType,
    /// Always true.
    pub management_event: bool,
    /// The account whose log this event belongs to.
    pub recipient_account_id: String,
    /// Always `Management`.
    pub event_category: Cow<'static, str>,
}

/// What every event has.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// When.
    pub time: Timestamp,
    /// The service that was asked.
    pub source: EventSource,
    /// The operation.
    pub name: &'static str,
    /// The Region that was asked.
    pub region: &'a Region,
    /// The account whose log this is.
    pub account: &'a AccountId,
    /// The peer's address.
    pub source_ip: &'a str,
    /// As the client sent it; capped here.
    pub user_agent: &'a str,
    /// As in the answer.
    pub request_id: &'a str,
    /// Of this event alone.
    pub event_id: &'a str,
    /// Whether the operation changes nothing.
    pub read_only: bool,
}

/// Who asked.
///
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdentity {
    /// The kind of principal.
    #[serde(rename = "type")]
    pub kind: IdentityType,
    /// Its unique id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    /// Its ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Its account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The access key that signed; of `Unknown` only claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The session, of temporary credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_context: Option<SessionContext>,
    /// The service that acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoked_by: Option<String>,
}

/// What temporary credentials are.
///
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionContext {
    /// The role that was assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_issuer: Option<SessionIssuer>,
    /// When, and how.
    pub attributes: SessionAttributes,
    /// The person behind it, as `sts:SourceIdentity` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

/// The role of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionIssuer {
    /// Always `Role`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// Its unique id.
    pub principal_id: String,
    /// Its ARN.
    pub arn: String,
    /// Its account.
    pub account_id: String,
    /// Its name.
    pub user_name: String,
}

/// When a session began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionAttributes {
    /// RFC 3339, UTC, seconds.
    pub creation_date: String,
    /// Always `false`.
    pub mfa_authenticated: Cow<'static, str>,
}

/// The kind of a principal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityType {
    /// The account's root user.
    Root,
    /// A user.
    #[serde(rename = "IAMUser")]
    IamUser,
    /// A session of a role.
    AssumedRole,
    /// Whoever ran a command on the host, by his Unix user.
    Operator,
    /// The service itself.
    #[serde(rename = "AWSService")]
    AwsService,
    /// Nobody who could be named.
    #[default]
    Unknown,
}

/// The service that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventSource {
    /// KMS.
    #[serde(rename = "kms.amazonaws.com")]
    Kms,
    /// STS.
    #[serde(rename = "sts.amazonaws.com")]
    Sts,
    /// IAM.
    #[serde(rename = "iam.amazonaws.com")]
    Iam,
}

/// A caller's request or an act of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// A request.
    AwsApiCall,
    /// An act of the service, for example `DeleteKey` at the end of its waiting time.
    AwsServiceEvent,
}

/// A key that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The key's ARN.
    #[serde(rename = "ARN")]
    pub arn: String,
    /// The account of the key.
    #[serde(rename = "accountId")]
    pub account_id: String,
    /// `AWS::KMS::Key` or `AWS::IAM::Role`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
}

impl UserIdentity {
    /// The root user of an account.
    pub fn root(account: &AccountId, access_key_id: &str) -> Self {
        UserIdentity {
            kind: IdentityType::Root,
            principal_id: Some(account.as_str().to_owned()),
            arn: Some(format!("arn:aws:iam::{account}:root")),
            account_id: Some(account.as_str().to_owned()),
            access_key_id: Some(access_key_id.to_owned()),
            ..UserIdentity::default()
        }
    }

    /// The service itself, for what it does unasked.
    pub fn service(name: &str) -> Self {
        UserIdentity { kind: IdentityType::AwsService, invoked_by: Some(name.to_owned()), ..UserIdentity::default() }
    }
}

impl Event {
    /// The record of a request by nobody known yet; say more with the methods below.
    pub fn call(call: Call<'_>) -> Self {
        let Call { time, source, name, region, account, source_ip, user_agent, request_id, event_id, read_only } = call;
        Event {
            event_version: "1.08".into(),
            user_identity: UserIdentity::default(),
            event_time: time.to_string(),
            event_source: source,
            event_name: name.into(),
            aws_region: region.to_string(),
            source_ip_address: source_ip.to_owned(),
            user_agent: cut(user_agent, MAX_TEXT_LEN),
            error_code: None,
            error_message: None,
            request_parameters: Value::Null,
            response_elements: Value::Null,
            additional_event_data: None,
            service_event_details: None,
            request_id: request_id.to_owned(),
            event_id: event_id.to_owned(),
            read_only,
            resources: Vec::new(),
            event_type: EventType::AwsApiCall,
            management_event: true,
            recipient_account_id: account.to_string(),
            event_category: "Management".into(),
        }
    }

    /// The record of an act of the service itself.
    pub fn service(call: Call<'_>) -> Self {
        let event = Event { event_type: EventType::AwsServiceEvent, ..Event::call(call) };
        event.by(UserIdentity::service("kms.amazonaws.com"))
    }

    /// Says who asked.
    pub fn by(self, user_identity: UserIdentity) -> Self {
        Event { user_identity, ..self }
    }

    /// Says what was asked, without anything secret.
    pub fn parameters(self, request_parameters: Value) -> Self {
        Event { request_parameters, ..self }
    }

    /// Says what was answered, without anything secret.
    pub fn response(self, response_elements: Value) -> Self {
        Event { response_elements, ..self }
    }

    /// Says something more.
    pub fn additional(self, data: Value) -> Self {
        Event { additional_event_data: Some(data), ..self }
    }

    /// Says what an act of the service was, without anything secret and short.
    pub fn details(self, details: Value) -> Self {
        Event { service_event_details: Some(details), ..self }
    }

    /// Names a key, or a role.
    pub fn resource(mut self, arn: &Arn) -> Self {
        let kind = if arn.service == "iam" { "AWS::IAM::Role" } else { "AWS::KMS::Key" };
        self.resources.push(Resource { arn: arn.to_string(), account_id: arn.account.to_string(), kind: kind.into() });
        self
    }

    /// Says that an error was answered; the message is capped.
    pub fn error(self, code: impl Into<Cow<'static, str>>, message: &str) -> Self {
        Event { error_code: Some(code.into()), error_message: Some(cut(message, MAX_TEXT_LEN)), ..self }
    }

    /// One line of JSON of at most [`MAX_EVENT_LEN`] bytes.
    ///
    /// An event that would be longer has the long strings of its parameters cut, each with a visible mark that gives
    /// its length and SHA-256; whoever has the string can still prove that it was this one.
    pub fn to_json(&self) -> Vec<u8> {
        let whole = self.serialise();
        if whole.len() <= MAX_EVENT_LEN { whole } else { self.shortened() }
    }

    fn shortened(&self) -> Vec<u8> {
        let mut event = self.clone();
        for limit in [1024, 256, 64] {
            event.free_parts().for_each(|part| cut_strings(part, limit));
            let shorter = event.serialise();
            if shorter.len() <= MAX_EVENT_LEN {
                return shorter;
            }
        }
        event.free_parts().for_each(drop_whole);
        let bare = event.serialise();
        if bare.len() <= MAX_EVENT_LEN {
            return bare;
        }
        event.resources.truncate(MAX_RESOURCES);
        event.names().for_each(|name| *name = cut(name, 0));
        event.serialise()
    }

    fn free_parts(&mut self) -> impl Iterator<Item = &mut Value> {
        let parts = [&mut self.request_parameters, &mut self.response_elements];
        parts.into_iter().chain(self.additional_event_data.as_mut())
    }

    /// Every text that is not made of constants: only a fault in the service makes one of these long.
    fn names(&mut self) -> impl Iterator<Item = &mut String> {
        let identity = &mut self.user_identity;
        let who = [
            &mut identity.principal_id,
            &mut identity.arn,
            &mut identity.account_id,
            &mut identity.access_key_id,
            &mut identity.user_name,
            &mut identity.invoked_by,
            &mut self.error_message,
        ];
        let what = [
            self.event_name.to_mut(),
            &mut self.event_time,
            &mut self.aws_region,
            &mut self.source_ip_address,
            &mut self.user_agent,
            &mut self.request_id,
            &mut self.event_id,
            &mut self.recipient_account_id,
        ];
        let code = self.error_code.iter_mut().map(Cow::to_mut);
        let keys = self.resources.iter_mut().flat_map(|resource| [&mut resource.arn, &mut resource.account_id]);
        who.into_iter().flatten().chain(what).chain(code).chain(keys)
    }

    fn serialise(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        // Every map in an event has string keys and a Vec takes every byte: no other error exists.
        serde_json::to_writer(&mut bytes, self).expect("an event is plain JSON");
        bytes
    }
}

/// `text`, or its first `limit` bytes and a mark with the length and hash of the whole.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit + MARK_LEN {
        return text.to_owned();
    }
    let hash = hex::encode(crypto::sha256(&[text.as_bytes()]));
    format!("{}…[cut: {} bytes, SHA-256 {hash}]", &text[..text.floor_char_boundary(limit)], text.len())
}

fn cut_strings(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => *text = cut(text, limit),
        Value::Array(items) => items.iter_mut().for_each(|item| cut_strings(item, limit)),
        Value::Object(members) => {
            *members = std::mem::take(members)
                .into_iter()
                .map(|(name, mut member)| {
                    cut_strings(&mut member, limit);
                    (cut(&name, limit), member)
                })
                .collect::<Map<_, _>>();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn drop_whole(value: &mut Value) {
    if !value.is_null() {
        let text = value.to_string();
        *value = json!({ "cut": cut(&text, 0) });
    }
}

/// Bytes of a user agent or an error message; CloudTrail keeps 1 KB of each.
const MAX_TEXT_LEN: usize = 1024;
/// Bytes of the mark itself: shorter texts would not get shorter.
const MARK_LEN: usize = 112;
/// Keys named by an event that had to be cut down to its names; the widest operation names two.
const MAX_RESOURCES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event::call(Call {
            time: Timestamp::from_millis(1_763_763_600_999),
            source: EventSource::Kms,
            name: "Decrypt",
            region: &"us-east-1".parse().unwrap(),
            account: &"111122223333".parse().unwrap(),
            source_ip: "127.0.0.1",
            user_agent: "aws-cli/2.0",
            request_id: "r-1",
            event_id: "e-1",
            read_only: true,
        })
    }

    #[test]
    fn has_cloudtrails_shape() {
        let account: AccountId = "111122223333".parse().unwrap();
        let arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap();
        let event = event()
            .by(UserIdentity::root(&account, "AKIAEXAMPLE"))
            .parameters(json!({"encryptionAlgorithm": "SYMMETRIC_DEFAULT"}))
            .resource(&arn)
            .error("AccessDenied", "no");
        let text = String::from_utf8(event.to_json()).unwrap();
        assert_eq!(text, SHAPE);
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn a_service_event_names_the_service() {
        let event = Event { event_type: EventType::AwsServiceEvent, ..event() };
        let json: Value =
            serde_json::from_slice(&event.by(UserIdentity::service("kms.amazonaws.com")).to_json()).unwrap();
        assert_eq!(json["userIdentity"], json!({"type": "AWSService", "invokedBy": "kms.amazonaws.com"}));
        assert_eq!(json["eventType"], "AwsServiceEvent");
    }

    #[test]
    fn a_long_context_is_cut_with_a_mark_and_stays_provable() {
        let long = "\u{1}".repeat(8192);
        let event = event().parameters(json!({"encryptionContext": {"short": "kept", "long": long, &long: "k"}}));
        let bytes = event.to_json();
        assert!(bytes.len() <= MAX_EVENT_LEN);
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let context = &json["requestParameters"]["encryptionContext"];
        assert_eq!(context["short"], "kept");
        let hash = hex::encode(crypto::sha256(&[long.as_bytes()]));
        assert!(context["long"].as_str().unwrap().ends_with(&format!("…[cut: 8192 bytes, SHA-256 {hash}]")));
        assert_eq!(context.as_object().unwrap().len(), 3);
    }

    #[test]
    fn whatever_is_long_it_fits() {
        let long = "\u{1}é\"".repeat(40_000);
        let pairs: Map<String, Value> = (0..10_000).map(|n| (format!("{n}"), json!("x"))).collect();
        let arn = Arn { resource: long.clone(), ..Arn::root_user(&"111122223333".parse().unwrap()) };
        let mut worst = event()
            .parameters(Value::Object(pairs.clone()))
            .response(json!({"deep": [[long.clone()]]}))
            .additional(Value::Object(pairs))
            .error(long.clone(), &long);
        worst = (0..100).fold(worst, |event, _| event.resource(&arn));
        worst.names().for_each(|name| *name = long.clone());
        let mut uncut = worst.clone();
        uncut.names().for_each(|name| *name = "\u{1}".repeat(MARK_LEN));
        for event in [worst, uncut] {
            let bytes = event.to_json();
            assert!(bytes.len() <= MAX_EVENT_LEN, "{}", bytes.len());
            assert!(serde_json::from_slice::<Event>(&bytes).is_ok());
            assert!(!bytes.contains(&b'\n'));
        }
    }

    #[test]
    fn what_a_client_writes_freely_is_capped() {
        let event = event().error("X", &"m".repeat(100_000));
        assert!(event.error_message.unwrap().len() < 1200);
    }

    const SHAPE: &str = concat!(
        r#"{"eventVersion":"1.08","userIdentity":{"type":"Root","principalId":"111122223333","#,
        r#""arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"AKIAEXAMPLE"},"#,
        r#""eventTime":"2025-11-21T22:20:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","#,
        r#""awsRegion":"us-east-1","sourceIPAddress":"127.0.0.1","userAgent":"aws-cli/2.0","#,
        r#""errorCode":"AccessDenied","errorMessage":"no","#,
        r#""requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT"},"responseElements":null,"#,
        r#""requestID":"r-1","eventID":"e-1","readOnly":true,"resources":[{"#,
        r#""ARN":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab","#,
        r#""accountId":"111122223333","type":"AWS::KMS::Key"}],"eventType":"AwsApiCall","managementEvent":true,"#,
        r#""recipientAccountId":"111122223333","eventCategory":"Management"}"#
    );
}
