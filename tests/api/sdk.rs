//! The official SDK: every operation, and its typed errors.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_kms::Client;
use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    AlgorithmSpec, ConnectionErrorCodeType, ConnectionStateType, DataKeyPairSpec, DataKeySpec, DryRunModifierType,
    EncapsulationAlgorithmSpec, EncryptionAlgorithmSpec, ExpirationModelType, GrantOperation,
    KeyAgreementAlgorithmSpec, KeyLastUsageTrackingOperation, KeySpec, KeyState, KeyUsageType, MacAlgorithmSpec,
    MultiRegionKeyType, OriginType, SigningAlgorithmSpec, Tag, WrappingKeySpec,
};
use hsm_kms::api::json::OPERATIONS;
use hsm_kms::audit::EventSource;
use hsm_kms::crypto::{Agreement, Message, PublicKey, oaep_encrypt};
use hsm_kms::model::{EncryptionAlgorithm, KeyPairSpec, SigningAlgorithm};

use super::*;

/// Sends, and gives the operation's own error.
macro_rules! error {
    ($request:expr) => {
        $request.send().await.unwrap_err().into_service_error()
    };
}

#[tokio::test]
async fn every_operation_is_called() {
    let service = Service::start_with(&["--clusters", "1", "--region", "us-east-1", "--region", "eu-west-1"]);
    let kms = service.client();
    custom_key_stores(&service, &kms).await;
    a_keys_life(&kms).await;
    aliases_and_cryptography(&kms).await;
    data_key_pairs(&kms).await;
    signatures(&kms).await;
    agreement_and_rsa(&kms).await;
    grants(&kms).await;
    let offered = |name: &str| OPERATIONS.iter().any(|route| route.name == name);
    if offered("EnableKeyRotation") {
        rotation(&kms).await;
    }
    if offered("ImportKeyMaterial") {
        imports(&kms).await;
    }
    replicas(&kms, &service.client_in("eu-west-1")).await;
    let events = service.audit();
    let events = events.iter().map(|line| &line["event"]).filter(|event| event["errorCode"].is_null());
    let called: BTreeSet<&str> = events.filter_map(|event| event["eventName"].as_str()).collect();
    let of_kms = OPERATIONS.iter().filter(|route| route.source == EventSource::Kms).map(|route| route.name);
    // No key of SoftHSM does these: tests/contract/lattice.py asks for them on a token that has such keys.
    let elsewhere = ["Decapsulate", "Encapsulate"];
    let missing: Vec<&str> = of_kms.filter(|name| !called.contains(name) && !elsewhere.contains(name)).collect();
    assert!(missing.is_empty(), "without a good answer here: {missing:?}");
}

async fn custom_key_stores(service: &Service, kms: &Client) {
    let password = std::fs::read_to_string(service.data().join("cluster-password")).unwrap();
    let certificate = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let create = kms.create_custom_key_store().custom_key_store_name("rust").trust_anchor_certificate(certificate);
    let create = create.cloud_hsm_cluster_id("cluster-softhsm2dev");
    assert!(
        error!(create.clone().cloud_hsm_cluster_id("cluster-softhsm7dev").key_store_password(&password))
            .is_cloud_hsm_cluster_not_found_exception()
    );
    let made = create.clone().key_store_password("not the password").send().await.unwrap();
    let id = made.custom_key_store_id.unwrap();
    assert!(error!(create.key_store_password(&password)).is_custom_key_store_name_in_use_exception());
    let described = || async {
        let page = kms.describe_custom_key_stores().custom_key_store_id(&id).send().await.unwrap();
        page.custom_key_stores.unwrap().remove(0)
    };
    let reached = |state: ConnectionStateType| async move {
        loop {
            let store = described().await;
            match store.connection_state() {
                Some(ConnectionStateType::Connecting | ConnectionStateType::Disconnecting) => {}
                now => {
                    assert_eq!(now, Some(&state));
                    return store;
                }
            }
        }
    };
    kms.connect_custom_key_store().custom_key_store_id(&id).send().await.unwrap();
    let failed = reached(ConnectionStateType::Failed).await;
    assert_eq!(failed.connection_error_code(), Some(&ConnectionErrorCodeType::InvalidCredentials));
    let in_store = kms.create_key().origin(OriginType::AwsCloudhsm).custom_key_store_id(&id);
    assert!(error!(in_store.clone()).is_custom_key_store_invalid_state_exception());
    kms.disconnect_custom_key_store().custom_key_store_id(&id).send().await.unwrap();
    reached(ConnectionStateType::Disconnected).await;
    kms.update_custom_key_store().custom_key_store_id(&id).key_store_password(&password).send().await.unwrap();
    kms.connect_custom_key_store().custom_key_store_id(&id).send().await.unwrap();
    reached(ConnectionStateType::Connected).await;
    let random = kms.generate_random().number_of_bytes(9).custom_key_store_id(&id).send().await.unwrap();
    assert_eq!(random.plaintext().unwrap().as_ref().len(), 9);
    kms.disconnect_custom_key_store().custom_key_store_id(&id).send().await.unwrap();
    reached(ConnectionStateType::Disconnected).await;
    kms.delete_custom_key_store().custom_key_store_id(&id).send().await.unwrap();
    assert!(error!(kms.delete_custom_key_store().custom_key_store_id(&id)).is_custom_key_store_not_found_exception());
}

