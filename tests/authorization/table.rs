//! Every operation for every kind of caller: what each is answered, and what the record says of it.
//!
//! A new operation needs a row in `ROWS`, in the order of `OPERATIONS`; without it this does not compile.

use hsm_kms::api::json::OPERATIONS;
use hsm_kms::crypto::KeyPair;
use hsm_kms::model::{ConnectionError, CustomKeyStoreId, GrantOperation, KeyPairSpec, KeySpec, KeyUsage};
use hsm_kms::store::{Connection, CustomKeyStoreRecord, KeyRecord, PasswordStanding};
use serde_json::{Value, json};

use crate::in_process::{CERTIFICATE, CLUSTER, MovedClock, START};
use crate::people::{Key, Person, Served, policy};
use crate::process::in_own_process;
use crate::support::wire::{Answer, Request, exchange};

/// One operation: how it is authorised, and a request of it.
struct Row {
    name: &'static str,
    asks: Asks,
    /// Makes what the request is about, as the root user, and the request.
    request: fn(&mut Stage<'_>) -> Request,
}

/// What an operation asks permission for.
#[derive(Clone, Copy)]
enum Asks {
    /// For nothing.
    Nothing,
    /// For an action on no resource, which identity policies alone permit.
    Account,
    /// For actions on keys, in this order.
    Keys { actions: &'static [&'static str], named: Named, across: bool },
    /// A grant itself for its own action on it; no policy can permit that.
    Grant,
    /// For its own action on an alias and on the keys behind it.
    Alias { first: Thing },
    /// For its own action on a key, and for making one in another Region, which identity policies alone permit.
    Replica,
    /// For its action on a role, which trusts as the key policies of the others do.
    Role,
}

/// How a request says which key it means.
#[derive(Clone, Copy, PartialEq)]
enum Named {
    Explicitly,
    ByCiphertext,
}

/// What a refusal is about.
#[derive(Clone, Copy)]
enum Thing {
    Key,
    Alias,
}

