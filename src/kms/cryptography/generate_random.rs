//! GenerateRandom: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateRandom.html>

use serde::{Deserialize, Serialize};

use super::check_recipient;
use crate::kms::shape::{Member, optional};
use crate::kms::{Blob, Context, Error, Facts, Operation, shapes};

/// Gives 1 to 1,024 random bytes, made of the operating system's and the token's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateRandom {
    number_of_bytes: Option<u16>,
    custom_key_store_id: Option<String>,
    recipient: Option<serde_json::Value>,
}

/// The random bytes.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    plaintext: Blob,
}

impl Operation for GenerateRandom {
    const NAME: &'static str = "GenerateRandom";
    const MEMBERS: &'static [Member] = &[
        optional("NumberOfBytes", &shapes::NUMBER_OF_BYTES),
        optional("CustomKeyStoreId", &shapes::CUSTOM_KEY_STORE_ID),
        optional("Recipient", &shapes::RECIPIENT_INFO),
    ];
    const READ_ONLY: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let missing = || Error::Validation("NumberOfBytes is required.".into());
        let len = self.number_of_bytes.ok_or_else(missing)?;
        check_recipient(self.recipient.as_ref())?;
        cx.authorize_account::<Self>(&Facts::default())?;
        let token = match &self.custom_key_store_id {
            Some(id) => cx.connected_custom_key_store(id)?.1,
            None => cx.token()?,
        };
        Ok(Output { plaintext: Blob(token.random(usize::from(len), cx.request.deadline).await?) })
    }
}