async fn replicas(kms: &Client, there: &Client) {
    let made = kms.create_key().multi_region(true).send().await.unwrap().key_metadata.unwrap();
    let id = made.key_id();
    let sealed = kms.encrypt().key_id(id).plaintext(Blob::new("both")).send().await.unwrap().ciphertext_blob.unwrap();
    let replica = kms.replicate_key().key_id(id).replica_region("eu-west-1").send().await.unwrap();
    let metadata = replica.replica_key_metadata.unwrap();
    let config = metadata.multi_region_configuration().unwrap();
    assert_eq!(config.multi_region_key_type(), Some(&MultiRegionKeyType::Replica));
    assert_eq!(config.primary_key().unwrap().region(), Some("us-east-1"));
    assert_eq!(there.describe_key().key_id(id).send().await.unwrap().key_metadata.unwrap(), metadata);
    let opened = there.decrypt().ciphertext_blob(sealed).send().await.unwrap().plaintext.unwrap();
    assert_eq!(opened.as_ref(), b"both");
    let again = error!(kms.replicate_key().key_id(id).replica_region("eu-west-1"));
    assert!(again.is_already_exists_exception(), "{again:?}");
    kms.update_primary_region().key_id(id).primary_region("eu-west-1").send().await.unwrap();
    let error = error!(kms.replicate_key().key_id(id).replica_region("eu-west-1"));
    assert!(error.is_unsupported_operation_exception(), "{error:?}");
}