const ROWS: &[Row] = &[
    key("CancelKeyDeletion", &["CancelKeyDeletion"], |stage| {
        stage.root("ScheduleKeyDeletion", json!({ "KeyId": stage.keys[0].id }));
        stage.about_key(json!({}))
    }),
    account("ConnectCustomKeyStore", |stage| {
        let id = stage.key_store(Connection::Connected);
        stage.kms(json!({ "CustomKeyStoreId": id }))
    }),
    alias("CreateAlias", Thing::Key, |stage| {
        stage.kms(json!({ "AliasName": stage.alias, "TargetKeyId": stage.keys[0].arn }))
    }),
    account("CreateCustomKeyStore", |stage| {
        stage.remove_key_stores();
        stage.kms(json!({
            "CustomKeyStoreName": "n", "CloudHsmClusterId": CLUSTER, "KeyStorePassword": "password",
            "TrustAnchorCertificate": CERTIFICATE,
        }))
    }),
    used("CreateGrant", &["CreateGrant"], Named::Explicitly, |stage| {
        stage.about_key(json!({ "GranteePrincipal": stage.service.root().arn, "Operations": ["Decrypt"] }))
    }),
    account("CreateKey", |stage| stage.kms(json!({}))),
    // A dry run: no key of SoftHSM decapsulates.
    used("Decapsulate", &["Decapsulate"], Named::Explicitly, |stage| {
        let blob = "A".repeat(1024);
        stage.about_key_with(
            KeyUsage::EncapsulateDecapsulate,
            json!({ "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": blob, "DryRun": true }),
        )
    }),
    used("Decrypt", &["Decrypt"], Named::ByCiphertext, |stage| {
        let blob = stage.encrypted();
        stage.kms(json!({ "CiphertextBlob": blob }))
    }),
    alias("DeleteAlias", Thing::Alias, |stage| {
        stage.root("CreateAlias", json!({ "AliasName": stage.alias, "TargetKeyId": stage.keys[0].id }));
        stage.kms(json!({ "AliasName": stage.alias }))
    }),
    account("DeleteCustomKeyStore", |stage| {
        let id = stage.key_store(Connection::Disconnected);
        stage.kms(json!({ "CustomKeyStoreId": id }))
    }),
    key("DeleteImportedKeyMaterial", &["DeleteImportedKeyMaterial"], |stage| {
        stage.use_imported_key();
        stage.about_key(json!({}))
    }),
    used("DeriveSharedSecret", &["DeriveSharedSecret"], Named::Explicitly, |stage| {
        stage.about_key_with(KeyUsage::KeyAgreement, json!({ "KeyAgreementAlgorithm": "ECDH", "PublicKey": PEER }))
    }),
    account("DescribeCustomKeyStores", |stage| stage.kms(json!({}))),
    used("DescribeKey", &["DescribeKey"], Named::Explicitly, |stage| stage.about_key(json!({}))),
    key("DisableKey", &["DisableKey"], |stage| stage.about_key(json!({}))),
    key("DisableKeyRotation", &["DisableKeyRotation"], |stage| stage.about_key(json!({}))),
    account("DisconnectCustomKeyStore", |stage| {
        let id = stage.key_store(Connection::Failed(ConnectionError::NetworkErrors));
        stage.kms(json!({ "CustomKeyStoreId": id }))
    }),
    key("EnableKey", &["EnableKey"], |stage| {
        stage.root("DisableKey", json!({ "KeyId": stage.keys[0].id }));
        stage.about_key(json!({}))
    }),
    key("EnableKeyRotation", &["EnableKeyRotation"], |stage| stage.about_key(json!({ "RotationPeriodInDays": 180 }))),
    used("Encapsulate", &["Encapsulate"], Named::Explicitly, |stage| {
        stage.about_key_with(KeyUsage::EncapsulateDecapsulate, json!({ "EncapsulationAlgorithm": "ML_KEM" }))
    }),
    used("Encrypt", &["Encrypt"], Named::Explicitly, |stage| stage.about_key(json!({ "Plaintext": "eHk=" }))),
    used("GenerateDataKey", &["GenerateDataKey"], Named::Explicitly, |stage| {
        stage.about_key(json!({ "KeySpec": "AES_256" }))
    }),
    used("GenerateDataKeyPair", &["GenerateDataKeyPair"], Named::Explicitly, |stage| {
        stage.about_key(json!({ "KeyPairSpec": "ECC_NIST_P256" }))
    }),
    used("GenerateDataKeyPairWithoutPlaintext", &["GenerateDataKeyPairWithoutPlaintext"], Named::Explicitly, |stage| {
        stage.about_key(json!({ "KeyPairSpec": "ECC_NIST_EDWARDS25519" }))
    }),
    used("GenerateDataKeyWithoutPlaintext", &["GenerateDataKeyWithoutPlaintext"], Named::Explicitly, |stage| {
        stage.about_key(json!({ "KeySpec": "AES_256" }))
    }),
    used("GenerateMac", &["GenerateMac"], Named::Explicitly, |stage| {
        stage.about_key_with(KeyUsage::GenerateVerifyMac, json!({ "Message": "eHk=", "MacAlgorithm": "HMAC_SHA_256" }))
    }),
    account("GenerateRandom", |stage| stage.kms(json!({ "NumberOfBytes": 8 }))),
    key("GetKeyLastUsage", &["GetKeyLastUsage"], |stage| stage.about_key(json!({}))),
    key("GetKeyPolicy", &["GetKeyPolicy"], |stage| stage.about_key(json!({}))),
    used("GetKeyRotationStatus", &["GetKeyRotationStatus"], Named::Explicitly, |stage| stage.about_key(json!({}))),
    key("GetParametersForImport", &["GetParametersForImport"], |stage| {
        stage.use_imported_key();
        stage.about_key(json!({ "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" }))
    }),
    used("GetPublicKey", &["GetPublicKey"], Named::Explicitly, |stage| {
        stage.about_key_with(KeyUsage::SignVerify, json!({}))
    }),
    key("ImportKeyMaterial", &["ImportKeyMaterial"], |stage| {
        let material = stage.use_imported_key();
        stage.about_key(material)
    }),
    account("ListAliases", |stage| stage.kms(json!({}))),
    used("ListGrants", &["ListGrants"], Named::Explicitly, |stage| stage.about_key(json!({}))),
    key("ListKeyPolicies", &["ListKeyPolicies"], |stage| stage.about_key(json!({}))),
    key("ListKeyRotations", &["ListKeyRotations"], |stage| stage.about_key(json!({}))),
    account("ListKeys", |stage| stage.kms(json!({}))),
    key("ListResourceTags", &["ListResourceTags"], |stage| stage.about_key(json!({}))),
    account("ListRetirableGrants", |stage| stage.kms(json!({ "RetiringPrincipal": stage.person.arn }))),
    key("PutKeyPolicy", &["PutKeyPolicy"], |stage| {
        stage.about_key(json!({ "Policy": policy(json!([])), "BypassPolicyLockoutSafetyCheck": true }))
    }),
    used("ReEncrypt", &["ReEncryptFrom", "ReEncryptTo"], Named::ByCiphertext, |stage| {
        let blob = stage.encrypted();
        let destination = stage.another_key();
        stage.kms(json!({ "CiphertextBlob": blob, "DestinationKeyId": destination.arn }))
    }),
    Row {
        name: "ReplicateKey",
        asks: Asks::Replica,
        request: |stage| {
            stage.use_multi_region_key(false);
            stage.about_key(json!({ "ReplicaRegion": "us-west-2" }))
        },
    },
    Row {
        name: "RetireGrant",
        asks: Asks::Grant,
        request: |stage| {
            let grantee = if stage.cell.grant { &stage.person } else { stage.service.root() };
            let grant_id = stage.service.grant(grantee, &stage.keys[0]);
            stage.grants.push(grant_id.clone());
            stage.about_key(json!({ "GrantId": grant_id }))
        },
    },
    used("RevokeGrant", &["RevokeGrant"], Named::Explicitly, |stage| {
        let grant_id = stage.service.grant(stage.service.root(), &stage.keys[0]);
        stage.about_key(json!({ "GrantId": grant_id }))
    }),
    key("RotateKeyOnDemand", &["RotateKeyOnDemand"], |stage| stage.about_key(json!({}))),
    key("ScheduleKeyDeletion", &["ScheduleKeyDeletion"], |stage| stage.about_key(json!({}))),
    used("Sign", &["Sign"], Named::Explicitly, |stage| {
        stage.about_key_with(KeyUsage::SignVerify, json!({ "Message": "eHk=", "SigningAlgorithm": "ECDSA_SHA_256" }))
    }),
    key("TagResource", &["TagResource"], |stage| {
        stage.about_key(json!({ "Tags": [{ "TagKey": "k", "TagValue": "v" }] }))
    }),
    key("UntagResource", &["UntagResource"], |stage| stage.about_key(json!({ "TagKeys": ["k"] }))),
    alias("UpdateAlias", Thing::Key, |stage| {
        stage.root("CreateAlias", json!({ "AliasName": stage.alias, "TargetKeyId": stage.keys[0].id }));
        let other = stage.another_key();
        stage.keys.reverse();
        stage.kms(json!({ "AliasName": stage.alias, "TargetKeyId": other.arn }))
    }),
    account("UpdateCustomKeyStore", |stage| {
        let id = stage.key_store(Connection::Disconnected);
        stage.kms(json!({ "CustomKeyStoreId": id, "NewCustomKeyStoreName": "new" }))
    }),
    key("UpdateKeyDescription", &["UpdateKeyDescription"], |stage| stage.about_key(json!({ "Description": "d" }))),
    key("UpdatePrimaryRegion", &["UpdatePrimaryRegion"], |stage| {
        stage.use_multi_region_key(true);
        stage.about_key(json!({ "PrimaryRegion": "us-west-2" }))
    }),
    used("Verify", &["Verify"], Named::Explicitly, |stage| {
        let mut request = json!({ "Message": "eHk=", "SigningAlgorithm": "ECDSA_SHA_256" });
        stage.use_key(KeyUsage::SignVerify);
        request["KeyId"] = stage.keys[0].id.clone().into();
        request["Signature"] = stage.root("Sign", request.clone())["Signature"].clone();
        stage.about_key(request)
    }),
    used("VerifyMac", &["VerifyMac"], Named::Explicitly, |stage| {
        let mut request = json!({ "Message": "eHk=", "MacAlgorithm": "HMAC_SHA_256" });
        stage.use_key(KeyUsage::GenerateVerifyMac);
        request["KeyId"] = stage.keys[0].id.clone().into();
        request["Mac"] = stage.root("GenerateMac", request.clone())["Mac"].clone();
        stage.about_key(request)
    }),
    Row {
        name: "AssumeRole",
        asks: Asks::Role,
        request: |stage| {
            let role = stage.new_role();
            sts(&format!("AssumeRole&RoleSessionName=session&RoleArn={}", role.replace(':', "%3A").replace('/', "%2F")))
        },
    },
    Row { name: "GetCallerIdentity", asks: Asks::Nothing, request: |_| sts("GetCallerIdentity") },
    Row { name: "GetSessionToken", asks: Asks::Nothing, request: |_| sts("GetSessionToken") },
];

