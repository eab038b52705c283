//! Killed at every step of a replication and of a rotation over two Regions: what was begun is there wholly or not at all.

use hsm_kms::crash_point;

use super::*;

#[test]
fn what_was_begun_is_there_wholly_or_not_at_all() {
    let machine = Machine::new(&[]);
    let settings = machine.settings(&[EAST, WEST], &[]);
    // Its address answers before its access key is in the store: only an answer says that it is.
    let service = machine.serve(&settings);
    ok(&service, EAST, "ListKeys", json!({}));
    assert!(service.terminate().0.success());
    let dying = |point: &str| {
        let mut command = machine.command(&["serve", "--config", "settings.toml"]);
        machine.serve_as(command.env(crash_point::VARIABLE, point))
    };
    let dies = |service: Service, operation: &str, body: Value| {
        let request = Request { region: EAST.into(), ..Request::kms(operation, &body) };
        let answer = support::wire::try_exchange(&service.address(), &request.signed(&service));
        assert!(answer.is_none(), "{operation} was answered: {answer:?}");
        service.ended();
    };
    // The store's root is there, and nothing else.
    let count = |purpose: &str| machine.objects("east").iter().filter(|label| label.contains(purpose)).count();
    for point in ["replication-key-begun", "replication-key-on-token", "creation-begun", "creation-on-token"] {
        dies(dying(point), "CreateKey", json!({ "MultiRegion": true }));
        let service = machine.serve(&settings);
        assert_eq!(ok(&service, EAST, "ListKeys", json!({}))["Keys"], json!([]), "{point}");
        assert!(service.terminate().0.success());
        let replication = usize::from(point.starts_with("creation"));
        assert_eq!([count("multi-region"), count("replication")], [0, replication], "{point}");
    }
    let service = machine.serve(&settings);
    let key = ok(&service, EAST, "CreateKey", json!({ "MultiRegion": true }))["KeyMetadata"]["KeyId"].clone();
    let key = key.as_str().unwrap();
    let blob = encrypt(&service, EAST, key, "before");
    assert!(service.terminate().0.success());

    let replicate = json!({ "KeyId": key, "ReplicaRegion": WEST });
    for point in ["replication-begun", "replication-on-token"] {
        dies(dying(point), "ReplicateKey", replicate.clone());
        let service = machine.serve(&settings);
        assert_eq!(refused(&service, WEST, "DescribeKey", json!({ "KeyId": key })).0, "NotFoundException", "{point}");
        assert_eq!(decrypt(&service, EAST, &blob), "before");
        assert!(service.terminate().0.success());
        assert_eq!(count("multi-region"), 1, "{point}");
    }
    // Once it is committed, it is there, answered or not, and on record.
    dies(dying("change-committed"), "ReplicateKey", replicate);
    let service = machine.serve(&settings);
    assert_eq!(decrypt(&service, WEST, &blob), "before");
    let named = |name: &str| service.audit().iter().filter(|line| line["event"]["eventName"] == name).count();
    assert_eq!(["ReplicateKey", "SynchronizeMultiRegionKey"].map(named), [1, 1]);
    assert!(service.terminate().0.success());

    for point in ["rotation-begun", "rotation-on-token", "rotation-on-replica"] {
        dies(dying(point), "RotateKeyOnDemand", json!({ "KeyId": key }));
        let service = machine.serve(&settings);
        for region in [EAST, WEST] {
            let rotations = ok(&service, region, "ListKeyRotations", json!({ "KeyId": key }))["Rotations"].clone();
            assert_eq!(rotations, json!([]), "{point}");
            assert_eq!(decrypt(&service, WEST, &encrypt(&service, region, key, point)), point);
        }
        assert!(service.terminate().0.success());
        assert_eq!(count("multi-region"), 2, "{point}");
    }
    dies(dying("change-committed"), "RotateKeyOnDemand", json!({ "KeyId": key }));
    let service = machine.serve(&settings);
    for (region, other) in [(EAST, WEST), (WEST, EAST)] {
        assert_eq!(decrypt(&service, other, &encrypt(&service, region, key, "after")), "after");
        assert_eq!(decrypt(&service, other, &blob), "before");
    }
    assert!(service.terminate().0.success());

    let update = json!({ "KeyId": key, "PrimaryRegion": WEST });
    dies(dying("change-committed"), "UpdatePrimaryRegion", update);
    let service = machine.serve(&settings);
    ok(&service, WEST, "RotateKeyOnDemand", json!({ "KeyId": key }));
    assert_eq!(decrypt(&service, EAST, &encrypt(&service, WEST, key, "moved")), "moved");
    assert!(!service.log().contains("nothing is destroyed"), "the token and the store agree");
    assert!(service.terminate().0.success());
    assert_eq!(count("multi-region"), 6);
}
