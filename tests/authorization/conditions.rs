//! Every condition key: a condition that holds and one that does not, of an Allow and of a Deny, in a key policy and in
//! an identity policy, with a request of the operation that the key is for.

use std::time::Duration;

use base64::Engine;
use hsm_kms::store::KeyRecord;
use serde_json::{Value, json};

use crate::in_process::{HOUR, MovedClock, START};
use crate::people::{Key, Person, Served, policy};
use crate::process::in_own_process;
use crate::support::wire::{Answer, Request};

/// A request, and two conditions on it.
struct Case {
    key: &'static str,
    operation: &'static str,
    body: Value,
    holds: Value,
    fails: Value,
    user_agent: Option<&'static str>,
}

/// What the conditions that AWS documents come to here.
enum Standing {
    /// There is a case.
    Served,
    /// Requests never have it, since this service has nothing that it is of.
    Absent(&'static str),
}
use Standing::{Absent, Served as IsServed};

/// Every condition key of AWS KMS, and those of IAM that can matter to it.
///
/// Sources: <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>,
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
const DOCUMENTED: &[(&str, Standing)] = &[
    ("kms:BypassPolicyLockoutSafetyCheck", IsServed),
    ("kms:CallerAccount", IsServed),
    ("kms:CustomerMasterKeySpec", IsServed),
    ("kms:CustomerMasterKeyUsage", IsServed),
    ("kms:DataKeyPairSpec", IsServed),
    ("kms:EncryptionAlgorithm", IsServed),
    ("kms:EncryptionContext:AppName", IsServed),
    ("kms:EncryptionContextKeys", IsServed),
    ("kms:ExpirationModel", IsServed),
    ("kms:GrantConstraintType", IsServed),
    ("kms:GrantIsForAWSResource", IsServed),
    ("kms:GrantOperations", IsServed),
    ("kms:GranteePrincipal", IsServed),
    ("kms:KeyAgreementAlgorithm", IsServed),
    ("kms:KeyOrigin", IsServed),
    ("kms:KeySpec", IsServed),
    ("kms:KeyUsage", IsServed),
    ("kms:MacAlgorithm", IsServed),
    ("kms:MessageType", IsServed),
    ("kms:MultiRegion", IsServed),
    ("kms:MultiRegionKeyType", IsServed),
    ("kms:PrimaryRegion", Absent("only of UpdatePrimaryRegion, in tests/regions")),
    ("kms:ReEncryptOnSameKey", IsServed),
    ("kms:RecipientAttestation:ImageSha384", Absent("requests with an attestation document are refused")),
    ("kms:RecipientAttestation:PCR0", Absent("requests with an attestation document are refused")),
    ("kms:ReplicaRegion", Absent("only of ReplicateKey, in tests/regions")),
    ("kms:RequestAlias", IsServed),
    ("kms:ResourceAliases", IsServed),
    ("kms:RetiringPrincipal", IsServed),
    ("kms:ScheduleKeyDeletionPendingWindowInDays", IsServed),
    ("kms:SigningAlgorithm", IsServed),
    ("kms:ValidTo", IsServed),
    ("kms:ViaService", Absent("no other AWS service calls here")),
    ("kms:WrappingAlgorithm", IsServed),
    ("kms:WrappingKeySpec", IsServed),
    ("aws:CurrentTime", IsServed),
    ("aws:EpochTime", IsServed),
    ("aws:FederatedProvider", Absent("no federation")),
    ("aws:MultiFactorAuthAge", Absent("no such devices")),
    ("aws:MultiFactorAuthPresent", Absent("the credentials are long-term ones; those of sessions have it as false")),
    ("aws:PrincipalAccount", IsServed),
    ("aws:PrincipalArn", IsServed),
    ("aws:PrincipalIsAWSService", IsServed),
    ("aws:PrincipalOrgID", Absent("no organizations")),
    ("aws:PrincipalTag/Dept", IsServed),
    ("aws:PrincipalType", IsServed),
    ("aws:RequestTag/Team", IsServed),
    ("aws:RequestedRegion", IsServed),
    ("aws:ResourceAccount", IsServed),
    ("aws:ResourceTag/Team", IsServed),
    ("aws:SecureTransport", IsServed),
    ("aws:SourceAccount", Absent("no other AWS service calls here")),
    ("aws:SourceArn", Absent("no other AWS service calls here")),
    ("aws:SourceIdentity", Absent("sessions have it, long-term credentials do not")),
    ("aws:SourceIp", IsServed),
    ("aws:SourceVpc", Absent("no VPC")),
    ("aws:SourceVpce", Absent("no VPC")),
    ("aws:TagKeys", IsServed),
    ("aws:TokenIssueTime", Absent("sessions have it, long-term credentials do not")),
    ("aws:UserAgent", IsServed),
    ("aws:ViaAWSService", IsServed),
    ("aws:userid", IsServed),
    ("aws:username", IsServed),
];

#[test]
fn every_condition_key_decides() {
    in_own_process("conditions::every_condition_key_decides", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let world = World::new(&service);
        let cases = cases(&world);
        for case in &cases {
            for place in [Place::KeyPolicy, Place::IdentityPolicy] {
                if case.operation != "CreateKey" || place == Place::IdentityPolicy {
                    world.try_case(case, place);
                }
            }
        }
        for (name, standing) in DOCUMENTED {
            let found = cases.iter().any(|case| case.key.eq_ignore_ascii_case(name) && !is_absence(case));
            assert_eq!(found, matches!(standing, IsServed), "{name}");
            if let Absent(reason) = standing {
                let body = json!({ "KeyId": world.alias, "Plaintext": "eHk=" });
                let case = Case { user_agent: Some("test"), ..absent(name, "Encrypt", body) };
                world.try_case(&case, Place::KeyPolicy);
                assert!(!reason.is_empty());
            }
        }
        service.close();
    });
}