const fn account(name: &'static str, request: fn(&mut Stage<'_>) -> Request) -> Row {
    Row { name, asks: Asks::Account, request }
}

const fn alias(name: &'static str, first: Thing, request: fn(&mut Stage<'_>) -> Request) -> Row {
    Row { name, asks: Asks::Alias { first }, request }
}

/// An operation on the caller's own account's keys.
const fn key(name: &'static str, actions: &'static [&'static str], request: fn(&mut Stage<'_>) -> Request) -> Row {
    Row { name, asks: Asks::Keys { actions, named: Named::Explicitly, across: false }, request }
}

/// An operation on keys of any account.
const fn used(
    name: &'static str,
    actions: &'static [&'static str],
    named: Named,
    request: fn(&mut Stage<'_>) -> Request,
) -> Row {
    Row { name, asks: Asks::Keys { actions, named, across: true }, request }
}

/// Every operation has its row.
const _: () = {
    let mut at = 0;
    while at < OPERATIONS.len() {
        let name = OPERATIONS[at].name;
        if at >= ROWS.len() || !same(ROWS[at].name, name) {
            // The operation that has no row in `ROWS`, or not at its place.
            panic!("{}", name);
        }
        at += 1;
    }
    assert!(ROWS.len() == OPERATIONS.len(), "a row of no operation");
};

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// A caller, and what permits him what.
#[derive(Clone, Copy)]
struct Cell {
    what: &'static str,
    caller: Caller,
    /// The key policies.
    keys: KeyPolicy,
    /// What his own policy permits.
    own: Own,
    /// Whether there is a grant of everything to him.
    grant: bool,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq)]
enum Caller {
    Root,
    User,
    ForeignRoot,
    ForeignUser,
    /// Nothing is signed.
    Nobody,
}

#[derive(Clone, Copy)]
enum KeyPolicy {
    /// The default one: it is left to the account.
    Delegates,
    /// It permits exactly this to the caller.
    NamesCaller,
    /// It permits nothing to anyone.
    Closed,
}

#[derive(Clone, Copy)]
enum Own {
    Nothing,
    /// Exactly the actions of the operation, on exactly these keys or on `*` where there is none.
    Keys,
    Alias,
    /// Both.
    All,
}

#[derive(Clone, Copy)]
enum Outcome {
    /// By these permissions, one for each question.
    Allowed(By),
    /// No policy of his own permits it.
    OwnPoliciesLack(Thing),
    /// Nothing of the key permits it.
    ResourceLacks,
    /// He is not told whether there is such a key.
    Undisclosed,
    /// There is no such alias in his own account.
    NoAlias,
    /// He is not told why he may not assume the role.
    NotAssumed,
    /// A root user assumes no role.
    RootAssumesNone,
    Unsigned,
}

