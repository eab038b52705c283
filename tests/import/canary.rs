//! Material that was imported is nowhere: not in the store, the record, the token's files, nor a log that tells all.

use std::process::Command;

use crate::oracle::Oracle;
use crate::secrets::{Canaries, Canary};
use crate::support::PROGRAM;
use crate::*;

#[test]
fn no_material_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = Command::new(PROGRAM);
    command.env("HSM_KMS_LOG", "trace").args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let service = Service::spawn(&data, &mut command).unwrap();
    let mut oracle = Oracle::new();
    let mut canaries = Canaries::default();
    let kinds = [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("HMAC_512", "GENERATE_VERIFY_MAC"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
        ("ECC_NIST_P384", "SIGN_VERIFY"),
        ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    ];
    for (spec, usage) in kinds {
        // Unwrapped by the token, by the host, and refused after that.
        for algorithm in
            ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"]
        {
            if spec == "RSA_2048" && algorithm.starts_with("RSAES") {
                continue;
            }
            let key = new_key(&service, spec, usage);
            let given = parameters(&service, &key, algorithm, "RSA_2048");
            let [good, refused] = [(); 2].map(|()| material(&mut oracle, spec));
            let [request, other] = [&good, &refused].map(|material| given.import(&mut oracle, &key, &material.0));
            ok(&service, "ImportKeyMaterial", &request);
            assert_eq!(call(&service, "ImportKeyMaterial", &other).error(), "IncorrectKeyMaterialException");
            ok(&service, "ImportKeyMaterial", &request);
            for (secret, places) in [good, refused] {
                for at in places {
                    let name = format!("{spec} by {algorithm}, byte {at}");
                    canaries.add(Canary::of_bytes(&name, &secret[at..]));
                }
            }
        }
    }
    assert_eq!(canaries.len(), 2 * (4 + 4 + 6 + 4 + 4));
    // Refusals are logged at debug level: without one, this would not be the log that was asked for.
    assert!(service.log().contains(r#""level":"DEBUG""#), "{}", service.log());
    let log = data.with_extension("log");
    canaries.assert_absent_in(&[&data, &log], &[]);
    service.terminate();
    canaries.assert_absent_in(&[&data, &log], &[]);
}

/// New material, and where in it secret bytes begin.
fn material(oracle: &mut Oracle, spec: &str) -> (Vec<u8>, Vec<usize>) {
    match spec {
        "SYMMETRIC_DEFAULT" => (oracle.random(32), vec![0]),
        "HMAC_512" => (oracle.random(64), vec![0]),
        // Within the private exponent and both primes (RFC 8017 §A.1.2).
        "RSA_2048" => (oracle.pair(spec).private, vec![400, 620, 760]),
        // Behind the headers of PKCS#8 and of the private number itself (RFC 5958, RFC 5915).
        "ECC_NIST_P384" => (oracle.pair(spec).private, vec![36]),
        _ => (oracle.pair(spec).private, vec![17]),
    }
}
