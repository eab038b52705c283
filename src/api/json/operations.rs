//! The table of operations; a new one is one row here.

use std::any::TypeId;
use std::pin::Pin;

use crate::audit::EventSource;
use crate::kms::shape::{self, Member};
use crate::kms::{
    Context, Document, Error, Operation, alias, cryptography, custom_key_store, grant, import, key, mac, multi_region,
    policy, rotation, signature, sts, tag,
};

/// A future on the heap.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Serves one body: reads it, runs the operation, and writes the answer's body.
type Serve = for<'a> fn(&'a Context, &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, Error>>;

/// One operation of the table.
pub struct Route {
    /// Its name, for example `Encrypt`.
    pub name: &'static str,
    /// The service that it belongs to.
    pub source: EventSource,
    /// Its request's members and their constraints.
    pub members: &'static [Member],
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Whether a body is a request of this operation.
    pub check: fn(&[u8]) -> Result<(), Error>,
    /// Reads a body, serves it, and writes the answer's body.
    pub serve: Serve,
}

/// All operations.
pub const OPERATIONS: &[Route] = &[
    kms::<key::CancelKeyDeletion>(),
    kms::<custom_key_store::ConnectCustomKeyStore>(),
    kms::<alias::CreateAlias>(),
    kms::<custom_key_store::CreateCustomKeyStore>(),
    kms::<grant::CreateGrant>(),
    kms::<key::CreateKey>(),
    kms::<cryptography::Decapsulate>(),
    kms::<cryptography::Decrypt>(),
    kms::<alias::DeleteAlias>(),
    kms::<custom_key_store::DeleteCustomKeyStore>(),
    kms::<import::DeleteImportedKeyMaterial>(),
    kms::<cryptography::DeriveSharedSecret>(),
    kms::<custom_key_store::DescribeCustomKeyStores>(),
    kms::<key::DescribeKey>(),
    kms::<key::DisableKey>(),
    kms::<rotation::DisableKeyRotation>(),
    kms::<custom_key_store::DisconnectCustomKeyStore>(),
    kms::<key::EnableKey>(),
    kms::<rotation::EnableKeyRotation>(),
    kms::<cryptography::Encapsulate>(),
    kms::<cryptography::Encrypt>(),
    kms::<cryptography::GenerateDataKey>(),
    kms::<cryptography::GenerateDataKeyPair>(),
    kms::<cryptography::GenerateDataKeyPairWithoutPlaintext>(),
    kms::<cryptography::GenerateDataKeyWithoutPlaintext>(),
    kms::<mac::GenerateMac>(),
    kms::<cryptography::GenerateRandom>(),
    kms::<key::GetKeyLastUsage>(),
    kms::<policy::GetKeyPolicy>(),
    kms::<rotation::GetKeyRotationStatus>(),
    kms::<import::GetParametersForImport>(),
    kms::<key::GetPublicKey>(),
    kms::<import::ImportKeyMaterial>(),
    kms::<alias::ListAliases>(),
    kms::<grant::ListGrants>(),
    kms::<policy::ListKeyPolicies>(),
    kms::<rotation::ListKeyRotations>(),
    kms::<key::ListKeys>(),
    kms::<tag::ListResourceTags>(),
    kms::<grant::ListRetirableGrants>(),
    kms::<policy::PutKeyPolicy>(),
    kms::<cryptography::ReEncrypt>(),
    kms::<multi_region::ReplicateKey>(),
    kms::<grant::RetireGrant>(),
    kms::<grant::RevokeGrant>(),
    kms::<rotation::RotateKeyOnDemand>(),
    kms::<key::ScheduleKeyDeletion>(),
    kms::<signature::Sign>(),
    kms::<tag::TagResource>(),
    kms::<tag::UntagResource>(),
    kms::<alias::UpdateAlias>(),
    kms::<custom_key_store::UpdateCustomKeyStore>(),
    kms::<key::UpdateKeyDescription>(),
    kms::<multi_region::UpdatePrimaryRegion>(),
    kms::<signature::Verify>(),
    kms::<mac::VerifyMac>(),
    row::<sts::AssumeRole>(EventSource::Sts),
    row::<sts::GetCallerIdentity>(EventSource::Sts),
    row::<sts::GetSessionToken>(EventSource::Sts),
];

const fn kms<O: Operation>() -> Route {
    row::<O>(EventSource::Kms)
}

const fn row<O: Operation>(source: EventSource) -> Route {
    Route { name: O::NAME, source, members: O::MEMBERS, read_only: O::READ_ONLY, check: check::<O>, serve: serve::<O> }
}

fn serve<'a, O: Operation>(cx: &'a Context, body: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
    Box::pin(async move {
        let request: O = read(body, |parameters| cx.note_parameters(parameters))?;
        let output = request.run(cx).await?;
        // Operations without an answer body have the unit type.
        if TypeId::of::<O::Output>() == TypeId::of::<()>() {
            return Ok(Vec::new());
        }
        serde_json::to_vec(&output).map_err(|error| Error::Internal(format!("an answer has no JSON: {error}")))
    })
}

fn check<O: Operation>(body: &[u8]) -> Result<(), Error> {
    read::<O>(body, drop).map(drop)
}

/// Reads a body in two passes that copy no secret: its form against the constraints, then into its type.
fn read<O: Operation>(body: &[u8], note: impl FnOnce(serde_json::Value)) -> Result<O, Error> {
    let document = Document::parse(body).map_err(malformed)?;
    note(shape::parameters(&document, O::MEMBERS));
    shape::check(&document, O::MEMBERS)?;
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body }).map_err(malformed)
}

/// What serde says may show parts of a secret member, so that the caller is told less.
fn malformed(error: serde_json::Error) -> Error {
    tracing::debug!(line = error.line(), column = error.column(), "a body could not be read");
    Error::Serialization(shape::UNREADABLE.into())
}
