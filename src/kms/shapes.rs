//! The shapes of the service model that requests here are made of, by their names in the model.
//!
//! Source: the service model of API version 2014-11-01; `tests/model.rs` holds them against it.

use super::shape::{Member, Pattern, Shape, optional, required};
use crate::model::{
    EncapsulationAlgorithm, EncryptionAlgorithm, GrantOperation, KeyAgreementAlgorithm, MacAlgorithm, MessageType,
    SigningAlgorithm, WrappingAlgorithm, WrappingKeySpec,
};

/// `AccountIdType`.
pub const ACCOUNT_ID: Shape = Shape::String { min: 12, max: 12, pattern: Some(ACCOUNT_ID_PATTERN) };
/// `AliasNameType`.
pub const ALIAS_NAME: Shape = Shape::String { min: 1, max: 256, pattern: Some(ALIAS_PATTERN) };
/// `AlgorithmSpec`.
pub const ALGORITHM_SPEC: Shape = Shape::Enum(WrappingAlgorithm::NAMES);
/// `BackingKeyIdType`.
pub const BACKING_KEY_ID: Shape = Shape::String { min: 64, max: 64, pattern: Some(BACKING_KEY_ID_PATTERN) };
/// `BooleanType`, `NullableBooleanType`.
pub const BOOLEAN: Shape = Shape::Boolean;
/// `CiphertextType`.
pub const CIPHERTEXT: Shape = Shape::Blob { min: 1, max: 6144 };
/// `CloudHsmClusterIdType`.
pub const CLOUD_HSM_CLUSTER_ID: Shape = Shape::String { min: 19, max: 24, pattern: Some(CLOUD_HSM_CLUSTER_ID_PATTERN) };
/// `CustomKeyStoreIdType`.
pub const CUSTOM_KEY_STORE_ID: Shape = Shape::String { min: 1, max: 64, pattern: None };
/// `CustomKeyStoreNameType`.
pub const CUSTOM_KEY_STORE_NAME: Shape = Shape::String { min: 1, max: 256, pattern: None };
/// `CustomKeyStoreType`.
pub const CUSTOM_KEY_STORE_TYPE: Shape = Shape::Enum(&["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]);
/// `CustomerMasterKeySpec`, deprecated.
pub const CUSTOMER_MASTER_KEY_SPEC: Shape = Shape::Enum(&[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
]);
/// `DataKeyPairSpec`.
pub const DATA_KEY_PAIR_SPEC: Shape = Shape::Enum(&[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]);
/// `DataKeySpec`.
pub const DATA_KEY_SPEC: Shape = Shape::Enum(&["AES_256", "AES_128"]);
/// `DateType`.
pub const DATE: Shape = Shape::Timestamp;
/// `DescriptionType`.
pub const DESCRIPTION: Shape = Shape::String { min: 0, max: 8192, pattern: None };
/// `DryRunModifierList`.
pub const DRY_RUN_MODIFIER_LIST: Shape =
    Shape::List { min: 0, max: usize::MAX, of: &Shape::Enum(&["IGNORE_CIPHERTEXT"]) };
/// `EncapsulationAlgorithmSpec`.
pub const ENCAPSULATION_ALGORITHM: Shape = Shape::Enum(EncapsulationAlgorithm::NAMES);
/// `EncryptionAlgorithmSpec`.
pub const ENCRYPTION_ALGORITHM: Shape = Shape::Enum(EncryptionAlgorithm::NAMES);
/// `EncryptionContextType`.
pub const ENCRYPTION_CONTEXT: Shape = Shape::StringMap;
/// `ExpirationModelType`.
pub const EXPIRATION_MODEL: Shape = Shape::Enum(&["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"]);
/// `GrantConstraints`.
pub const GRANT_CONSTRAINTS: Shape = Shape::Structure(&[
    optional("EncryptionContextSubset", &ENCRYPTION_CONTEXT),
    optional("EncryptionContextEquals", &ENCRYPTION_CONTEXT),
    optional("SourceArn", &Shape::String { min: 20, max: 512, pattern: Some(SOURCE_ARN_PATTERN) }),
]);
/// `GrantIdType`.
pub const GRANT_ID: Shape = Shape::String { min: 1, max: 128, pattern: None };
/// `GrantNameType`.
pub const GRANT_NAME: Shape = Shape::String { min: 1, max: 256, pattern: Some(ALIAS_PATTERN) };
/// `GrantOperationList`.
pub const GRANT_OPERATION_LIST: Shape =
    Shape::List { min: 0, max: usize::MAX, of: &Shape::Enum(GrantOperation::NAMES) };
/// `GrantTokenType`.
pub const GRANT_TOKEN: Shape = Shape::Token { min: 1, max: 8192 };
/// `GrantTokenList`.
pub const GRANT_TOKEN_LIST: Shape = Shape::List { min: 0, max: 10, of: &GRANT_TOKEN };
/// `ImportType`.
pub const IMPORT_TYPE: Shape = Shape::Enum(&["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"]);
/// `IncludeKeyMaterial`.
pub const INCLUDE_KEY_MATERIAL: Shape = Shape::Enum(&["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"]);
/// `KeyAgreementAlgorithmSpec`.
pub const KEY_AGREEMENT_ALGORITHM: Shape = Shape::Enum(KeyAgreementAlgorithm::NAMES);
/// `KeyIdType`.
pub const KEY_ID: Shape = Shape::String { min: 1, max: 2048, pattern: None };
/// `KeyMaterialDescriptionType`.
pub const KEY_MATERIAL_DESCRIPTION: Shape =
    Shape::String { min: 0, max: 256, pattern: Some(KEY_MATERIAL_DESCRIPTION_PATTERN) };
/// `KeySpec`.
pub const KEY_SPEC: Shape = Shape::Enum(&[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]);
/// `KeyStorePasswordType`.
pub const KEY_STORE_PASSWORD: Shape = Shape::Token { min: 7, max: 32 };
/// `KeyUsageType`.
pub const KEY_USAGE: Shape =
    Shape::Enum(&["SIGN_VERIFY", "ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE"]);
/// `LimitType`.
pub const LIMIT: Shape = Shape::Integer { min: 1, max: 1000 };
/// `MacAlgorithmSpec`.
pub const MAC_ALGORITHM: Shape = Shape::Enum(MacAlgorithm::NAMES);
/// `MarkerType`.
pub const MARKER: Shape = Shape::String { min: 1, max: 1024, pattern: Some(MARKER_PATTERN) };
/// `MessageType`.
pub const MESSAGE_TYPE: Shape = Shape::Enum(MessageType::NAMES);
/// `NumberOfBytesType`.
pub const NUMBER_OF_BYTES: Shape = Shape::Integer { min: 1, max: 1024 };
/// `OriginType`.
pub const ORIGIN: Shape = Shape::Enum(&["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]);
/// `PendingWindowInDaysType`.
pub const PENDING_WINDOW_IN_DAYS: Shape = Shape::Integer { min: 1, max: 365 };
/// `PlaintextType`.
pub const PLAINTEXT: Shape = Shape::Blob { min: 1, max: 4096 };
/// `PolicyType`.
pub const POLICY: Shape = Shape::String { min: 1, max: 131_072, pattern: Some(POLICY_PATTERN) };
/// `PolicyNameType`.
pub const POLICY_NAME: Shape = Shape::String { min: 1, max: 128, pattern: Some(POLICY_NAME_PATTERN) };
/// `PrincipalIdType`.
pub const PRINCIPAL_ID: Shape = Shape::String { min: 1, max: 256, pattern: Some(PRINCIPAL_ID_PATTERN) };
/// `PublicKeyType`.
pub const PUBLIC_KEY: Shape = Shape::Blob { min: 1, max: 8192 };
/// `RegionType`.
pub const REGION: Shape = Shape::String { min: 1, max: 32, pattern: Some(REGION_PATTERN) };
/// `RecipientInfo`.
pub const RECIPIENT_INFO: Shape = Shape::Structure(&[
    optional("KeyEncryptionAlgorithm", &Shape::Enum(&["RSAES_OAEP_SHA_256"])),
    optional("AttestationDocument", &Shape::Blob { min: 1, max: 262_144 }),
]);
/// `ResourceOwnersList`.
pub const RESOURCE_OWNERS_LIST: Shape =
    Shape::List { min: 1, max: 2, of: &Shape::Enum(&["SELF", "OTHER_ACCOUNTS_VIA_RAM"]) };
/// `RotationPeriodInDaysType`.
pub const ROTATION_PERIOD_IN_DAYS: Shape = Shape::Integer { min: 90, max: 2560 };
/// `ServicePrincipalType`.
pub const SERVICE_PRINCIPAL: Shape = Shape::String { min: 1, max: 128, pattern: Some(SERVICE_PRINCIPAL_PATTERN) };
/// `SigningAlgorithmSpec`.
pub const SIGNING_ALGORITHM: Shape = Shape::Enum(SigningAlgorithm::NAMES);
/// `TagKeyType`.
pub const TAG_KEY: Shape = Shape::String { min: 1, max: 128, pattern: None };
/// `TagKeyList`.
pub const TAG_KEY_LIST: Shape = Shape::List { min: 0, max: usize::MAX, of: &TAG_KEY };
/// `TagList`.
pub const TAG_LIST: Shape = Shape::List { min: 0, max: usize::MAX, of: &Shape::Structure(TAG) };
/// `TagValueType`.
pub const TAG_VALUE: Shape = Shape::String { min: 0, max: 256, pattern: None };
/// `TrustAnchorCertificateType`. It is no secret, but as long as everything else in a record of it.
pub const TRUST_ANCHOR_CERTIFICATE: Shape = Shape::Token { min: 1, max: 5000 };
/// `WrappingKeySpec`.
pub const WRAPPING_KEY_SPEC: Shape = Shape::Enum(WrappingKeySpec::NAMES);
/// `XksKeyIdType`.
pub const XKS_KEY_ID: Shape = Shape::String { min: 1, max: 128, pattern: Some(XKS_KEY_ID_PATTERN) };

/// `XksProxyAuthenticationCredentialType`.
pub const XKS_PROXY_AUTHENTICATION_CREDENTIAL: Shape = Shape::Structure(&[
    required("AccessKeyId", &Shape::Token { min: 20, max: 30 }),
    required("RawSecretAccessKey", &Shape::Token { min: 43, max: 64 }),
]);
/// `XksProxyConnectivityType`.
pub const XKS_PROXY_CONNECTIVITY: Shape = Shape::Enum(&["PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE"]);
/// `XksProxyUriEndpointType`.
pub const XKS_PROXY_URI_ENDPOINT: Shape =
    Shape::String { min: 10, max: 128, pattern: Some(XKS_PROXY_URI_ENDPOINT_PATTERN) };
/// `XksProxyUriPathType`.
pub const XKS_PROXY_URI_PATH: Shape = Shape::String { min: 10, max: 128, pattern: Some(XKS_PROXY_URI_PATH_PATTERN) };
/// `XksProxyVpcEndpointServiceNameType`.
pub const XKS_PROXY_VPC_ENDPOINT_SERVICE_NAME: Shape =
    Shape::String { min: 20, max: 64, pattern: Some(XKS_PROXY_VPC_ENDPOINT_SERVICE_NAME_PATTERN) };

/// `Tag`.
const TAG: &[Member] = &[required("TagKey", &TAG_KEY), required("TagValue", &TAG_VALUE)];

const ACCOUNT_ID_PATTERN: Pattern = Pattern { text: "[0-9]{12}", admits: |c| c.is_ascii_digit() };
const ALIAS_PATTERN: Pattern =
    Pattern { text: "^[a-zA-Z0-9:/_-]+$", admits: |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '_' | '-') };
const BACKING_KEY_ID_PATTERN: Pattern = Pattern { text: "^[a-f0-9]+$", admits: |c| matches!(c, 'a'..='f' | '0'..='9') };
// Of this and of those for external key stores, the characters are checked here; the order of the first by its operations.
const CLOUD_HSM_CLUSTER_ID_PATTERN: Pattern =
    Pattern { text: "cluster-[2-7a-zA-Z]{11,16}", admits: |c| c.is_ascii_alphabetic() || matches!(c, '2'..='7' | '-') };
const KEY_MATERIAL_DESCRIPTION_PATTERN: Pattern = Pattern {
    text: "^[a-zA-Z0-9:/_\\s.-]+$",
    admits: |c| c.is_ascii_alphanumeric() || c.is_whitespace() || matches!(c, ':' | '/' | '_' | '.' | '-'),
};
const MARKER_PATTERN: Pattern = Pattern { text: "[\\u0020-\\u00FF]*", admits: |c| matches!(c, '\u{20}'..='\u{ff}') };
const POLICY_PATTERN: Pattern = Pattern {
    text: "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+",
    admits: |c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}'),
};
const POLICY_NAME_PATTERN: Pattern = Pattern { text: "[\\w]+", admits: |c| c.is_ascii_alphanumeric() || c == '_' };
const PRINCIPAL_ID_PATTERN: Pattern = Pattern {
    text: "^[\\w+=,.@:/-]+$",
    admits: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=' | ',' | '.' | '@' | ':' | '/' | '-'),
};
// Of this and the next pattern, the characters are checked here; the forms, where something depends on them.
const REGION_PATTERN: Pattern =
    Pattern { text: "^([a-z]+-){2,3}\\d+$", admits: |c| matches!(c, 'a'..='z' | '0'..='9' | '-') };
const SERVICE_PRINCIPAL_PATTERN: Pattern = Pattern {
    text: "^([A-Za-z0-9\\-]+)\\.([A-Za-z0-9\\-]+)(\\.[A-Za-z0-9\\-]+)+$",
    admits: |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'),
};
const SOURCE_ARN_PATTERN: Pattern =
    Pattern { text: "^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$", admits: |c| !matches!(c, '\n' | '\r') };
const XKS_KEY_ID_PATTERN: Pattern =
    Pattern { text: "^[a-zA-Z0-9-_.]+$", admits: |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') };
const XKS_PROXY_URI_ENDPOINT_PATTERN: Pattern = Pattern {
    text: "^https://[a-zA-Z0-9.-]+$",
    admits: |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '-'),
};
const XKS_PROXY_URI_PATH_PATTERN: Pattern = Pattern {
    text: "^(/[a-zA-Z0-9\\/_-]+/kms/xks/v\\d{1,2})$|^(/kms/xks/v\\d{1,2})$",
    admits: |c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-'),
};
const XKS_PROXY_VPC_ENDPOINT_SERVICE_NAME_PATTERN: Pattern = Pattern {
    text: "^(com|eu)\\.amazonaws\\.vpce\\.([a-z]+-){2,3}\\d+\\.vpce-svc-[0-9a-z]+$",
    admits: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'),
};
