//! ECDSA signatures in their two forms: r‖s as tokens make them, and DER as AWS speaks them.

use crate::model::KeyPairSpec;

/// The bytes are no signature of that form for that curve.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ECDSA signature is malformed")]
pub struct MalformedSignature;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// The DER `SEQUENCE { r INTEGER, s INTEGER }` of r‖s, each half of the curve's width; at most 141 bytes.
///
/// Fails if the length is not twice the curve's width, if a half is zero, or if the spec has no ECDSA.
///
/// Source: RFC 3279 §2.2.3; PKCS#11 v3.1 §6.3.1 for r‖s.
pub fn ecdsa_der(spec: KeyPairSpec, raw: &[u8]) -> Result<Vec<u8>, MalformedSignature> {
    let width = spec.coordinate_len().ok_or(MalformedSignature)?;
    if raw.len() != 2 * width {
        return Err(MalformedSignature);
    }
    let (r, s) = raw.split_at(width);
    let numbers = [integer(r)?, integer(s)?].concat();
    let mut der = vec![SEQUENCE];
    match u8::try_from(numbers.len()).map_err(|_| MalformedSignature)? {
        short @ 0..=0x7f => der.push(short),
        long => der.extend([0x81, long]),
    }
    der.extend(numbers);
    Ok(der)
}

/// The r‖s of a DER signature, each half of the curve's width: what [`ecdsa_der`] undoes, byte for byte.
///
/// Fails on anything but minimal DER of two positive numbers that fit the width, with nothing after it.
pub fn ecdsa_raw(spec: KeyPairSpec, der: &[u8]) -> Result<Vec<u8>, MalformedSignature> {
    let width = spec.coordinate_len().ok_or(MalformedSignature)?;
    let (numbers, rest) = match der {
        [SEQUENCE, 0x81, len @ 0x80..=0xff, rest @ ..] | [SEQUENCE, len @ 0..=0x7f, rest @ ..] => take(rest, *len)?,
        _ => return Err(MalformedSignature),
    };
    let (r, numbers) = positive(numbers)?;
    let (s, numbers) = positive(numbers)?;
    if !rest.is_empty() || !numbers.is_empty() {
        return Err(MalformedSignature);
    }
    Ok([padded(r, width)?, padded(s, width)?].concat())
}

/// The DER `INTEGER` of a positive number.
fn integer(number: &[u8]) -> Result<Vec<u8>, MalformedSignature> {
    let first = number.iter().position(|byte| *byte != 0).ok_or(MalformedSignature)?;
    let digits = &number[first..];
    // A number whose first bit is set would read as a negative one.
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    let len = u8::try_from(sign.len() + digits.len()).map_err(|_| MalformedSignature)?;
    Ok([&[INTEGER, len], sign, digits].concat())
}

/// A DER `INTEGER` at the start, which must be positive and minimal: its digits, and what follows.
fn positive(der: &[u8]) -> Result<(&[u8], &[u8]), MalformedSignature> {
    let [INTEGER, len @ 0..=0x7f, rest @ ..] = der else { return Err(MalformedSignature) };
    let (number, rest) = take(rest, *len)?;
    match number {
        [0, digits @ ..] if digits.first() >= Some(&0x80) => Ok((digits, rest)),
        [0x01..=0x7f, ..] => Ok((number, rest)),
        _ => Err(MalformedSignature),
    }
}

fn padded(digits: &[u8], width: usize) -> Result<Vec<u8>, MalformedSignature> {
    let missing = width.checked_sub(digits.len()).ok_or(MalformedSignature)?;
    Ok([&vec![0; missing], digits].concat())
}