async fn a_keys_life(kms: &Client) {
    let tag = |key: &str, value: &str| Tag::builder().tag_key(key).tag_value(value).build().unwrap();
    let made = kms.create_key().description("this is a test").tags(tag("a", "1")).send().await.unwrap();
    assert_eq!(uuid::Uuid::parse_str(made.request_id().unwrap()).unwrap().get_version_num(), 4);
    let made = made.key_metadata.unwrap();
    let id = made.key_id();
    assert_eq!((made.key_state(), made.enabled()), (Some(&KeyState::Enabled), true));
    assert_eq!(
        (made.key_spec(), made.key_usage()),
        (Some(&KeySpec::SymmetricDefault), Some(&KeyUsageType::EncryptDecrypt))
    );
    assert_eq!(
        (made.origin(), made.encryption_algorithms()),
        (Some(&OriginType::AwsKms), &[EncryptionAlgorithmSpec::SymmetricDefault][..])
    );
    let described = kms.describe_key().key_id(id).send().await.unwrap().key_metadata.unwrap();
    assert_eq!(described, made);
    let keys = kms.list_keys().send().await.unwrap();
    assert_eq!((keys.keys()[0].key_id(), keys.truncated()), (Some(id), false));
    kms.update_key_description().key_id(id).description("another").send().await.unwrap();
    kms.disable_key().key_id(id).send().await.unwrap();
    kms.enable_key().key_id(id).send().await.unwrap();
    kms.tag_resource().key_id(id).tags(tag("b", "2")).send().await.unwrap();
    kms.untag_resource().key_id(id).tag_keys("a").send().await.unwrap();
    assert_eq!(kms.list_resource_tags().key_id(id).send().await.unwrap().tags(), [tag("b", "2")]);
    let policy = kms.get_key_policy().key_id(id).send().await.unwrap().policy.unwrap();
    kms.put_key_policy().key_id(id).policy(&policy).policy_name("default").send().await.unwrap();
    assert_eq!(kms.list_key_policies().key_id(id).send().await.unwrap().policy_names(), ["default"]);
    let unused = kms.get_key_last_usage().key_id(id).send().await.unwrap();
    assert_eq!(unused.key_last_usage.unwrap().operation, None);
    let scheduled = kms.schedule_key_deletion().key_id(id).pending_window_in_days(7).send().await.unwrap();
    assert_eq!((scheduled.key_state, scheduled.pending_window_in_days), (Some(KeyState::PendingDeletion), Some(7)));
    assert_eq!(kms.cancel_key_deletion().key_id(id).send().await.unwrap().key_id.as_deref(), made.arn());
    let described = kms.describe_key().key_id(id).send().await.unwrap().key_metadata.unwrap();
    assert_eq!((described.key_state(), described.description()), (Some(&KeyState::Disabled), Some("another")));
}

async fn aliases_and_cryptography(kms: &Client) {
    let [first, second] = [kms.create_key().send().await, kms.create_key().send().await]
        .map(|made| made.unwrap().key_metadata.unwrap().arn.unwrap());
    kms.create_alias().alias_name("alias/key1").target_key_id(&first).send().await.unwrap();
    let data_key = kms
        .generate_data_key()
        .key_id("alias/key1")
        .key_spec(DataKeySpec::Aes256)
        .encryption_context("purpose", "test")
        .send()
        .await
        .unwrap();
    let back = kms
        .decrypt()
        .ciphertext_blob(data_key.ciphertext_blob.unwrap())
        .encryption_context("purpose", "test")
        .send()
        .await
        .unwrap();
    assert_eq!((&back.plaintext, back.key_id.as_ref()), (&data_key.plaintext, Some(&first)));
    assert_eq!(back.plaintext.unwrap().as_ref().len(), 32);
    let sealed = kms.generate_data_key_without_plaintext().key_id(&first).number_of_bytes(24).send().await.unwrap();
    let moved = kms
        .re_encrypt()
        .ciphertext_blob(sealed.ciphertext_blob.unwrap())
        .destination_key_id(&second)
        .send()
        .await
        .unwrap();
    assert_eq!((moved.source_key_id.as_ref(), moved.key_id.as_ref()), (Some(&first), Some(&second)));
    let opened = kms.decrypt().ciphertext_blob(moved.ciphertext_blob.unwrap()).send().await.unwrap();
    assert_eq!(opened.plaintext.unwrap().as_ref().len(), 24);
    let encrypted = kms.encrypt().key_id("alias/key1").plaintext(Blob::new("hello")).send().await.unwrap();
    assert_eq!(encrypted.encryption_algorithm, Some(EncryptionAlgorithmSpec::SymmetricDefault));
    let usage = kms.get_key_last_usage().key_id(&first).send().await.unwrap().key_last_usage.unwrap();
    assert_eq!(usage.operation, Some(KeyLastUsageTrackingOperation::Encrypt));
    kms.update_alias().alias_name("alias/key1").target_key_id(&second).send().await.unwrap();
    let aliases = kms.list_aliases().key_id(&second).send().await.unwrap().aliases.unwrap();
    assert_eq!(aliases[0].alias_name(), Some("alias/key1"));
    kms.delete_alias().alias_name("alias/key1").send().await.unwrap();
    assert_eq!(kms.list_aliases().send().await.unwrap().aliases(), []);
    let random = kms.generate_random().number_of_bytes(1024).send().await.unwrap();
    assert_eq!(random.plaintext.unwrap().as_ref().len(), 1024);
}

