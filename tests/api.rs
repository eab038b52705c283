//! The operations, through the SDK and byte by byte.

mod support;

use serde_json::json;
use support::Service;
use support::wire::Request;

#[tokio::test]
async fn a_data_key_comes_back() {
    let service = Service::start();
    let kms = service.client();
    let key = kms.create_key().description("this is a test").send().await.unwrap().key_metadata.unwrap();
    let made = kms
        .generate_data_key()
        .key_id(key.key_id())
        .key_spec(aws_sdk_kms::types::DataKeySpec::Aes256)
        .encryption_context("purpose", "test")
        .send()
        .await
        .unwrap();
    let back = kms
        .decrypt()
        .ciphertext_blob(made.ciphertext_blob.unwrap())
        .encryption_context("purpose", "test")
        .send()
        .await
        .unwrap();
    assert_eq!(back.plaintext, made.plaintext);
    assert_eq!(back.key_id, key.arn);
}

#[test]
fn unknown_operations_are_refused_in_awss_form() {
    let service = Service::start();
    let answer = Request::kms("CreateGrant", &json!({})).send(&service);
    assert_eq!((answer.status, answer.error().as_str()), (400, "UnknownOperationException"));
    assert!(answer.header("x-amzn-requestid").is_some());
}
