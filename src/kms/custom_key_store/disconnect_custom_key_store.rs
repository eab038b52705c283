//! DisconnectCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisconnectCustomKeyStore.html>

use serde::Deserialize;

use super::{Empty, check_state, connecting_to};
use crate::crash_point;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Operation, shapes};
use crate::model::ConnectionState;
use crate::store::{Change, Connection};

/// Has a custom key store no longer be connected. Its keys are unavailable at once and stay on the token.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisconnectCustomKeyStore {
    custom_key_store_id: String,
}

impl Operation for DisconnectCustomKeyStore {
    const NAME: &'static str = "DisconnectCustomKeyStore";
    const MEMBERS: &'static [Member] = &[required("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID)];
    const READ_ONLY: bool = false;
    type Output = Empty;

    async fn run(self, cx: &Context) -> Result<Empty, Error> {
        let row = cx
            .change(|_| {
                cx.authorize_key_store::<Self>()?;
                let row = cx.custom_key_store(&self.custom_key_store_id)?;
                let admitted = [ConnectionState::Connected, ConnectionState::Connecting, ConnectionState::Failed];
                check_state(&cx.kms, &row.record, &admitted)?;
                let record = connecting_to(&row.record, Connection::Disconnected);
                Ok((Change::new(cx.kms.now()).update(&row, record), row))
            })
            .await?;
        crash_point::reached("custom-key-store-unwanted");
        cx.kms.tend_custom_key_store(&row.record.id);
        Ok(Empty {})
    }
}