async fn data_key_pairs(kms: &Client) {
    let id = key_of(kms, KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let spec = DataKeyPairSpec::EccNistP256;
    let made = kms.generate_data_key_pair().key_id(&id).key_pair_spec(spec.clone()).send().await.unwrap();
    let opened = kms.decrypt().ciphertext_blob(made.private_key_ciphertext_blob.unwrap()).send().await.unwrap();
    assert_eq!((opened.plaintext, made.key_pair_spec), (made.private_key_plaintext, Some(spec)));
    let request = kms.generate_data_key_pair_without_plaintext().key_id(&id).key_pair_spec(DataKeyPairSpec::Rsa2048);
    let made = request.send().await.unwrap();
    assert!(PublicKey::from_spki(KeyPairSpec::Rsa2048, made.public_key.unwrap().as_ref()).is_ok());
    let opened = kms.decrypt().ciphertext_blob(made.private_key_ciphertext_blob.unwrap()).send().await.unwrap();
    assert!(opened.plaintext.unwrap().as_ref().len() > 1_000);
}

async fn signatures(kms: &Client) {
    let message = || Blob::new("a message");
    let id = key_of(kms, KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let algorithm = SigningAlgorithmSpec::EcdsaSha256;
    let request = kms.sign().key_id(&id).message(message()).signing_algorithm(algorithm.clone());
    let signature = request.send().await.unwrap().signature.unwrap();
    let public = kms.get_public_key().key_id(&id).send().await.unwrap();
    assert_eq!(
        (public.key_spec(), public.signing_algorithms()),
        (Some(&KeySpec::EccNistP256), &[algorithm.clone()][..])
    );
    let key = PublicKey::from_spki(KeyPairSpec::EccNistP256, public.public_key.unwrap().as_ref()).unwrap();
    key.verify(SigningAlgorithm::EcdsaSha256, Message::Raw(b"a message"), signature.as_ref()).unwrap();
    let verify = kms.verify().key_id(&id).message(message()).signing_algorithm(algorithm);
    assert!(verify.clone().signature(signature).send().await.unwrap().signature_valid);
    assert!(error!(verify.signature(Blob::new("x"))).is_kms_invalid_signature_exception());

    let id = key_of(kms, KeySpec::Hmac256, KeyUsageType::GenerateVerifyMac).await;
    let algorithm = MacAlgorithmSpec::HmacSha256;
    let request = kms.generate_mac().key_id(&id).message(message()).mac_algorithm(algorithm.clone());
    let mac = request.send().await.unwrap().mac.unwrap();
    assert_eq!(mac.as_ref().len(), 32);
    let verify = kms.verify_mac().key_id(&id).message(message()).mac_algorithm(algorithm);
    assert!(verify.clone().mac(mac).send().await.unwrap().mac_valid);
    assert!(error!(verify.mac(Blob::new([7; 32]))).is_kms_invalid_mac_exception());
}

async fn agreement_and_rsa(kms: &Client) {
    let id = key_of(kms, KeySpec::EccNistP384, KeyUsageType::KeyAgreement).await;
    let own = Agreement::new(KeyPairSpec::EccNistP384).unwrap();
    let peer = kms.get_public_key().key_id(&id).send().await.unwrap().public_key.unwrap();
    let agreed = kms
        .derive_shared_secret()
        .key_id(&id)
        .key_agreement_algorithm(KeyAgreementAlgorithmSpec::Ecdh)
        .public_key(Blob::new(own.public_key.spki()))
        .send()
        .await
        .unwrap();
    let peer = PublicKey::from_spki(KeyPairSpec::EccNistP384, peer.as_ref()).unwrap();
    assert_eq!(agreed.shared_secret.unwrap().as_ref(), own.agree(&peer).unwrap().expose());

    // No key of SoftHSM does this; tests/contract/lattice.py has one that does.
    let kem = EncapsulationAlgorithmSpec::MlKem;
    let encapsulate = kms.encapsulate().key_id(&id).encapsulation_algorithm(kem.clone());
    assert!(error!(encapsulate).is_invalid_key_usage_exception());
    let decapsulate = kms.decapsulate().key_id(&id).encapsulation_algorithm(kem);
    let decapsulate = decapsulate.shared_secret_ciphertext_blob(Blob::new([7; 768]));
    assert!(error!(decapsulate).is_invalid_key_usage_exception());

    let id = key_of(kms, KeySpec::Rsa2048, KeyUsageType::EncryptDecrypt).await;
    let algorithm = EncryptionAlgorithmSpec::RsaesOaepSha256;
    let request = kms.encrypt().key_id(&id).plaintext(Blob::new("hello")).encryption_algorithm(algorithm.clone());
    let ciphertext = request.send().await.unwrap().ciphertext_blob.unwrap();
    let request = kms.decrypt().key_id(&id).ciphertext_blob(ciphertext).encryption_algorithm(algorithm);
    assert_eq!(request.send().await.unwrap().plaintext.unwrap().as_ref(), b"hello");
}

async fn grants(kms: &Client) {
    let id = key_of(kms, KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let root = "arn:aws:iam::111122223333:root";
    let grant = kms.create_grant().key_id(&id).grantee_principal(root).retiring_principal(root);
    let grant = grant.operations(GrantOperation::Encrypt);
    let [first, second] = [grant.clone().send().await.unwrap(), grant.send().await.unwrap()];
    let token = first.grant_token.unwrap();
    kms.encrypt().key_id(&id).plaintext(Blob::new("x")).grant_tokens(&token).send().await.unwrap();
    assert_eq!(kms.list_grants().key_id(&id).send().await.unwrap().grants().len(), 2);
    let retirable = kms.list_retirable_grants().retiring_principal(root).send().await.unwrap();
    assert_eq!(retirable.grants().len(), 2);
    kms.retire_grant().grant_token(&token).send().await.unwrap();
    kms.revoke_grant().key_id(&id).grant_id(second.grant_id.unwrap()).send().await.unwrap();
    assert_eq!(kms.list_grants().key_id(&id).send().await.unwrap().grants(), []);
}

async fn rotation(kms: &Client) {
    let id = key_of(kms, KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    kms.enable_key_rotation().key_id(&id).rotation_period_in_days(90).send().await.unwrap();
    let status = kms.get_key_rotation_status().key_id(&id).send().await.unwrap();
    assert_eq!((status.key_rotation_enabled, status.rotation_period_in_days), (true, Some(90)));
    kms.disable_key_rotation().key_id(&id).send().await.unwrap();
    kms.rotate_key_on_demand().key_id(&id).send().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while kms.list_key_rotations().key_id(&id).send().await.unwrap().rotations().is_empty() {
        assert!(Instant::now() < deadline, "the rotation does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn imports(kms: &Client) {
    let made = kms.create_key().origin(OriginType::External).send().await.unwrap().key_metadata.unwrap();
    let id = made.key_id();
    let algorithm = AlgorithmSpec::RsaesOaepSha256;
    let request = kms.get_parameters_for_import().key_id(id).wrapping_algorithm(algorithm);
    let parameters = request.wrapping_key_spec(WrappingKeySpec::Rsa2048).send().await.unwrap();
    let key = PublicKey::from_spki(KeyPairSpec::Rsa2048, parameters.public_key.unwrap().as_ref()).unwrap();
    let wrapped = oaep_encrypt(&key, EncryptionAlgorithm::RsaesOaepSha256, &[0x5a; 32]).unwrap();
    kms.import_key_material()
        .key_id(id)
        .import_token(parameters.import_token.unwrap())
        .encrypted_key_material(Blob::new(wrapped))
        .expiration_model(ExpirationModelType::KeyMaterialDoesNotExpire)
        .send()
        .await
        .unwrap();
    kms.encrypt().key_id(id).plaintext(Blob::new("x")).send().await.unwrap();
    kms.delete_imported_key_material().key_id(id).send().await.unwrap();
    assert!(error!(kms.encrypt().key_id(id).plaintext(Blob::new("x"))).is_kms_invalid_state_exception());
}

/// A new key's id.
async fn key_of(kms: &Client, spec: KeySpec, usage: KeyUsageType) -> String {
    let made = kms.create_key().key_spec(spec).key_usage(usage).send().await.unwrap();
    made.key_metadata.unwrap().key_id
}

#[tokio::test]
async fn pages_come_by_the_sdks_paginators() {
    let service = Service::start();
    let kms = service.client();
    for _ in 0..5 {
        kms.create_key().send().await.unwrap();
    }
    let mut pages = kms.list_keys().limit(2).into_paginator().send();
    let mut lengths = Vec::new();
    while let Some(page) = pages.next().await {
        lengths.push(page.unwrap().keys().len());
    }
    assert_eq!(lengths, [2, 2, 1]);
}

#[tokio::test]
async fn errors_have_the_sdks_types() {
    let service = shared();
    let kms = service.client();
    let key = new_key(&service);
    let other = new_key(&service);
    let blob = || Blob::new(bytes(&json!(encrypted(&service, &key, b"x"))));
    let id = key.id.as_str();
    assert!(error!(kms.describe_key().key_id("fake")).is_not_found_exception());
    assert!(error!(kms.describe_key().key_id("arn:x")).is_invalid_arn_exception());
    assert!(error!(kms.list_keys().marker("x")).is_invalid_marker_exception());
    assert!(error!(kms.cancel_key_deletion().key_id(id)).is_kms_invalid_state_exception());
    assert!(error!(kms.create_alias().alias_name("alias/aws/x").target_key_id(id)).is_invalid_alias_name_exception());
    let alias = new_alias("sdk");
    kms.create_alias().alias_name(&alias).target_key_id(id).send().await.unwrap();
    assert!(error!(kms.create_alias().alias_name(&alias).target_key_id(id)).is_already_exists_exception());
    assert!(error!(kms.put_key_policy().key_id(id).policy("x")).is_malformed_policy_document_exception());
    assert!(error!(kms.put_key_policy().key_id(id).policy("x".repeat(32_769))).is_limit_exceeded_exception());
    let tag = Tag::builder().tag_key("aws:x").tag_value("").build().unwrap();
    assert!(error!(kms.tag_resource().key_id(id).tags(tag)).is_tag_exception());
    let single = error!(kms.replicate_key().key_id(id).replica_region("eu-west-1"));
    assert!(single.is_unsupported_operation_exception());
    assert!(
        error!(kms.generate_random().number_of_bytes(1).custom_key_store_id("c"))
            .is_custom_key_store_not_found_exception()
    );
    assert!(error!(kms.decrypt().ciphertext_blob(blob()).key_id(&other.id)).is_incorrect_key_exception());
    let spoilt = error!(kms.decrypt().ciphertext_blob(Blob::new([0])));
    assert!(spoilt.is_invalid_ciphertext_exception() && spoilt.meta().message().is_none());
    let algorithm = EncryptionAlgorithmSpec::RsaesOaepSha1;
    assert!(
        error!(kms.decrypt().ciphertext_blob(blob()).encryption_algorithm(algorithm)).is_invalid_key_usage_exception()
    );
    assert!(error!(kms.decrypt().ciphertext_blob(blob()).grant_tokens("x")).is_invalid_grant_token_exception());
    let modifier = DryRunModifierType::IgnoreCiphertext;
    assert!(
        error!(kms.decrypt().key_id(id).dry_run(true).dry_run_modifiers(modifier)).is_dry_run_operation_exception()
    );
    let blob = blob();
    kms.disable_key().key_id(id).send().await.unwrap();
    assert!(error!(kms.decrypt().ciphertext_blob(blob)).is_disabled_exception());
    // Not in the model, so without a type of their own.
    let refused = error!(kms.generate_random());
    assert_eq!((refused.code(), refused.message()), (Some("ValidationException"), Some("NumberOfBytes is required.")));
    assert!(refused.meta().request_id().is_some());
}