/// What the record names as having allowed.
#[derive(Clone, Copy)]
enum By {
    Nothing,
    RootUser,
    KeyPolicy,
    IdentityPolicy,
    Grant,
    /// The alias by identity policies, the keys by the other.
    AliasAnd(&'static str),
    RootUserAndKeyPolicy,
}

impl Cell {
    const fn new(what: &'static str, caller: Caller, keys: KeyPolicy, own: Own, outcome: Outcome) -> Self {
        Cell { what, caller, keys, own, grant: false, outcome }
    }

    const fn granted(self) -> Self {
        Cell { grant: true, ..self }
    }
}

/// Who is tried, and how each must fare.
fn cells(row: &Row) -> Vec<Cell> {
    use Caller::*;
    use KeyPolicy::*;
    use Outcome::*;
    let mut cells = match row.asks {
        Asks::Nothing => {
            let anybody = |what, caller| Cell::new(what, caller, Closed, Own::Nothing, Allowed(By::Nothing));
            vec![anybody("root", Root), anybody("a user", User), anybody("another account", ForeignUser)]
        }
        Asks::Account => {
            let lacking = OwnPoliciesLack(Thing::Key);
            vec![
                Cell::new("root", Root, Closed, Own::Nothing, Allowed(By::RootUser)),
                Cell::new("identity policy", User, Closed, Own::Keys, Allowed(By::IdentityPolicy)),
                Cell::new("key policy only", User, NamesCaller, Own::Nothing, lacking),
                Cell::new("no policy", User, Delegates, Own::Nothing, lacking),
                Cell::new("another account's root", ForeignRoot, Closed, Own::Nothing, Allowed(By::RootUser)),
                Cell::new("another account", ForeignUser, Closed, Own::Keys, Allowed(By::IdentityPolicy)),
                Cell::new("another account, no policy", ForeignUser, NamesCaller, Own::Nothing, lacking),
                Cell::new("only a grant", User, Delegates, Own::Nothing, lacking).granted(),
            ]
        }
        Asks::Keys { across, actions, .. } => {
            let if_across = |outcome| if across { outcome } else { Undisclosed };
            let grantable = actions.iter().all(|action| action.parse::<GrantOperation>().is_ok());
            let granted = |outcome| if grantable { Allowed(By::Grant) } else { outcome };
            let both = if_across(Allowed(By::KeyPolicy));
            let policy_only = if_across(OwnPoliciesLack(Thing::Key));
            vec![
                Cell::new("root", Root, Delegates, Own::Nothing, Allowed(By::KeyPolicy)),
                Cell::new("root, locked out", Root, Closed, Own::Nothing, ResourceLacks),
                Cell::new("key policy", User, NamesCaller, Own::Nothing, Allowed(By::KeyPolicy)),
                Cell::new("delegation", User, Delegates, Own::Keys, Allowed(By::IdentityPolicy)),
                Cell::new("no delegation", User, Closed, Own::Keys, ResourceLacks),
                Cell::new("no policy", User, Delegates, Own::Nothing, OwnPoliciesLack(Thing::Key)),
                Cell::new("another account's root", ForeignRoot, Delegates, Own::Nothing, Undisclosed),
                Cell::new("another account, key policy only", ForeignUser, NamesCaller, Own::Nothing, policy_only),
                Cell::new("another account, identity policy only", ForeignUser, Delegates, Own::Keys, Undisclosed),
                Cell::new("another account, both", ForeignUser, NamesCaller, Own::Keys, both),
                Cell::new("only a grant", User, Closed, Own::Nothing, granted(ResourceLacks)).granted(),
            ]
        }
        Asks::Grant => vec![
            Cell::new("root", Root, Closed, Own::Nothing, Allowed(By::RootUser)),
            Cell::new("key policy", User, NamesCaller, Own::Nothing, ResourceLacks),
            Cell::new("delegation", User, Delegates, Own::Keys, ResourceLacks),
            Cell::new("no policy", User, Delegates, Own::Nothing, ResourceLacks),
            Cell::new("another account's root", ForeignRoot, Delegates, Own::Nothing, Undisclosed),
            Cell::new("another account, both", ForeignUser, NamesCaller, Own::Keys, Undisclosed),
            Cell::new("only a grant", User, Closed, Own::Nothing, Allowed(By::Grant)).granted(),
            Cell::new("another account, only a grant", ForeignUser, Closed, Own::Nothing, Allowed(By::Grant)).granted(),
        ],
        Asks::Role => vec![
            Cell::new("root", Root, Delegates, Own::Nothing, RootAssumesNone),
            Cell::new("trusted", User, NamesCaller, Own::Nothing, Allowed(By::KeyPolicy)),
            Cell::new("delegation", User, Delegates, Own::Keys, Allowed(By::IdentityPolicy)),
            Cell::new("no delegation", User, Closed, Own::Keys, NotAssumed),
            Cell::new("no policy", User, Delegates, Own::Nothing, NotAssumed),
            Cell::new("another account's root", ForeignRoot, NamesCaller, Own::Nothing, RootAssumesNone),
            Cell::new("another account, trusted only", ForeignUser, NamesCaller, Own::Nothing, NotAssumed),
            Cell::new("another account, identity policy only", ForeignUser, Delegates, Own::Keys, NotAssumed),
            Cell::new("another account, both", ForeignUser, NamesCaller, Own::Keys, Allowed(By::KeyPolicy)),
            Cell::new("only a grant", User, Closed, Own::Nothing, NotAssumed).granted(),
        ],
        Asks::Replica => {
            let lacking = OwnPoliciesLack(Thing::Alias);
            let by = |keys| Allowed(By::AliasAnd(keys));
            vec![
                Cell::new("root", Root, Delegates, Own::Nothing, Allowed(By::RootUserAndKeyPolicy)),
                Cell::new("root, locked out", Root, Closed, Own::Nothing, ResourceLacks),
                Cell::new("key only", User, NamesCaller, Own::Nothing, lacking),
                Cell::new("key only, delegation", User, Delegates, Own::Keys, lacking),
                Cell::new("both", User, NamesCaller, Own::Alias, by("key policy")),
                Cell::new("both, delegation", User, Delegates, Own::All, by("identity policy")),
                Cell::new("no delegation", User, Closed, Own::All, ResourceLacks),
                Cell::new("no policy", User, Delegates, Own::Nothing, OwnPoliciesLack(Thing::Key)),
                Cell::new("another account's root", ForeignRoot, NamesCaller, Own::Nothing, Undisclosed),
                Cell::new("another account, both", ForeignUser, NamesCaller, Own::All, Undisclosed),
                Cell::new("only a grant", User, Closed, Own::Nothing, ResourceLacks).granted(),
            ]
        }
        Asks::Alias { first } => {
            let (none, foreign_alone, foreign_both) = match first {
                Thing::Key => (OwnPoliciesLack(Thing::Key), Undisclosed, Undisclosed),
                Thing::Alias => (OwnPoliciesLack(Thing::Alias), OwnPoliciesLack(Thing::Alias), NoAlias),
            };
            let by = |keys| Allowed(By::AliasAnd(keys));
            vec![
                Cell::new("root", Root, Delegates, Own::Nothing, Allowed(By::RootUserAndKeyPolicy)),
                Cell::new("alias only", User, Closed, Own::Alias, ResourceLacks),
                Cell::new("alias only, delegation", User, Delegates, Own::Alias, OwnPoliciesLack(Thing::Key)),
                Cell::new("key only", User, NamesCaller, Own::Nothing, OwnPoliciesLack(Thing::Alias)),
                Cell::new("key only, delegation", User, Delegates, Own::Keys, OwnPoliciesLack(Thing::Alias)),
                Cell::new("both", User, NamesCaller, Own::Alias, by("key policy")),
                Cell::new("both, delegation", User, Delegates, Own::All, by("identity policy")),
                Cell::new("no policy", User, Delegates, Own::Nothing, none),
                Cell::new("another account, key policy only", ForeignUser, NamesCaller, Own::Nothing, foreign_alone),
                Cell::new("another account, both", ForeignUser, NamesCaller, Own::All, foreign_both),
                Cell::new("only a grant", User, Delegates, Own::Nothing, none).granted(),
            ]
        }
    };
    cells.push(Cell::new("nobody", Nobody, Delegates, Own::Nothing, Unsigned));
    cells
}

#[test]
fn every_operation_answers_every_caller_as_it_must() {
    in_own_process("table::every_operation_answers_every_caller_as_it_must", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let stranger = service.account("444455556666");
        let kinds = [
            json!({}),
            json!({}),
            json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" }),
            json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT" }),
            json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }),
            json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }),
        ];
        let mut pristine = kinds.map(|kind| service.new_key(service.root(), kind)).map(|key| service.key_record(&key));
        let last = pristine.len() - 1;
        encapsulates(&mut pristine[last]);
        let mut tried = Vec::new();
        for row in ROWS {
            for (number, cell) in cells(row).into_iter().enumerate() {
                let name = format!("{}-{number}", row.name);
                let person = person(&service, cell, &stranger, &name);
                tried.push(Stage::new(&service, &pristine, row, cell, person, &name).play(row));
            }
        }
        let events = service.events();
        tried.iter().for_each(|tried| tried.check_record(events.get(&tried.request_id)));
        assert!(tried.len() > 8 * OPERATIONS.len(), "{}", tried.len());
        service.close();
    });
}

