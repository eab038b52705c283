//! What a token uses up of a key's nonces without being asked to.

use serde_json::json;

use crate::load::ask;
use crate::process::until;
use crate::rig::Rig;

/// Every encryption takes two tries, and the token makes an IV in each: the key rotates by itself after half as many.
#[test]
fn second_tries_count_where_the_token_makes_the_iv() {
    let mut rig = Rig::new(&["one"]);
    rig.profile = Some("schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_zeroed_iv\"]\n".to_owned());
    rig.more = "[kms]\nnonce_budget = 64\n".to_owned();
    rig.shim.rules("gcm_iv zeroed");
    let service = rig.serve();
    let key = ask(&service, EAST, "CreateKey", json!({}))["KeyMetadata"]["KeyId"].clone();
    let failures: Vec<String> =
        (0..ENCRYPTIONS).map(|n| format!("fail CKR_FUNCTION_FAILED C_Encrypt nth {}", 2 * n + 1)).collect();
    rig.shim.rules(&format!("gcm_iv zeroed\n{}", failures.join("\n")));
    for _ in 0..ENCRYPTIONS {
        ask(&service, EAST, "Encrypt", json!({ "KeyId": key, "Plaintext": "eA==" }));
    }
    rig.shim.rules("gcm_iv zeroed");
    until("it has rotated", || {
        let told = ask(&service, EAST, "ListKeyRotations", json!({ "KeyId": key }));
        told["Rotations"].as_array().is_some_and(|rotations| !rotations.is_empty())
    });
    assert!(service.terminate().0.success());
}

const EAST: &str = "us-east-1";
/// More than three eighths of the budget, and fewer than three quarters.
const ENCRYPTIONS: usize = 32;
