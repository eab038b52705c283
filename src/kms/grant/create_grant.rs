//! CreateGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html>

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::constraints::{self, Constraints};
use super::{GRANTS_PER_KEY, facts, principal_arn, refuse_service, unique_id};
use crate::crypto;
use crate::kms::shape::{Member, optional, required};
use crate::kms::usable::not_disabled;
use crate::kms::{Context, Error, Facts, KeyRow, Kms, Operation, arn_of, shapes};
use crate::model::{GrantOperation, KeySpec, KeyUsage};
use crate::store::{Change, GrantConstraints, GrantRecord, KeyRecord};

/// Lets another principal use a key, in some ways and perhaps under some conditions.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateGrant {
    key_id: String,
    grantee_principal: Option<String>,
    retiring_principal: Option<String>,
    operations: Vec<GrantOperation>,
    constraints: Option<Constraints>,
    grant_tokens: Option<Vec<String>>,
    name: Option<String>,
    dry_run: Option<bool>,
    grantee_service_principal: Option<String>,
    retiring_service_principal: Option<String>,
}

/// The grant, new or found by its name.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    grant_token: String,
    grant_id: String,
}

/// What of a grant does not follow from its key.
#[derive(Clone)]
struct Terms {
    grantee: String,
    retiring: Option<String>,
    operations: Vec<GrantOperation>,
    constraints: GrantConstraints,
}

impl Operation for CreateGrant {
    const NAME: &'static str = "CreateGrant";
    const MEMBERS: &'static [Member] = &[
        required("KeyId", &shapes::KEY_ID),
        optional("GranteePrincipal", &shapes::PRINCIPAL_ID),
        optional("RetiringPrincipal", &shapes::PRINCIPAL_ID),
        required("Operations", &shapes::GRANT_OPERATION_LIST),
        optional("Constraints", &shapes::GRANT_CONSTRAINTS),
        optional("GrantTokens", &shapes::GRANT_TOKEN_LIST),
        optional("Name", &shapes::GRANT_NAME),
        optional("DryRun", &shapes::BOOLEAN),
        optional("GranteeServicePrincipal", &shapes::SERVICE_PRINCIPAL),
        optional("RetiringServicePrincipal", &shapes::SERVICE_PRINCIPAL),
    ];
    const READ_ONLY: bool = false;
    const CROSS_ACCOUNT: bool = true;
    type Output = Output;

    async fn run(self, cx: &Context) -> Result<Output, Error> {
        let grant_id = crypto::hex(&crypto::random_array()?);
        let terms = self.terms()?;
        cx.change(|store| {
            let target = cx.key_without_alias(&self.key_id)?;
            let grant = self.grant(cx, &target.key.record, &grant_id, terms.clone());
            let key = cx.authorize::<Self>(target, &self.facts(&grant))?.into_thing();
            not_disabled(&key)?;
            check_operations(&key, &grant)?;
            check_constraints(&key, &grant)?;
            let grant = bound(&cx.kms, grant)?;
            let twin = store.twin_of(&grant);
            if twin.is_none() && store.count_grants(&grant.region, &grant.key_id) >= GRANTS_PER_KEY {
                return Err(Error::LimitExceeded(format!("A key has at most {GRANTS_PER_KEY} grants.")));
            }
            if self.dry_run == Some(true) {
                return Err(Error::DryRun);
            }
            let granted = twin.as_ref().map_or(&grant, |twin| &twin.record);
            let output =
                Output { grant_token: cx.kms.grant_tokens.write(granted)?, grant_id: granted.grant_id.clone() };
            cx.note_response(json!({ "grantId": output.grant_id, "keyId": arn_of(&key.record).to_string() }));
            // The key must still be as it was seen: a key that is being destroyed gets no new grant.
            let change = Change::new(cx.kms.now()).expect(&key);
            let change = match &twin {
                Some(twin) => change.expect(twin),
                None => change.insert_grant(grant, GRANTS_PER_KEY),
            };
            Ok((change, output))
        })
        .await
    }
}

impl CreateGrant {
    /// What is wrong with them is told before any key is looked for: afterwards it would tell that there is a foreign one.
    fn terms(&self) -> Result<Terms, Error> {
        refuse_service(self.grantee_service_principal.as_deref(), "GranteeServicePrincipal")?;
        refuse_service(self.retiring_service_principal.as_deref(), "RetiringServicePrincipal")?;
        Ok(Terms {
            grantee: principal_arn(self.grantee_principal.as_deref().ok_or_else(no_grantee)?)?,
            retiring: self.retiring_principal.as_deref().map(principal_arn).transpose()?,
            operations: self.operations()?,
            constraints: self.constraints.clone().unwrap_or_default().checked()?,
        })
    }

