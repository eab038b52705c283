use serde_json::json;

use crate::rig::Rig;
use crate::support::wire::{Request, exchange};

#[test]
fn two_tokens_serve() {
    let rig = Rig::new(&["one", "two"]);
    let service = rig.serve();
    for region in ["us-east-1", "eu-west-1"] {
        let request = Request { region: region.into(), ..Request::kms("CreateKey", &json!({})) };
        let answer = exchange(&service.address(), &request.signed(&service));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!((rig.shim.calls_of("one", "C_Login"), rig.shim.calls_of("two", "C_Login")), (2, 2));
}
