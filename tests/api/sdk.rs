//! The official SDK: every operation, and its typed errors.

use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    DataKeySpec, DryRunModifierType, EncryptionAlgorithmSpec, KeyLastUsageTrackingOperation, KeySpec, KeyState,
    KeyUsageType, OriginType, Tag,
};

use super::*;

#[tokio::test]
async fn a_keys_life() {
    let service = Service::start();
    let kms = service.client();
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

#[tokio::test]
async fn aliases_and_cryptography() {
    let service = Service::start();
    let kms = service.client();
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

/// Sends, and gives the operation's own error.
macro_rules! error {
    ($request:expr) => {
        $request.send().await.unwrap_err().into_service_error()
    };
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
    assert!(error!(kms.create_key().multi_region(true)).is_unsupported_operation_exception());
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
    let unknown = error!(kms.replicate_key().key_id(id).replica_region("eu-west-1"));
    assert_eq!(unknown.code(), Some("UnknownOperationException"));
}