    /// The grant that is asked for, without the unique ids of its principals.
    fn grant(&self, cx: &Context, key: &KeyRecord, grant_id: &str, terms: Terms) -> GrantRecord {
        GrantRecord {
            region: key.region.clone(),
            account: key.account.clone(),
            key_id: key.key_id,
            grant_id: grant_id.to_owned(),
            name: self.name.clone().unwrap_or_default(),
            grantee: terms.grantee,
            grantee_id: None,
            retiring: terms.retiring,
            retiring_id: None,
            operations: terms.operations,
            constraints: terms.constraints,
            creator: cx.caller.arn.clone(),
            created: cx.kms.now(),
        }
    }

    /// Sorted, each once.
    fn operations(&self) -> Result<Vec<GrantOperation>, Error> {
        let mut operations = self.operations.clone();
        operations.sort_unstable();
        operations.dedup();
        match operations.as_slice() {
            [] => Err(Error::Validation("Operations must not be empty.".into())),
            [only] if only.as_str() == Self::NAME => {
                Err(Error::Validation("Grants must not contain only the CreateGrant operation.".into()))
            }
            _ => Ok(operations),
        }
    }

    /// What policies and grants can ask of the grant to be. Its encryption context is the one that it demands.
    ///
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>
    fn facts<'f>(&'f self, grant: &'f GrantRecord) -> Facts<'f> {
        let demanded = &grant.constraints;
        let context = demanded.encryption_context_equals.as_ref().or(demanded.encryption_context_subset.as_ref());
        let tokens = self.grant_tokens.as_deref().unwrap_or_default();
        Facts { encryption_context: context, grant_tokens: tokens, new_grant: Some(grant), ..facts() }
            .with_all("kms:grantoperations", grant.operations.iter().map(|operation| operation.as_str()))
            .with("kms:granteeprincipal", Some(grant.grantee.as_str()))
            .with("kms:retiringprincipal", grant.retiring.as_deref())
            .with_all("kms:grantconstrainttype", constraints::types(demanded))
    }
}

/// The grant with the unique ids of its users and roles: whoever has their names later is not meant.
fn bound(kms: &Kms, grant: GrantRecord) -> Result<GrantRecord, Error> {
    let grantee_id = unique_id(kms, &grant.grantee)?;
    let retiring_id = grant.retiring.as_deref().map(|retiring| unique_id(kms, retiring)).transpose()?.flatten();
    Ok(GrantRecord { grantee_id, retiring_id, ..grant })
}

/// Refuses operations that are not of this type of key.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/grants.html#terms-grant-operations>
fn check_operations(key: &KeyRow, grant: &GrantRecord) -> Result<(), Error> {
    let KeyRecord { spec, usage, .. } = &key.record;
    let fitting: &[&str] = match (usage, spec) {
        (KeyUsage::EncryptDecrypt, KeySpec::SymmetricDefault) => &[
            "Decrypt",
            "Encrypt",
            "GenerateDataKey",
            "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext",
            "GenerateDataKeyWithoutPlaintext",
            "ReEncryptFrom",
            "ReEncryptTo",
        ],
        (KeyUsage::EncryptDecrypt, _) => &["Decrypt", "Encrypt", "GetPublicKey", "ReEncryptFrom", "ReEncryptTo"],
        (KeyUsage::SignVerify, _) => &["GetPublicKey", "Sign", "Verify"],
        (KeyUsage::KeyAgreement, _) => &["DeriveSharedSecret", "GetPublicKey"],
        (KeyUsage::EncapsulateDecapsulate, _) => &["Decapsulate", "Encapsulate", "GetPublicKey"],
        (KeyUsage::GenerateVerifyMac, _) => &["GenerateMac", "VerifyMac"],
    };
    let fits = |operation: &GrantOperation| {
        fitting.contains(&operation.as_str()) || OF_EVERY_KEY.contains(&operation.as_str())
    };
    match grant.operations.iter().find(|operation| !fits(operation)) {
        None => Ok(()),
        Some(operation) => Err(Error::Validation(format!(
            "Grant operation {operation} is not compatible with KeySpec {} and KeyUsage {}.",
            spec.as_str(),
            usage.as_str()
        ))),
    }
}

/// Refuses a demand for an encryption context where no operation of the key has one: nothing would ever keep it.
///
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html#KMS-CreateGrant-request-Constraints>
fn check_constraints(key: &KeyRow, grant: &GrantRecord) -> Result<(), Error> {
    let GrantConstraints { encryption_context_equals, encryption_context_subset, .. } = &grant.constraints;
    match (encryption_context_equals, encryption_context_subset) {
        (None, None) => Ok(()),
        _ if key.record.spec == KeySpec::SymmetricDefault => Ok(()),
        // AWS's wording is not known.
        _ => Err(Error::Validation(format!(
            "Encryption context grant constraints are not compatible with KeySpec {}.",
            key.record.spec
        ))),
    }
}

/// In the words of the model of before there were service principals, which demanded it.
fn no_grantee() -> Error {
    Error::Validation(
        "1 validation error detected: Value null at 'granteePrincipal' failed to satisfy constraint: Member must not \
         be null"
            .into(),
    )
}

const OF_EVERY_KEY: &[&str] = &["CreateGrant", "DescribeKey", "RetireGrant"];