fn take(bytes: &[u8], len: u8) -> Result<(&[u8], &[u8]), MalformedSignature> {
    bytes.split_at_checked(len.into()).ok_or(MalformedSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPECS: [KeyPairSpec; 4] =
        [KeyPairSpec::EccNistP256, KeyPairSpec::EccNistP384, KeyPairSpec::EccNistP521, KeyPairSpec::EccSecgP256k1];

    #[test]
    fn known_numbers_have_known_bytes() {
        let spec = KeyPairSpec::EccNistP256;
        let raw = |r: u8, s: u8| [[0; 31].as_slice(), &[r], &[0; 31], &[s]].concat();
        assert_eq!(ecdsa_der(spec, &raw(1, 0x7f)).unwrap(), hex::decode("300602010102017f").unwrap());
        assert_eq!(ecdsa_der(spec, &raw(0x80, 0xff)).unwrap(), hex::decode("300802020080020200ff").unwrap());
        let largest = ecdsa_der(KeyPairSpec::EccNistP521, &[0xff; 132]).unwrap();
        assert_eq!((largest.len(), &largest[..6]), (141, &[0x30, 0x81, 0x8a, 0x02, 0x43, 0x00][..]));
        assert_eq!(ecdsa_raw(KeyPairSpec::EccNistP521, &largest).unwrap(), [0xff; 132]);
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let spec = KeyPairSpec::EccNistP256;
        for raw in [vec![], vec![1; 63], vec![1; 65], vec![1; 96], vec![0; 64], [[0; 32], [1; 32]].concat()] {
            assert_eq!(ecdsa_der(spec, &raw), Err(MalformedSignature), "{raw:?}");
        }
        let bad = [
            ("", "nothing"),
            ("3006020101020101ff", "something after the sequence"),
            ("3007020101020101ff", "something after the numbers"),
            ("300602010102017", "odd"),
            ("3005020101020101", "a short length"),
            ("3007020101020101", "a long length"),
            ("308106020101020101", "a length not minimal"),
            ("30820006020101020101", "a length not minimal"),
            ("3080020101020101", "a length without end"),
            ("30070202000102017f", "a zero that need not be"),
            ("3006020100020101", "r is zero"),
            ("3006020101020100", "s is zero"),
            ("3005020002020101", "r is empty"),
            ("3006020180020101", "r is negative"),
            ("30060201010201ff", "s is negative"),
            ("3106020101020101", "a set"),
            ("3006030101020101", "a bit string"),
            ("3003020101", "one number"),
            ("3009020101020101020101", "three numbers"),
        ];
        for (der, why) in bad {
            let der = hex::decode(der).unwrap_or_default();
            assert_eq!(ecdsa_raw(spec, &der), Err(MalformedSignature), "{why}");
        }
        let wide = ecdsa_der(KeyPairSpec::EccNistP384, &[1; 96]).unwrap();
        assert_eq!(ecdsa_raw(spec, &wide), Err(MalformedSignature));
        assert_eq!(ecdsa_raw(KeyPairSpec::Rsa2048, &hex::decode("3006020101020101").unwrap()), Err(MalformedSignature));
        assert_eq!(ecdsa_der(KeyPairSpec::EccNistEdwards25519, &[1; 64]), Err(MalformedSignature));
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same(bytes in prop::collection::vec(any::<u8>(), 132), zeros in 0_usize..32, which in 0_usize..4) {
            let width = SPECS[which].coordinate_len().unwrap();
            let mut raw = bytes[..2 * width].to_vec();
            raw[..zeros].fill(0);
            raw[width..width + zeros / 2].fill(0);
            (raw[width - 1], raw[2 * width - 1]) = (raw[width - 1] | 1, raw[2 * width - 1] | 1);
            let der = ecdsa_der(SPECS[which], &raw).unwrap();
            prop_assert_eq!(ecdsa_raw(SPECS[which], &der).unwrap(), raw);
        }

        #[test]
        fn what_is_read_is_written_as_it_was(mut der in prop::collection::vec(any::<u8>(), 0..20), like in any::<bool>()) {
            if like && der.len() >= 8 {
                let len = der.len();
                (der[0], der[1], der[2], der[3]) = (0x30, len as u8 - 2, 2, 1);
                (der[5], der[6]) = (2, len as u8 - 7);
            }
            for spec in SPECS {
                if let Ok(raw) = ecdsa_raw(spec, &der) {
                    prop_assert_eq!(ecdsa_der(spec, &raw).unwrap(), der.clone());
                }
            }
        }
    }
}
