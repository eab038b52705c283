//! Public keys whose bytes are known, and bytes that are none.

use hsm_kms::crypto::{InvalidPublicKey, PublicKey};
use hsm_kms::model::KeyPairSpec;

/// The base points of the curves, whose discrete logarithm is one: SEC 2 v2, §2.4.1, §2.4.2, §2.5.1, §2.6.1.
const GENERATORS: [(KeyPairSpec, &str, &str); 4] = [
    (
        KeyPairSpec::EccNistP256,
        "3059301306072a8648ce3d020106082a8648ce3d030107034200",
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
         4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    ),
    (
        KeyPairSpec::EccSecgP256k1,
        "3056301006072a8648ce3d020106052b8104000a034200",
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
         483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
    ),
    (
        KeyPairSpec::EccNistP384,
        "3076301006072a8648ce3d020106052b81040022036200",
        "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
         3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
    ),
    (
        KeyPairSpec::EccNistP521,
        "30819b301006072a8648ce3d020106052b8104002303818600",
        "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1\
         856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550\
         b9013fad0761353c7086a272c24088be94769fd16650",
    ),
];

/// RFC 8410 §10.1.
const ED25519_SPKI: &str = "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

/// RSA-2048 of the modulus 2²⁰⁴⁸ − 1: no key, but odd and of the right size, and its bytes are easily written down.
const RSA_HEAD: &str = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100";
const RSA_TAIL: &str = "0203010001";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal digits")
}

fn refused(spec: KeyPairSpec, spki: &[u8], why: &str) {
    assert_eq!(PublicKey::from_spki(spec, spki).err(), Some(InvalidPublicKey(spec)), "{spec}: {why}");
}

#[test]
fn the_base_points_have_the_bytes_of_the_standards() {
    for (spec, head, point) in GENERATORS {
        let (head, point) = (bytes(head), bytes(point));
        let spki = [&head[..], &point].concat();
        let key = PublicKey::from_point(spec, &point).unwrap();
        assert_eq!(hex::encode(key.spki()), hex::encode(&spki), "{spec}");
        assert_eq!(PublicKey::from_spki(spec, &spki).unwrap().point(), Some(&point[..]));
    }
    let spki = bytes(ED25519_SPKI);
    let key = PublicKey::from_point(KeyPairSpec::EccNistEdwards25519, &spki[12..]).unwrap();
    assert_eq!(key.spki(), spki);
    assert_eq!(key.point(), Some(&spki[12..]));
}

#[test]
fn an_rsa_key_has_the_bytes_of_the_standard() {
    let spki = [bytes(RSA_HEAD), vec![0xff; 256], bytes(RSA_TAIL)].concat();
    for zeros in 0..3 {
        let modulus = [vec![0; zeros], vec![0xff; 256]].concat();
        let key = PublicKey::from_rsa(KeyPairSpec::Rsa2048, &modulus, &[1, 0, 1]).unwrap();
        assert_eq!(hex::encode(key.spki()), hex::encode(&spki));
        assert_eq!(key.point(), None);
    }
}

#[test]
fn rsa_keys_of_another_size_or_without_sense_are_refused() {
    let odd = |len: usize| vec![0xff; len];
    let even = [vec![0xff; 255], vec![0xfe]].concat();
    let short = [vec![0x7f], vec![0xff; 255]].concat();
    let cases: [(Vec<u8>, &[u8], &str); 11] = [
        (odd(384), &[1, 0, 1], "3,072 bits"),
        (odd(255), &[1, 0, 1], "2,040 bits"),
        (odd(257), &[1, 0, 1], "2,056 bits"),
        (short, &[1, 0, 1], "2,047 bits"),
        (even, &[1, 0, 1], "an even modulus"),
        (vec![], &[1, 0, 1], "no modulus"),
        (vec![0; 256], &[1, 0, 1], "a modulus of zero"),
        (odd(256), &[], "no exponent"),
        (odd(256), &[1], "an exponent of one"),
        (odd(256), &[2], "an even exponent"),
        (odd(256), &[1, 0, 0, 0, 0, 0, 1], "a long exponent"),
    ];
    for (modulus, exponent, why) in cases {
        assert!(PublicKey::from_rsa(KeyPairSpec::Rsa2048, &modulus, exponent).is_err(), "{why}");
    }
    for spec in KeyPairSpec::ALL.iter().filter(|spec| spec.modulus_len().is_none()) {
        assert!(PublicKey::from_rsa(*spec, &odd(256), &[1, 0, 1]).is_err(), "{spec}");
    }
}