/// Makes a record that of a key which SoftHSM cannot make: it has no private half.
fn encapsulates(record: &mut KeyRecord) {
    let pair = KeyPair::generate(KeyPairSpec::MlKem512).unwrap();
    (record.spec, record.usage) = (KeySpec::MlKem512, KeyUsage::EncapsulateDecapsulate);
    record.public_key = Some(hex::encode(pair.public_key.spki()));
}

/// The caller of a cell, who may do nothing yet.
fn person(service: &Served, cell: Cell, stranger: &Person, name: &str) -> Person {
    match cell.caller {
        Caller::Root | Caller::Nobody => service.root().clone(),
        Caller::ForeignRoot => stranger.clone(),
        Caller::User => service.user(&service.root().account, name),
        Caller::ForeignUser => service.user(&stranger.account, name),
    }
}

/// What one cell needs: keys as they were when they were made, and an alias of its own.
struct Stage<'s> {
    service: &'s Served,
    pristine: &'s [KeyRecord],
    operation: &'static str,
    cell: Cell,
    person: Person,
    /// Those that permission is asked for, in this order.
    keys: Vec<Key>,
    alias: String,
    /// The role that the request is about, if it is about one.
    role: String,
    /// The ids of the grants to the person, one for each question.
    grants: Vec<String>,
}

