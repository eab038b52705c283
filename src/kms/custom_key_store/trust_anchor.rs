//! The certificate that a custom key store is created with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A certificate: the bytes of its DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor(Vec<u8>);

impl TrustAnchor {
    /// Reads one certificate in PEM (RFC 7468 §5); `None` if it is not one. Its signature and its dates are nobody's
    /// concern here: it is compared, byte by byte.
    pub fn from_pem(text: &str) -> Option<Self> {
        let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
        let base64: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(base64).ok()?;
        is_sequence(&der).then_some(TrustAnchor(der))
    }
}

/// Whether this is one DER SEQUENCE and nothing behind it, as a certificate is (RFC 5280 §4.1).
fn is_sequence(der: &[u8]) -> bool {
    let Some((&[0x30, length], rest)) = der.split_first_chunk::<2>() else { return false };
    if length < 0x80 {
        return rest.len() == usize::from(length);
    }
    let octets = usize::from(length & 0x7f);
    let (Some(length), Some(content)) = (rest.get(..octets), rest.get(octets..)) else { return false };
    let value = length.iter().try_fold(0_usize, |value, octet| value.checked_mul(256)?.checked_add((*octet).into()));
    octets > 0 && value == Some(content.len())
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    #[test]
    fn one_certificate_and_nothing_else() {
        let der = [&[0x30, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(TrustAnchor::from_pem(&pem(&der)), Some(TrustAnchor(der.clone())));
        assert_eq!(TrustAnchor::from_pem(&pem(&der).replace('\n', "\r\n")), Some(TrustAnchor(der.clone())));
        assert_eq!(TrustAnchor::from_pem(&pem(&[0x30, 1, 0])), Some(TrustAnchor(vec![0x30, 1, 0])));
        for bad in
            [&der[..der.len() - 1], &[&der[..], &[0]].concat(), &[], &[0x30], &[0x30, 0x80], &[0x31, 0], &[0x30; 9]]
        {
            assert_eq!(TrustAnchor::from_pem(&pem(bad)), None, "{bad:?}");
        }
        for bad in ["", "-----BEGIN CERTIFICATE-----", "MAA=", &pem(&der).replace("CERTIFICATE", "PUBLIC KEY")] {
            assert_eq!(TrustAnchor::from_pem(bad), None, "{bad}");
        }
        assert_eq!(TrustAnchor::from_pem(&pem(&der).repeat(2)), None);
    }
}