#[test]
fn points_in_another_form_or_off_the_curve_are_refused() {
    for (spec, head, point) in GENERATORS {
        let (head, point) = (bytes(head), bytes(point));
        let width = spec.coordinate_len().unwrap();
        let parity = 2 + (point[2 * width] & 1);
        let with = |first: u8| [&[first], &point[1..]].concat();
        let mut off_the_curve = point.clone();
        off_the_curve[2 * width] ^= 1;
        let cases = [
            (vec![], "nothing"),
            (vec![0], "the point at infinity"),
            ([&[parity], &point[1..=width]].concat(), "a compressed point"),
            (with(6), "a hybrid point"),
            (with(7), "a hybrid point"),
            (with(0), "an unknown form"),
            (point[1..].to_vec(), "coordinates alone"),
            ([&point[..], &[0]].concat(), "a byte more"),
            (point[..2 * width].to_vec(), "a byte less"),
            (vec![4; 1 + 2 * width], "another point"),
            ([vec![4], vec![0; 2 * width]].concat(), "zeros"),
            ([vec![4], vec![0xff; 2 * width]].concat(), "coordinates out of the field"),
            (off_the_curve, "another y"),
            ([&head[..], &point].concat(), "a whole structure"),
            ([&[4, u8::try_from(point.len()).unwrap()], &point[..]].concat(), "wrapped as tokens do"),
        ];
        for (wrong, why) in cases {
            assert!(PublicKey::from_point(spec, &wrong).is_err(), "{spec}: {why}");
            // The same in a structure whose lengths fit, as far as they fit in a byte.
            if let Some(spki) = structure(&head, &wrong).filter(|_| spec != KeyPairSpec::EccNistP521) {
                refused(spec, &spki, why);
            }
        }
    }
    assert!(PublicKey::from_point(KeyPairSpec::EccNistEdwards25519, &[1; 31]).is_err());
    assert!(PublicKey::from_point(KeyPairSpec::EccNistEdwards25519, &[1; 33]).is_err());
    assert!(PublicKey::from_point(KeyPairSpec::EccNistEdwards25519, &bytes(ED25519_SPKI)).is_err());
    assert!(PublicKey::from_point(KeyPairSpec::Rsa2048, &[4; 65]).is_err());
}

/// A structure with the algorithm of `head`, whose lengths are a byte each, and another point.
fn structure(head: &[u8], point: &[u8]) -> Option<Vec<u8>> {
    let algorithm = &head[2..head.len() - 3];
    let bits = u8::try_from(point.len() + 1).ok().filter(|len| *len < 0x80)?;
    let all = u8::try_from(algorithm.len() + 2 + usize::from(bits)).ok().filter(|len| *len < 0x80)?;
    Some([&[0x30, all], algorithm, &[0x03, bits, 0], point].concat())
}

#[test]
fn other_encodings_of_a_good_key_are_refused() {
    let (spec, head, point) = GENERATORS[0];
    let good = [bytes(head), bytes(point)].concat();
    assert!(PublicKey::from_spki(spec, &good).is_ok());
    refused(spec, &[&good[..], &[0]].concat(), "a byte after it");
    refused(spec, &[&good[..], &good[..]].concat(), "twice");
    refused(spec, &[&[0x30, 0x81, 0x59], &good[2..]].concat(), "a length that is not minimal");
    refused(spec, &[&[0x30, 0x80], &good[2..], &[0, 0]].concat(), "a length without end");
    for len in 0..good.len() {
        refused(spec, &good[..len], "cut short");
    }
    for at in 0..good.len() * 8 {
        let mut wrong = good.clone();
        wrong[at / 8] ^= 1 << (at % 8);
        refused(spec, &wrong, "a bit differs");
    }
    let ed25519 = bytes(ED25519_SPKI);
    let spec = KeyPairSpec::EccNistEdwards25519;
    refused(spec, &[&bytes("302c300706032b65700500"), &ed25519[9..]].concat(), "with NULL");
    refused(spec, &[&bytes("302a300506032b656e"), &ed25519[9..]].concat(), "X25519");
    let spec = KeyPairSpec::Rsa2048;
    let number = [vec![0xff; 256], bytes(RSA_TAIL)].concat();
    assert!(PublicKey::from_spki(spec, &[bytes(RSA_HEAD), number.clone()].concat()).is_ok());
    let without_null = "30820120300b06092a864886f70d0101010382010f003082010a0282010100";
    refused(spec, &[bytes(without_null), number.clone()].concat(), "without NULL");
    let bare = "3082010a0282010100";
    refused(spec, &[bytes(bare), number.clone()].concat(), "a bare RSAPublicKey");
    let pss = "30820122300d06092a864886f70d01010a05000382010f003082010a0282010100";
    refused(spec, &[bytes(pss), number].concat(), "id-RSASSA-PSS");
}

#[test]
fn a_key_is_that_of_its_own_spec_alone() {
    for (owner, head, point) in GENERATORS {
        let spki = [bytes(head), bytes(point)].concat();
        for spec in KeyPairSpec::ALL.iter().filter(|spec| **spec != owner) {
            refused(*spec, &spki, "another spec's");
        }
    }
    let rsa = [bytes(RSA_HEAD), vec![0xff; 256], bytes(RSA_TAIL)].concat();
    for spec in KeyPairSpec::ALL.iter().filter(|spec| **spec != KeyPairSpec::Rsa2048) {
        refused(*spec, &rsa, "another spec's");
        refused(*spec, &[], "nothing");
    }
}
