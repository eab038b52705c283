//! When an access key was last used.

use serde_json::{Value, json};

use crate::support::Service;
use crate::{Key, done, new_user};

#[test]
fn is_known_at_once_and_after_the_next_start() {
    let service = Service::start();
    let (alice, bob) = (new_user(&service, "alice"), new_user(&service, "bob"));
    let unused = json!({ "ServiceName": "N/A", "Region": "N/A" });
    assert_eq!(last_use(&service, &alice), json!({ "UserName": "alice", "AccessKeyLastUsed": unused }));
    // A signature that does not hold is no use.
    let wrong = Key { secret: bob.secret.clone(), ..alice.clone() };
    assert!(wrong.try_random(&service).is_err());
    assert_eq!(last_use(&service, &alice)["AccessKeyLastUsed"], unused);
    // What is refused afterwards is one.
    assert_eq!(alice.try_random(&service), Err("AccessDeniedException".into()));
    let used = last_use(&service, &alice);
    let times = &used["AccessKeyLastUsed"];
    assert_eq!((&times["ServiceName"], &times["Region"]), (&json!("kms"), &json!("us-east-1")));
    assert!(times["LastUsedDate"].as_str().unwrap().starts_with("20"), "{used}");
    assert_eq!(last_use(&service, &bob)["AccessKeyLastUsed"], unused);
    let data = service.data().to_owned();
    let (_, _folder) = service.terminate();
    let service = Service::start_in(&data, &[]);
    assert_eq!(last_use(&service, &alice), used);
    assert_eq!(last_use(&service, &bob)["AccessKeyLastUsed"], unused);
}

fn last_use(service: &Service, key: &Key) -> Value {
    done(service, "GetAccessKeyLastUsed", json!({ "AccessKeyId": key.id }))
}