/// A cell that was played, as far as its record must show it.
struct Tried {
    what: String,
    cell: Cell,
    person: Person,
    request_id: String,
    /// One for each key.
    grants: Vec<String>,
    error: Option<(String, String)>,
}

impl<'s> Stage<'s> {
    fn new(service: &'s Served, pristine: &'s [KeyRecord], row: &Row, cell: Cell, person: Person, name: &str) -> Self {
        let alias = format!("alias/{name}");
        pristine.iter().for_each(|record| service.restore_key(record));
        let (keys, grants) = (Vec::new(), Vec::new());
        let role = String::new();
        let mut stage = Stage { service, pristine, operation: row.name, cell, person, keys, alias, role, grants };
        stage.another_key();
        stage
    }

    fn another_key(&mut self) -> Key {
        let key = Key::of(&self.pristine[self.keys.len()]);
        self.keys.push(key.clone());
        key
    }

    /// Makes the request about a new key with imported material instead; a request that brings the same once more.
    fn use_imported_key(&mut self) -> Value {
        let root = self.service.root();
        let key = self.service.new_key(root, json!({ "Origin": "EXTERNAL" }));
        let request = self.service.import_request(&key);
        self.service.ok(root, "ImportKeyMaterial", request.clone());
        self.keys = vec![key];
        request
    }

    /// Makes the request about a new multi-Region key instead, and about its replica.
    fn use_multi_region_key(&mut self, replicated: bool) {
        let key = self.service.new_key(self.service.root(), json!({ "MultiRegion": true }));
        let replica = Key { id: key.id.clone(), arn: key.arn.replace("us-east-1", "us-west-2") };
        if replicated {
            self.root("ReplicateKey", json!({ "KeyId": key.id, "ReplicaRegion": "us-west-2" }));
        }
        self.keys = [key, replica][..if replicated { 2 } else { 1 }].to_vec();
    }

    /// Makes the request about a key of this usage instead.
    fn use_key(&mut self, usage: KeyUsage) {
        let record = self.pristine.iter().find(|record| record.usage == usage).unwrap();
        self.keys = vec![Key::of(record)];
    }

    /// As `about_key`, of a key of this usage.
    fn about_key_with(&mut self, usage: KeyUsage, body: Value) -> Request {
        self.use_key(usage);
        self.about_key(body)
    }

    /// A new role, which trusts as the cell's key policies do.
    fn new_role(&mut self) -> String {
        let account = &self.service.root().account;
        self.role = self.service.role(account, self.alias.trim_start_matches("alias/"));
        let trusted = match self.cell.keys {
            KeyPolicy::Delegates => account.as_str(),
            KeyPolicy::NamesCaller => &self.person.arn,
            KeyPolicy::Closed => return self.role.clone(),
        };
        let trust = json!([{ "Effect": "Allow", "Principal": { "AWS": trusted }, "Action": "sts:AssumeRole" }]);
        let row = self.service.kms.principal_of(&self.role).unwrap();
        let mut record = row.record.clone();
        record.role.as_mut().unwrap().trust_policy = policy(trust);
        self.service.commit(|change| change.update(&row, record));
        self.role.clone()
    }

    /// The only custom key store: the caller's.
    fn key_store(&self, connection: Connection) -> String {
        self.remove_key_stores();
        let number = self.service.kms.store.epoch().to_be_bytes();
        let id = CustomKeyStoreId::from_random([&number[..], &[0]].concat().try_into().unwrap());
        let record = CustomKeyStoreRecord {
            region: "us-east-1".parse().unwrap(),
            account: self.person.account.clone(),
            id: id.clone(),
            name: "n".into(),
            cluster: CLUSTER.parse().unwrap(),
            trust_anchor: CERTIFICATE.into(),
            connection,
            created: self.service.kms.now(),
            standing: PasswordStanding::Unproven,
            password: "password".into(),
            serial: None,
            tries: Default::default(),
        };
        self.service.commit(|change| change.insert(record));
        id.to_string()
    }

    fn remove_key_stores(&self) {
        for row in self.service.kms.store.custom_key_stores() {
            self.service.commit(|change| change.delete(&*row));
        }
    }

    fn root(&self, operation: &str, body: Value) -> Value {
        self.service.ok(self.service.root(), operation, body)
    }

    fn encrypted(&self) -> Value {
        self.root("Encrypt", json!({ "KeyId": self.keys[0].id, "Plaintext": "eHk=" }))["CiphertextBlob"].clone()
    }

    fn kms(&self, body: Value) -> Request {
        Request::kms(self.operation, &body)
    }

    /// A request that names the key by its ARN, which means the same in every account.
    fn about_key(&self, mut body: Value) -> Request {
        body["KeyId"] = self.keys[0].arn.clone().into();
        self.kms(body)
    }

