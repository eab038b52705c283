//! DeleteAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteAlias.html>

use serde::Deserialize;

use super::{alias_name, authorize_alias, authorize_target};
use crate::kms::shape::{Member, required};
use crate::kms::{Context, Error, Operation, shapes};
use crate::store::Change;

/// Deletes an alias; the key is not touched.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteAlias {
    alias_name: String,
}

impl Operation for DeleteAlias {
    const NAME: &'static str = "DeleteAlias";
    const MEMBERS: &'static [Member] = &[required("AliasName", &shapes::ALIAS_NAME)];
    const READ_ONLY: bool = false;
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Error> {
        let name = alias_name(&self.alias_name)?;
        cx.change(|_| {
            authorize_alias::<Self>(cx, &name)?;
            let alias = cx.alias(&cx.caller.account, &name)?;
            let target = authorize_target::<Self>(cx, &alias)?;
            Ok((Change::new(cx.kms.now()).expect(&target).delete(&alias), ()))
        })
        .await
    }
}
