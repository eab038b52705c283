//! DeleteCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteCustomKeyStore.html>

use serde::Deserialize;

use super::{Empty, check_state};
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, KeyStore, Operation, shapes};
use crate::model::ConnectionState;
use crate::store::Change;

/// Forgets a custom key store that has no keys. Nothing on the token changes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteCustomKeyStore {
    custom_key_store_id: String,
}

impl Operation for DeleteCustomKeyStore {
    const NAME: &'static str = "DeleteCustomKeyStore";
    const MEMBERS: &'static [Member] = &[required("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID)];
    const READ_ONLY: bool = false;
    type Output = Empty;

    async fn run(self, cx: &Context) -> Result<Empty, Error> {
        cx.change(|_| {
            cx.authorize_key_store::<Self>()?;
            let row = cx.custom_key_store(&self.custom_key_store_id)?;
            check_state(&cx.kms, &row.record, &[ConnectionState::Disconnected])?;
            // What is to be destroyed or undone on the token yet needs its password.
            if cx.kms.has_objects(&KeyStore::Custom(row.record.id.clone())) {
                return Err(Error::CustomKeyStoreHasCmks(row.record.id.to_string()));
            }
            Ok((Change::new(cx.kms.now()).delete(&row), Empty {}))
        })
        .await
    }
}