    fn play(mut self, row: &Row) -> Tried {
        let what = format!("{}, {}", row.name, self.cell.what);
        let request = (row.request)(&mut self);
        self.give_own(row);
        self.put_policies(row);
        if self.cell.grant && self.grants.is_empty() {
            self.grants = self.keys.iter().map(|key| self.service.grant(&self.person, key)).collect();
        }
        let before = self.service.kms.store.epoch();
        let answer = match self.cell.caller {
            Caller::Nobody => self.unsigned(&request),
            _ => self.service.send_as(&request, &self.person.credentials),
        };
        let request_id = answer.header("x-amzn-requestid").unwrap_or_default().to_owned();
        assert_eq!(request_id.len(), 36, "{what}: a request id");
        let told = told(&answer);
        match self.expected(row) {
            None => assert_eq!((answer.status, &told), (200, &None), "{what}"),
            expected => {
                assert_eq!(told, expected, "{what}");
                assert_eq!(self.service.kms.store.epoch(), before, "{what}: nothing has changed");
            }
        }
        let Stage { cell, person, grants, .. } = self;
        Tried { what, cell, person, request_id, grants, error: told }
    }

    fn give_own(&self, row: &Row) {
        let alias = self.own_resource(row);
        let keys: Vec<&str> = match row.asks {
            Asks::Account => vec!["*"],
            Asks::Role => vec![self.role.as_str()],
            _ => self.keys.iter().map(|key| key.arn.as_str()).collect(),
        };
        let resources = match self.cell.own {
            Own::Nothing => return,
            Own::Keys => keys,
            Own::Alias => vec![alias.as_str()],
            Own::All => [keys, vec![alias.as_str()]].concat(),
        };
        let statement = json!({ "Effect": "Allow", "Action": row.actions(), "Resource": resources });
        self.service.give(&self.person, "own", json!([statement]));
    }

    fn put_policies(&self, row: &Row) {
        let person = &self.person;
        let named =
            json!({ "Effect": "Allow", "Principal": { "AWS": person.arn }, "Action": row.actions(), "Resource": "*" });
        let statements = match self.cell.keys {
            KeyPolicy::Delegates => return,
            KeyPolicy::NamesCaller => json!([named]),
            KeyPolicy::Closed => json!([]),
        };
        self.keys.iter().for_each(|key| self.service.put_policy(key, statements.clone()));
    }

    fn unsigned(&self, request: &Request) -> Answer {
        let mut headers = vec![("host".to_owned(), self.service.address.clone())];
        headers.extend(request.headers.iter().cloned());
        exchange(&self.service.address, &request.bytes(&headers))
    }

    /// What identity policies alone permit to be done something with.
    fn own_resource(&self, row: &Row) -> String {
        match row.asks {
            Asks::Replica => "*".to_owned(),
            _ => format!("arn:aws:kms:us-east-1:{}:{}", self.person.account, self.alias),
        }
    }

    /// The error that must come, and its message; none if it must succeed.
    fn expected(&self, row: &Row) -> Option<(String, String)> {
        let person = &self.person;
        let own_alias = self.own_resource(row);
        let mut action = format!("kms:{}", row.actions()[0].trim_start_matches("kms:"));
        let by_ciphertext = matches!(row.asks, Asks::Keys { named: Named::ByCiphertext, .. });
        let undisclosed = if by_ciphertext { "the resource associated with this ciphertext" } else { "this resource" };
        let on_key = match row.asks {
            Asks::Account => "on resource: *".to_owned(),
            _ if by_ciphertext => format!("on {undisclosed}"),
            _ => format!("on resource: {}", self.keys[0].arn),
        };
        let why = match self.cell.outcome {
            Outcome::Allowed(_) if row.name == "Decapsulate" => {
                let message = "The request would have succeeded, but the DryRun option is set.";
                return Some(("DryRunOperationException".into(), message.into()));
            }
            Outcome::Allowed(_) => return None,
            Outcome::Unsigned => {
                let code = if request_is_sts(row) {
                    "MissingAuthenticationToken"
                } else {
                    "MissingAuthenticationTokenException"
                };
                return Some((code.into(), "Missing Authentication Token".into()));
            }
            Outcome::NotAssumed => {
                let (who, role) = (&person.arn, &self.role);
                let message = format!("User: {who} is not authorized to perform: sts:AssumeRole on resource: {role}");
                return Some(("AccessDenied".into(), message));
            }
            Outcome::RootAssumesNone => {
                return Some(("AccessDenied".into(), "Roles may not be assumed by root accounts.".into()));
            }
            Outcome::NoAlias => return Some(("NotFoundException".into(), format!("Alias {own_alias} is not found."))),
            Outcome::OwnPoliciesLack(Thing::Key) => {
                format!("{on_key} because no identity-based policy allows the {action} action")
            }
            Outcome::OwnPoliciesLack(Thing::Alias) => {
                action = format!("kms:{}", row.actions().last().unwrap().trim_start_matches("kms:"));
                format!("on resource: {own_alias} because no identity-based policy allows the {action} action")
            }
            Outcome::ResourceLacks => format!("{on_key} because no resource-based policy allows the {action} action"),
            Outcome::Undisclosed => format!(
                "on {undisclosed} because the resource does not exist in this Region, no resource-based policies allow \
                 access, or a resource-based policy explicitly denies access"
            ),
        };
        let message = format!("User: {} is not authorized to perform: {action} {why}", person.arn);
        Some(("AccessDeniedException".into(), message))
    }
}

