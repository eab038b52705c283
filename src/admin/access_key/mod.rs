//! Operations on access keys: of users, and without a user name of the account's root user.

mod create_access_key;
mod delete_access_key;
mod get_access_key_last_used;
mod list_access_keys;
mod update_access_key;

pub use create_access_key::CreateAccessKey;
pub use delete_access_key::DeleteAccessKey;
pub use get_access_key_last_used::GetAccessKeyLastUsed;
pub use list_access_keys::ListAccessKeys;
pub use update_access_key::UpdateAccessKey;

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Context, Error, principal};
use crate::model::{Arn, FriendlyName};
use crate::store::{AccessKeyRecord, AccountRecord, Change, PrincipalKind, PrincipalRecord, Row};

/// An access key with its secret, for the one answer that shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewAccessKey {
    #[serde(flatten)]
    metadata: Metadata,
    #[serde(serialize_with = "text")]
    secret_access_key: Zeroizing<String>,
}

/// What may be seen of an access key at any time.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    access_key_id: String,
    status: &'static str,
    create_date: String,
}

impl NewAccessKey {
    /// A key that is about to be made.
    pub fn of(record: &AccessKeyRecord, user_name: Option<&FriendlyName>) -> Self {
        let secret_access_key = Zeroizing::new(record.secret.clone());
        NewAccessKey { metadata: Metadata::of(record, user_name), secret_access_key }
    }

    /// As the record shows it: without the secret.
    pub fn shown(&self) -> Value {
        let Metadata { user_name, access_key_id, status, create_date } = &self.metadata;
        let mut shown = json!({ "accessKeyId": access_key_id, "status": status, "createDate": create_date });
        if let Some(name) = user_name {
            shown["userName"] = name.as_str().into();
        }
        shown
    }
}

impl Metadata {
    fn of(record: &AccessKeyRecord, user_name: Option<&FriendlyName>) -> Self {
        Metadata {
            user_name: user_name.map(FriendlyName::to_string),
            access_key_id: record.access_key_id.clone(),
            status: if record.active { "Active" } else { "Inactive" },
            create_date: record.created.to_string(),
        }
    }
}

/// Who has access keys.
enum Holder {
    Root(Arc<Row<AccountRecord>>),
    User(Arc<Row<PrincipalRecord>>),
}

impl Holder {
    /// The user of this name; without one, the root user.
    fn find(cx: &Context<'_>, name: Option<&FriendlyName>) -> Result<Self, Error> {
        match name {
            Some(name) => principal::find(cx, PrincipalKind::User, name).map(Holder::User),
            None => {
                let account = cx.store().account(&cx.account);
                let missing = || Error::NoSuchEntity(format!("The account with id {} cannot be found.", cx.account));
                account.map(Holder::Root).ok_or_else(missing)
            }
        }
    }

    fn name(&self) -> Option<&FriendlyName> {
        match self {
            Holder::Root(_) => None,
            Holder::User(user) => Some(&user.record.name),
        }
    }

    fn arn(&self) -> Arn {
        match self {
            Holder::Root(account) => Arn::root_user(&account.record.account),
            Holder::User(user) => user.record.arn(),
        }
    }

    fn unique_id(&self) -> &str {
        match self {
            Holder::Root(account) => account.record.account.as_str(),
            Holder::User(user) => &user.record.unique_id,
        }
    }

    fn keys(&self, cx: &Context<'_>) -> Vec<Arc<Row<AccessKeyRecord>>> {
        cx.store().access_keys_of(self.unique_id())
    }

    /// The holder's key with this id.
    fn key(&self, cx: &Context<'_>, id: &str) -> Result<Arc<Row<AccessKeyRecord>>, Error> {
        let found = cx.store().access_key(id).filter(|key| key.record.user_id == self.unique_id());
        found.ok_or_else(|| no_such_key(id))
    }

    /// Touches the holder, so that of two changes that count its keys one comes first.
    fn touched(&self, change: Change) -> Change {
        match self {
            Holder::Root(account) => change.touch(account),
            Holder::User(user) => change.touch(user),
        }
    }
}

fn text<S: Serializer>(secret: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}

fn no_such_key(id: &str) -> Error {
    Error::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
}

/// Of a user, and of a root user.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MAX_KEYS: usize = 2;
