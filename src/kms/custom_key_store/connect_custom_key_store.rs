//! ConnectCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ConnectCustomKeyStore.html>

use serde::Deserialize;

use super::{Empty, check_state, connecting_to};
use crate::crash_point;
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Operation, shapes};
use crate::model::ConnectionState;
use crate::store::{Change, Connection};

/// Has a custom key store be connected, in the background and after every start from now on. What comes of it is told by
/// DescribeCustomKeyStores.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectCustomKeyStore {
    custom_key_store_id: String,
}

impl Operation for ConnectCustomKeyStore {
    const NAME: &'static str = "ConnectCustomKeyStore";
    const MEMBERS: &'static [Member] = &[required("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID)];
    const READ_ONLY: bool = false;
    type Output = Empty;

    async fn run(self, cx: &Context) -> Result<Empty, Error> {
        let row = cx
            .change(|_| {
                cx.authorize_key_store::<Self>()?;
                let row = cx.custom_key_store(&self.custom_key_store_id)?;
                let admitted = [ConnectionState::Disconnected, ConnectionState::Connecting, ConnectionState::Connected];
                check_state(&cx.kms, &row.record, &admitted)?;
                let change = Change::new(cx.kms.now());
                let change = match row.record.connection {
                    Connection::Disconnected => change.update(&row, connecting_to(&row.record, Connection::Connecting)),
                    _ => change,
                };
                Ok((change, row))
            })
            .await?;
        crash_point::reached("custom-key-store-wanted");
        cx.kms.tend_custom_key_store(&row.record.id);
        Ok(Empty {})
    }
}