impl Row {
    /// The actions that must be permitted.
    fn actions(&self) -> Vec<String> {
        match self.asks {
            Asks::Keys { actions, .. } => actions.iter().map(|action| format!("kms:{action}")).collect(),
            Asks::Role => vec![format!("sts:{}", self.name)],
            Asks::Replica => vec![format!("kms:{}", self.name), "kms:CreateKey".to_owned()],
            Asks::Nothing | Asks::Account | Asks::Grant | Asks::Alias { .. } => vec![format!("kms:{}", self.name)],
        }
    }
}

impl Tried {
    /// The record says who asked, what came of it, and which permissions decided.
    fn check_record(&self, event: Option<&Value>) {
        let what = &self.what;
        if self.cell.caller == Caller::Nobody {
            assert_eq!(event, None, "{what}: who does not sign is counted, not recorded");
            return;
        }
        let event = event.unwrap_or_else(|| panic!("{what}: no record"));
        let who = &event["userIdentity"];
        let is_root = self.person.arn.ends_with(":root");
        let expected = (if is_root { "Root" } else { "IAMUser" }, &self.person.arn, &self.person.unique_id);
        assert_eq!(
            (&who["type"], &who["arn"], &who["principalId"]),
            (&expected.0.into(), &json!(expected.1), &json!(expected.2)),
            "{what}"
        );
        assert_eq!(who["accountId"], self.person.account.as_str(), "{what}");
        let name = if is_root { None } else { self.person.arn.rsplit('/').next() };
        assert_eq!(who["userName"].as_str(), name, "{what}");
        let (code, message) = self.error.clone().unzip();
        assert_eq!(
            (event["errorCode"].as_str(), event["errorMessage"].as_str()),
            (code.as_deref(), message.as_deref()),
            "{what}"
        );
        let none = Vec::new();
        let decisions = event["additionalEventData"]["authorization"].as_array().unwrap_or(&none);
        match self.cell.outcome {
            Outcome::Allowed(by) => self.check_permissions(by, decisions),
            // What is not there was not refused: he may ask.
            Outcome::RootAssumesNone => assert!(decisions.is_empty(), "{what}: {event}"),
            Outcome::NoAlias => assert!(decisions.iter().all(|decision| !decision["allowedBy"].is_null()), "{what}"),
            _ => {
                let (last, others) = decisions.split_last().unwrap_or_else(|| panic!("{what}: {event}"));
                assert!(last["refusedBecause"].is_string() && last["allowedBy"].is_null(), "{what}: {last}");
                let service = if matches!(self.cell.outcome, Outcome::NotAssumed) { "sts:" } else { "kms:" };
                assert!(last["action"].as_str().unwrap().starts_with(service), "{what}: {last}");
                assert!(others.iter().all(|decision| !decision["allowedBy"].is_null()), "{what}: {others:?}");
            }
        }
    }

    fn check_permissions(&self, by: By, decisions: &[Value]) {
        for (at, decision) in decisions.iter().enumerate() {
            let resource = decision["resource"].as_str().unwrap();
            let is_alias = resource.contains(":alias/") || resource == "*";
            let expected = match by {
                By::Nothing => panic!("{}: {decision}", self.what),
                By::RootUser => json!("root user"),
                By::KeyPolicy => json!(if resource.contains(":role/") { "trust policy" } else { "key policy" }),
                By::IdentityPolicy => json!("identity policy"),
                By::Grant => json!({ "grant": self.grants[at] }),
                By::AliasAnd(keys) => json!(if is_alias { "identity policy" } else { keys }),
                By::RootUserAndKeyPolicy => json!(if is_alias { "root user" } else { "key policy" }),
            };
            assert_eq!(decision["allowedBy"], expected, "{}: {decision}", self.what);
            assert!(decision["refusedBecause"].is_null(), "{}: {decision}", self.what);
        }
        assert_eq!(decisions.is_empty(), matches!(by, By::Nothing), "{}: {decisions:?}", self.what);
    }
}

/// A request of STS, in its own protocol.
fn sts(action: &str) -> Request {
    Request {
        headers: vec![("content-type".into(), "application/x-www-form-urlencoded".into())],
        body: format!("Action={action}&Version=2011-06-15").into_bytes(),
        service: "sts".into(),
        ..Request::kms("", &Value::Null)
    }
}

fn request_is_sts(row: &Row) -> bool {
    matches!(row.asks, Asks::Nothing | Asks::Role)
}

/// The public key of a pair on P-256 that nobody has the other half of.
const PEER: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEghVpOVLZaMOCGTJPkINdli/E+o243tUjltNaBYJG4/u3reKQBTRQqLFq9Y49wpRhRBXV4OF0\
                    gy9Ldpa5R5IRNg==";

/// The error of an answer and its message, in either protocol.
fn told(answer: &Answer) -> Option<(String, String)> {
    if answer.status == 200 {
        return None;
    }
    if answer.header("content-type") != Some("text/xml") {
        return Some((answer.error(), answer.message()));
    }
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let between = |open: &str, close: &str| {
        text.split(open).nth(1).and_then(|rest| rest.split(close).next()).unwrap_or_default().to_owned()
    };
    Some((between("<Code>", "</Code>"), between("<Message>", "</Message>")))
}