fn cases(world: &World<'_>) -> Vec<Case> {
    let user = &world.user;
    let id = &world.key.id;
    let encrypt = || json!({ "KeyId": id, "Plaintext": "eHk=" });
    let in_context = || json!({ "KeyId": id, "Plaintext": "eHk=", "EncryptionContext": context() });
    let named = |name: &str| json!({ "KeyId": id, "Plaintext": "eHk=", "EncryptionContext": { name: "Prod" } });
    let data_key = || json!({ "KeyId": id, "KeySpec": "AES_256", "EncryptionContext": context() });
    let pair = || json!({ "KeyId": id, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": context() });
    let decrypt = || json!({ "CiphertextBlob": world.sealed, "EncryptionContext": context() });
    let by_alias = || json!({ "KeyId": world.alias, "Plaintext": "eHk=" });
    let alias_arn = format!("arn:aws:kms:us-east-1:{}:{}", user.account, world.alias);
    let tagged = || json!({ "KeyId": id, "Tags": [{ "TagKey": "Team", "TagValue": "a" }, { "TagKey": "More", "TagValue": "b" }] });
    let made = || json!({ "Tags": [{ "TagKey": "Team", "TagValue": "a" }] });
    let put =
        |bypass: Value| json!({ "KeyId": id, "Policy": world.open_policy(), "BypassPolicyLockoutSafetyCheck": bypass });
    let onto = |key: &Key| json!({ "CiphertextBlob": world.sealed, "SourceEncryptionContext": context(), "DestinationKeyId": key.id });
    let schedule = |days: Value| json!({ "KeyId": id, "PendingWindowInDays": days });
    let granted = || {
        json!({
            "KeyId": id,
            "GranteePrincipal": user.arn,
            "RetiringPrincipal": "111122223333",
            "Operations": ["Decrypt", "Encrypt"],
            "Constraints": { "EncryptionContextSubset": { "AppName": "Pay" } },
        })
    };
    let sign = || json!({ "KeyId": world.signing.id, "Message": "eHk=", "SigningAlgorithm": "ECDSA_SHA_256" });
    let digest = || with(sign(), &[("Message", base64(&[7; 32])), ("MessageType", "DIGEST".into())]);
    let verify = || {
        let signature = world.service.ok(world.service.root(), "Sign", sign())["Signature"].clone();
        with(sign(), &[("Signature", signature.as_str().unwrap().into())])
    };
    let mac = || json!({ "KeyId": world.mac.id, "Message": "eHk=", "MacAlgorithm": "HMAC_SHA_256" });
    let verify_mac = || {
        let mac_of = world.service.ok(world.service.root(), "GenerateMac", mac())["Mac"].clone();
        with(mac(), &[("Mac", mac_of.as_str().unwrap().into())])
    };
    let agree = || {
        let public = world.service.ok(world.service.root(), "GetPublicKey", json!({ "KeyId": world.agreement.id }));
        json!({ "KeyId": world.agreement.id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public["PublicKey"] })
    };
    let to_rsa = || json!({ "KeyId": world.rsa.id, "Plaintext": "eHk=", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1" });
    let of_rsa = || {
        let blob = world.service.ok(world.service.root(), "Encrypt", to_rsa())["CiphertextBlob"].clone();
        json!({ "KeyId": world.rsa.id, "CiphertextBlob": blob, "EncryptionAlgorithm": "RSAES_OAEP_SHA_1" })
    };
    let parameters =
        || json!({ "KeyId": world.waiting.id, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048" });
    let import = world.service.import_request(&world.imported);
    let import = || import.clone();
    let import_until = |valid_to: i64| {
        let mut body = with(import(), &[("ExpirationModel", "KEY_MATERIAL_EXPIRES".into())]);
        body["ValidTo"] = valid_to.into();
        body
    };
    let (soon, later) = (START / 1_000 + 86_400, START / 1_000 + 86_401);
    let until = |operator: &'static str, holds: i64, fails: i64| {
        let [holds, fails] = [holds, fails].map(|time| json!(time.to_string()));
        by("kms:ValidTo", operator, "ImportKeyMaterial", import_until(soon), holds, fails)
    };
    let root_arn = "arn:aws:iam::111122223333:root";
    let (now, seconds) = ("2026-11-22T00:00:00Z", START / 1_000);
    let mut cases = vec![
        // The encryption context: names of keys whatever the case, values exactly.
        equals("kms:EncryptionContext:AppName", "Encrypt", in_context(), "Pay", "pay"),
        equals("kms:encryptioncontext:APPNAME", "Encrypt", in_context(), "Pay", "Other"),
        equals("kms:EncryptionContext:AppName", "Decrypt", decrypt(), "Pay", "Other"),
        equals("kms:EncryptionContext:AppName", "GenerateDataKey", data_key(), "Pay", "Other"),
        equals("kms:EncryptionContext:AppName", "GenerateDataKeyWithoutPlaintext", data_key(), "Pay", "Other"),
        by("kms:EncryptionContext:AppName", "StringLike", "Encrypt", in_context(), json!("P?y"), json!("Pay?")),
        by(
            "kms:EncryptionContext:AppName",
            "StringEqualsIgnoreCase",
            "Encrypt",
            in_context(),
            json!("PAY"),
            json!("pays"),
        ),
        by("kms:EncryptionContext:AppName", "StringNotEquals", "Encrypt", in_context(), json!("pay"), json!("Pay")),
        equals("kms:EncryptionContext:Owner", "Encrypt", in_context(), "${aws:username}", "${aws:userid}"),
        absent("kms:EncryptionContext:AppName", "Encrypt", encrypt()),
        absent("kms:EncryptionContext:App", "Encrypt", in_context()),
        // A slash in a name is a letter like others.
        equals("kms:EncryptionContext:example.org/Env", "Encrypt", named("example.org/Env"), "Prod", "Test"),
        by("kms:EncryptionContext:a/b", "StringNotEquals", "Encrypt", named("a/b"), json!("Test"), json!("Prod")),
        by(
            "kms:EncryptionContextKeys",
            "ForAllValues:StringEquals",
            "Encrypt",
            in_context(),
            json!(["AppName", "Owner", "x"]),
            json!(["AppName"]),
        ),
        by(
            "kms:EncryptionContextKeys",
            "ForAllValues:StringEquals",
            "Encrypt",
            in_context(),
            json!(["AppName", "Owner"]),
            json!(["appname", "Owner"]),
        ),
        by(
            "kms:EncryptionContextKeys",
            "ForAnyValue:StringEquals",
            "Encrypt",
            in_context(),
            json!("AppName"),
            json!("Other"),
        ),
        by(
            "kms:EncryptionContextKeys",
            "ForAnyValue:StringEquals",
            "Decrypt",
            decrypt(),
            json!(["Other", "Owner"]),
            json!("Pay"),
        ),
        absent("kms:EncryptionContextKeys", "Encrypt", encrypt()),
        equals("kms:EncryptionAlgorithm", "Encrypt", encrypt(), "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256"),
        equals("kms:EncryptionAlgorithm", "Decrypt", decrypt(), "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256"),
        equals("kms:EncryptionAlgorithm", "GenerateDataKey", data_key(), "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256"),
        equals("kms:EncryptionAlgorithm", PAIR, pair(), "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256"),
        equals("kms:DataKeyPairSpec", PAIR, pair(), "ECC_NIST_P256", "RSA_2048"),
        equals("kms:DataKeyPairSpec", PAIR_SEALED, pair(), "ECC_NIST_P256", "ECC_NIST_P384"),
        by("kms:DataKeyPairSpec", "StringLike", PAIR, pair(), json!("ECC_*"), json!("RSA_*")),
        absent("kms:DataKeyPairSpec", "GenerateDataKey", data_key()),
        equals("kms:EncryptionContext:AppName", PAIR, pair(), "Pay", "Other"),
        equals("kms:EncryptionContext:AppName", PAIR_SEALED, pair(), "Pay", "Other"),
        equals("kms:EncryptionAlgorithm", "Encrypt", to_rsa(), "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"),
        equals("kms:EncryptionAlgorithm", "Decrypt", of_rsa(), "RSAES_OAEP_SHA_1", "SYMMETRIC_DEFAULT"),
        equals("kms:KeySpec", "Decrypt", of_rsa(), "RSA_2048", "SYMMETRIC_DEFAULT"),
        absent("kms:EncryptionAlgorithm", "DescribeKey", json!({ "KeyId": id })),
        // Signatures, codes and agreements.
        equals("kms:SigningAlgorithm", "Sign", sign(), "ECDSA_SHA_256", "ECDSA_SHA_384"),
        equals("kms:SigningAlgorithm", "Verify", verify(), "ECDSA_SHA_256", "ECDSA_SHA_384"),
        equals("kms:MessageType", "Sign", sign(), "RAW", "DIGEST"),
        equals("kms:MessageType", "Sign", digest(), "DIGEST", "RAW"),
        equals("kms:MessageType", "Verify", verify(), "RAW", "DIGEST"),
        absent("kms:SigningAlgorithm", "GetPublicKey", json!({ "KeyId": world.signing.id })),
        absent("kms:EncryptionContextKeys", "Sign", sign()),
        equals("kms:MacAlgorithm", "GenerateMac", mac(), "HMAC_SHA_256", "HMAC_SHA_512"),
        equals("kms:MacAlgorithm", "VerifyMac", verify_mac(), "HMAC_SHA_256", "HMAC_SHA_512"),
        absent("kms:MessageType", "GenerateMac", mac()),
        equals("kms:KeyAgreementAlgorithm", "DeriveSharedSecret", agree(), "ECDH", "ecdh"),
        equals("kms:KeyUsage", "DeriveSharedSecret", agree(), "KEY_AGREEMENT", "SIGN_VERIFY"),
        // Who asks.
        equals("kms:CallerAccount", "Encrypt", encrypt(), user.account.as_str(), "444455556666"),
        by(
            "aws:PrincipalArn",
            "ArnEquals",
            "Encrypt",
            encrypt(),
            json!(user.arn),
            json!("arn:aws:iam::111122223333:user/Ann2"),
        ),
        by(
            "aws:PrincipalArn",
            "ArnLike",
            "Encrypt",
            encrypt(),
            json!("arn:aws:iam::*:user/A*"),
            json!("arn:aws:iam::*:user/a*"),
        ),
        equals("aws:PrincipalAccount", "DescribeKey", json!({ "KeyId": id }), user.account.as_str(), "444455556666"),
        equals("aws:PrincipalTag/Dept", "Encrypt", encrypt(), "Pay", "pay"),
        equals("aws:PrincipalTag/dept", "Encrypt", encrypt(), "Pay", "Dept"),
        absent("aws:PrincipalTag/Team", "Encrypt", encrypt()),
        equals("aws:PrincipalType", "Encrypt", encrypt(), "User", "Account"),
        equals("aws:userid", "Encrypt", encrypt(), &user.unique_id, "Ann"),
        equals("aws:username", "Encrypt", encrypt(), "Ann", "ann"),
        by("aws:PrincipalIsAWSService", "Bool", "Encrypt", encrypt(), json!("false"), json!("true")),
        by("aws:ViaAWSService", "Bool", "Encrypt", encrypt(), json!("false"), json!("true")),
        // From where, and when.
        by("aws:SourceIp", "IpAddress", "Encrypt", encrypt(), json!("127.0.0.0/8"), json!(["10.0.0.0/8", "::1/128"])),
        by(
            "aws:SourceIp",
            "NotIpAddress",
            "Encrypt",
            encrypt(),
            json!("10.0.0.0/8"),
            json!(["10.0.0.0/8", "127.0.0.1"]),
        ),
        by("aws:SecureTransport", "Bool", "Encrypt", encrypt(), json!("false"), json!("true")),
        equals("aws:RequestedRegion", "Encrypt", encrypt(), "us-east-1", "eu-west-1"),
        by("aws:CurrentTime", "DateGreaterThanEquals", "Encrypt", encrypt(), json!(now), json!("2026-11-22T00:00:01Z")),
        by("aws:CurrentTime", "DateLessThan", "Encrypt", encrypt(), json!("2026-11-22T00:00:01Z"), json!(now)),
        by(
            "aws:EpochTime",
            "NumericLessThanEquals",
            "Encrypt",
            encrypt(),
            json!(seconds.to_string()),
            json!((seconds - 1).to_string()),
        ),
        by("aws:EpochTime", "DateEquals", "Encrypt", encrypt(), json!(now), json!("2026-11-22T00:00:01Z")),
        Case {
            user_agent: Some("aws-cli/2.1"),
            ..by("aws:UserAgent", "StringLike", "Encrypt", encrypt(), json!("aws-cli/*"), json!("aws-sdk/*"))
        },
        absent("aws:UserAgent", "Encrypt", encrypt()),
        // The key as it is.
        equals("kms:KeySpec", "Encrypt", encrypt(), "SYMMETRIC_DEFAULT", "RSA_2048"),
        equals("kms:KeyUsage", "Encrypt", encrypt(), "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
        equals("kms:KeyOrigin", "DescribeKey", json!({ "KeyId": id }), "AWS_KMS", "EXTERNAL"),
        equals("kms:CustomerMasterKeySpec", "Encrypt", encrypt(), "SYMMETRIC_DEFAULT", "RSA_2048"),
        equals("kms:CustomerMasterKeyUsage", "Encrypt", encrypt(), "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
        by("kms:MultiRegion", "Bool", "Encrypt", encrypt(), json!("false"), json!("true")),
        equals("aws:ResourceAccount", "Encrypt", encrypt(), user.account.as_str(), "444455556666"),
        equals("aws:ResourceTag/Team", "Encrypt", encrypt(), "Blue", "blue"),
        equals("aws:resourcetag/TEAM", "TagResource", tagged(), "Blue", "a"),
        equals("aws:ResourceTag/Team", "ListResourceTags", json!({ "KeyId": id }), "Blue", "a"),
        absent("aws:ResourceTag/Teams", "Encrypt", encrypt()),
        // How it was named, and how it could have been.
        equals("kms:RequestAlias", "Encrypt", by_alias(), &world.alias, "alias/other"),
        equals(
            "kms:RequestAlias",
            "Encrypt",
            json!({ "KeyId": alias_arn, "Plaintext": "eHk=" }),
            &world.alias,
            &alias_arn,
        ),
        by(
            "kms:RequestAlias",
            "StringLike",
            "DescribeKey",
            json!({ "KeyId": world.alias }),
            json!("alias/cond*"),
            json!("alias/x*"),
        ),
        absent("kms:RequestAlias", "Encrypt", encrypt()),
        by(
            "kms:ResourceAliases",
            "ForAnyValue:StringEquals",
            "Encrypt",
            encrypt(),
            json!(world.alias),
            json!("alias/other"),
        ),
        by(
            "kms:ResourceAliases",
            "ForAllValues:StringLike",
            "Encrypt",
            by_alias(),
            json!("alias/*"),
            json!("alias/other*"),
        ),
        absent("kms:ResourceAliases", "DescribeKey", json!({ "KeyId": world.other.id })),
        // What is asked of a key to be.
        equals("kms:KeyOrigin", "CreateKey", json!({ "Origin": "EXTERNAL" }), "EXTERNAL", "AWS_KMS"),
        // Imports.
        equals(
            "kms:WrappingAlgorithm",
            "GetParametersForImport",
            parameters(),
            "RSAES_OAEP_SHA_1",
            "RSAES_OAEP_SHA_256",
        ),
        equals("kms:WrappingKeySpec", "GetParametersForImport", parameters(), "RSA_2048", "RSA_4096"),
        equals("kms:KeyOrigin", "GetParametersForImport", parameters(), "EXTERNAL", "AWS_KMS"),
        equals(MODEL, "ImportKeyMaterial", import(), "KEY_MATERIAL_DOES_NOT_EXPIRE", "KEY_MATERIAL_EXPIRES"),
        equals(MODEL, "ImportKeyMaterial", import_until(soon), "KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"),
        until("NumericLessThanEquals", soon, soon - 1),
        until("NumericEquals", soon, later),
        absent("kms:ValidTo", "ImportKeyMaterial", import()),
        absent("kms:WrappingKeySpec", "ImportKeyMaterial", import()),
        equals("kms:KeySpec", "CreateKey", json!({}), "SYMMETRIC_DEFAULT", "RSA_2048"),
        equals("kms:KeyUsage", "CreateKey", json!({}), "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
        equals("kms:KeyOrigin", "CreateKey", json!({}), "AWS_KMS", "EXTERNAL"),
        by("kms:MultiRegion", "Bool", "CreateKey", json!({ "MultiRegion": false }), json!("false"), json!("true")),
        equals("kms:MultiRegionKeyType", "CreateKey", json!({ "MultiRegion": true }), "PRIMARY", "REPLICA"),
        absent("kms:MultiRegionKeyType", "CreateKey", json!({})),
        by("kms:BypassPolicyLockoutSafetyCheck", "Bool", "CreateKey", json!({}), json!("false"), json!("true")),
        by(
            "kms:BypassPolicyLockoutSafetyCheck",
            "Bool",
            "PutKeyPolicy",
            put(true.into()),
            json!("true"),
            json!("false"),
        ),
        by(
            "kms:BypassPolicyLockoutSafetyCheck",
            "Bool",
            "PutKeyPolicy",
            put(Value::Null),
            json!("false"),
            json!("true"),
        ),
        equals("aws:ResourceAccount", "CreateKey", json!({}), user.account.as_str(), "444455556666"),
        equals("aws:RequestTag/Team", "CreateKey", made(), "a", "Blue"),
        by("aws:TagKeys", "ForAllValues:StringEquals", "CreateKey", made(), json!(["Team", "x"]), json!(["team", "x"])),
        equals("aws:RequestTag/Team", "TagResource", tagged(), "a", "Blue"),
        equals("aws:RequestTag/more", "TagResource", tagged(), "b", "a"),
        by(
            "aws:TagKeys",
            "ForAllValues:StringEquals",
            "TagResource",
            tagged(),
            json!(["More", "Team"]),
            json!(["Team"]),
        ),
        by("aws:TagKeys", "ForAnyValue:StringEquals", "TagResource", tagged(), json!("More"), json!("other")),
        by(
            "aws:TagKeys",
            "ForAnyValue:StringEquals",
            "UntagResource",
            json!({ "KeyId": id, "TagKeys": ["Team"] }),
            json!("Team"),
            json!("x"),
        ),
        absent("aws:RequestTag/Team", "UntagResource", json!({ "KeyId": id, "TagKeys": ["Team"] })),
        absent("aws:TagKeys", "Encrypt", encrypt()),
        // The grant that is asked for.
        by(
            "kms:GrantOperations",
            "ForAllValues:StringEquals",
            "CreateGrant",
            granted(),
            json!(["Decrypt", "Encrypt"]),
            json!(["Decrypt"]),
        ),
        by(
            "kms:GrantOperations",
            "ForAnyValue:StringEquals",
            "CreateGrant",
            granted(),
            json!("Encrypt"),
            json!("Sign"),
        ),
        equals("kms:GranteePrincipal", "CreateGrant", granted(), &user.arn, root_arn),
        by("kms:GranteePrincipal", "StringLike", "CreateGrant", granted(), json!("*:user/A*"), json!("*:role/*")),
        equals("kms:RetiringPrincipal", "CreateGrant", granted(), root_arn, &user.arn),
        equals(
            "kms:GrantConstraintType",
            "CreateGrant",
            granted(),
            "EncryptionContextSubset",
            "EncryptionContextEquals",
        ),
        equals("kms:EncryptionContext:AppName", "CreateGrant", granted(), "Pay", "Other"),
        by("kms:GrantIsForAWSResource", "Bool", "CreateGrant", granted(), json!("false"), json!("true")),
        by("kms:GrantIsForAWSResource", "Bool", "ListGrants", json!({ "KeyId": id }), json!("false"), json!("true")),
        absent("kms:GrantOperations", "Encrypt", encrypt()),
        // The rest of what single operations have.
        by("kms:ReEncryptOnSameKey", "Bool", "ReEncrypt", onto(&world.key), json!("true"), json!("false")),
        by("kms:ReEncryptOnSameKey", "Bool", "ReEncrypt", onto(&world.other), json!("false"), json!("true")),
        absent("kms:ReEncryptOnSameKey", "Encrypt", encrypt()),
        by(
            "kms:ScheduleKeyDeletionPendingWindowInDays",
            "NumericGreaterThanEquals",
            "ScheduleKeyDeletion",
            schedule(7.into()),
            json!("7"),
            json!("8"),
        ),
        by(
            "kms:ScheduleKeyDeletionPendingWindowInDays",
            "NumericEquals",
            "ScheduleKeyDeletion",
            schedule(Value::Null),
            json!("30"),
            json!("7"),
        ),
    ];
    // Two keys of the context whose names differ by case: a Deny about either holds.
    let twice = json!({ "KeyId": id, "Plaintext": "eHk=", "EncryptionContext": { "a": "1", "A": "2" } });
    for value in ["1", "2"] {
        cases.push(by(
            "kms:EncryptionContext:a",
            "ForAnyValue:StringEquals",
            "Encrypt",
            twice.clone(),
            json!(value),
            json!("3"),
        ));
    }
    cases
}

/// Tags and aliases decide as they are, not as they were.
#[test]
fn a_tag_and_an_alias_decide_from_the_very_next_request() {
    in_own_process("conditions::a_tag_and_an_alias_decide_from_the_very_next_request", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let world = World::new(&service);
        let encrypt = json!({ "KeyId": world.key.id, "Plaintext": "eHk=" });
        let may = |expected: bool, why: &str| {
            let answer = service.send(&world.user, "Encrypt", &encrypt);
            assert_eq!(answer.status == 200, expected, "{why}: {}", answer.json());
        };
        let root = |operation, body| drop(service.ok(service.root(), operation, body));
        let when = |condition: Value| {
            let statement =
                json!([{ "Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*", "Condition": condition }]);
            service.give(&world.user, "own", statement);
        };
        let tag = |value: &str| {
            root("TagResource", json!({ "KeyId": world.key.id, "Tags": [{ "TagKey": "Team", "TagValue": value }] }));
        };

        when(json!({ "StringEquals": { "aws:ResourceTag/Team": "${aws:PrincipalTag/Dept}" } }));
        may(false, "Blue is not Pay");
        tag("Pay");
        may(true, "the key's tag");
        root("UntagResource", json!({ "KeyId": world.key.id, "TagKeys": ["Team"] }));
        may(false, "no tag");
        tag("Pay");
        service.change(&world.user, |record| drop(record.tags.insert("Dept".into(), "Sales".into())));
        may(false, "the user's tag");
        service.change(&world.user, |record| drop(record.tags.insert("Dept".into(), "Pay".into())));
        may(true, "the user's tag");

        when(json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": "alias/for-ann" } }));
        may(false, "no such alias");
        root("CreateAlias", json!({ "AliasName": "alias/for-ann", "TargetKeyId": world.other.id }));
        may(false, "of another key");
        root("UpdateAlias", json!({ "AliasName": "alias/for-ann", "TargetKeyId": world.key.id }));
        may(true, "of this key");
        root("DeleteAlias", json!({ "AliasName": "alias/for-ann" }));
        may(false, "gone");

        let late = "2026-11-22T01:00:00Z";
        when(json!({ "DateLessThan": { "aws:CurrentTime": late } }));
        may(true, "in time");
        service.clock.pass(HOUR - Duration::from_millis(1));
        may(true, "just in time");
        service.clock.pass(Duration::from_millis(1));
        may(false, "too late");
        service.close();
    });
}

/// Each side of ReEncrypt is asked with its own encryption context.
#[test]
fn each_side_of_a_reencryption_has_its_own_context() {
    in_own_process("conditions::each_side_of_a_reencryption_has_its_own_context", |dir| {
        let service = Served::start(dir, MovedClock::at(START));
        let world = World::new(&service);
        let side = |action: &str, app: &str| {
            let condition = json!({ "StringEquals": { "kms:EncryptionContext:AppName": app } });
            json!({ "Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition })
        };
        let request = json!({
            "CiphertextBlob": world.sealed,
            "SourceEncryptionContext": context(),
            "DestinationKeyId": world.other.id,
            "DestinationEncryptionContext": { "AppName": "New" },
        });
        for (from, to, refused) in [("Pay", "New", None), ("New", "New", Some("From")), ("Pay", "Pay", Some("To"))] {
            service.give(&world.user, "own", json!([side("kms:ReEncryptFrom", from), side("kms:ReEncryptTo", to)]));
            let answer = service.send(&world.user, "ReEncrypt", &request);
            match refused {
                None => assert_eq!(answer.status, 200, "{}", answer.json()),
                Some(side) => {
                    assert!(answer.message().contains(&format!("kms:ReEncrypt{side} on")), "{}", answer.json())
                }
            }
        }
        service.close();
    });
}

struct World<'s> {
    service: &'s Served,
    user: Person,
    /// Tagged, with an alias.
    key: Key,
    pristine: KeyRecord,
    alias: String,
    /// Neither.
    other: Key,
    signing: Key,
    agreement: Key,
    mac: Key,
    rsa: Key,
    /// Their material is to be imported: into one it is, for the other there are wrapping keys.
    imported: Key,
    waiting: Key,
    /// Under the key, in the context.
    sealed: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    KeyPolicy,
    IdentityPolicy,
}

impl<'s> World<'s> {
    fn new(service: &'s Served) -> Self {
        let user = service.user(&service.root().account, "Ann");
        service.change(&user, |record| drop(record.tags.insert("Dept".into(), "Pay".into())));
        let tags = json!({ "Tags": [{ "TagKey": "Team", "TagValue": "Blue" }] });
        let (key, other) = (service.new_key(service.root(), tags), service.new_key(service.root(), json!({})));
        let of =
            |spec: &str, usage: &str| service.new_key(service.root(), json!({ "KeySpec": spec, "KeyUsage": usage }));
        let signing = of("ECC_NIST_P256", "SIGN_VERIFY");
        let agreement = of("ECC_NIST_P256", "KEY_AGREEMENT");
        let mac = of("HMAC_256", "GENERATE_VERIFY_MAC");
        let rsa = of("RSA_2048", "ENCRYPT_DECRYPT");
        let [imported, waiting] = [(); 2].map(|()| service.new_key(service.root(), json!({ "Origin": "EXTERNAL" })));
        let alias = "alias/cond".to_owned();
        service.ok(service.root(), "CreateAlias", json!({ "AliasName": alias, "TargetKeyId": key.id }));
        let sealed = json!({ "KeyId": key.id, "Plaintext": "eHk=", "EncryptionContext": context() });
        let sealed = service.ok(service.root(), "Encrypt", sealed)["CiphertextBlob"].as_str().unwrap().to_owned();
        let pristine = service.key_record(&key);
        World { pristine, service, user, key, alias, other, signing, agreement, mac, rsa, imported, waiting, sealed }
    }

    /// The Allow with the condition allows if it holds, the Deny refuses if it does, and neither does otherwise.
    fn try_case(&self, case: &Case, place: Place) {
        for (condition, holds) in [(&case.holds, true), (&case.fails, false)] {
            let what = format!("{} {} in {place:?}: {condition}", case.key, case.operation);
            let with = |effect: &str| {
                let actions = case.actions();
                json!({ "Effect": effect, "Action": actions, "Resource": "*", "Condition": condition })
            };
            let answer = self.answer(case, place, vec![with("Allow")]);
            assert_eq!(answer.status == 200, holds, "Allow, {what}: {}", answer.json());
            let always = json!({ "Effect": "Allow", "Action": case.actions(), "Resource": "*" });
            let denied = self.answer(case, place, vec![always, with("Deny")]);
            assert_eq!(denied.status == 200, !holds, "Deny, {what}: {}", denied.json());
            let refused = if holds { denied } else { answer };
            assert_eq!(refused.error(), "AccessDeniedException", "{what}");
        }
    }

    fn answer(&self, case: &Case, place: Place, mut statements: Vec<Value>) -> Answer {
        self.service.restore_key(&self.pristine);
        let own = if place == Place::IdentityPolicy { json!(statements) } else { Value::Null };
        self.service.give(&self.user, "own", own);
        statements.iter_mut().for_each(|statement| statement["Principal"] = json!({ "AWS": self.user.arn }));
        let root =
            json!({ "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "kms:*", "Resource": "*" });
        let of_others = if place == Place::KeyPolicy { statements } else { Vec::new() };
        let statements = [vec![root], of_others].concat();
        let meant = |key: &&Key| case.body.to_string().contains(&key.id) || key.id == self.key.id;
        let keys = [
            &self.key,
            &self.other,
            &self.signing,
            &self.agreement,
            &self.mac,
            &self.rsa,
            &self.imported,
            &self.waiting,
        ];
        for key in keys.into_iter().filter(meant) {
            let body = json!({ "KeyId": key.id, "Policy": policy(json!(statements)) });
            self.service.ok(self.service.root(), "PutKeyPolicy", body);
        }
        let mut request = Request::kms(case.operation, &case.body);
        request.headers.extend(case.user_agent.map(|agent| ("user-agent".to_owned(), agent.to_owned())));
        self.service.send_as(&request, &self.user.credentials)
    }

    /// A policy under which anyone may do anything.
    fn open_policy(&self) -> String {
        policy(json!([{ "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*" }]))
    }
}

impl Case {
    fn actions(&self) -> Value {
        match self.operation {
            "ReEncrypt" => json!(["kms:ReEncryptFrom", "kms:ReEncryptTo"]),
            "CreateKey" => json!(["kms:CreateKey", "kms:TagResource"]),
            operation => json!([format!("kms:{operation}")]),
        }
    }
}

fn by(key: &'static str, operator: &str, operation: &'static str, body: Value, holds: Value, fails: Value) -> Case {
    let condition = |value: Value| json!({ operator: { key: value } });
    let mut body = body;
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Case { key, operation, body, holds: condition(holds), fails: condition(fails), user_agent: None }
}

fn equals(key: &'static str, operation: &'static str, body: Value, holds: &str, fails: &str) -> Case {
    by(key, "StringEquals", operation, body, json!(holds), json!(fails))
}

/// The request has no such thing.
fn absent(key: &'static str, operation: &'static str, body: Value) -> Case {
    by(key, "Null", operation, body, json!("true"), json!("false"))
}

/// The body with these members besides.
fn with(mut body: Value, members: &[(&str, String)]) -> Value {
    members.iter().for_each(|(name, value)| body[*name] = value.clone().into());
    body
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn is_absence(case: &Case) -> bool {
    !case.holds["Null"].is_null()
}

fn context() -> Value {
    json!({ "AppName": "Pay", "Owner": "Ann" })
}

const MODEL: &str = "kms:ExpirationModel";
const PAIR: &str = "GenerateDataKeyPair";
const PAIR_SEALED: &str = "GenerateDataKeyPairWithoutPlaintext";
