//! The floor: one thread that asks a SoftHSM token for the one call that an operation needs, again and again. For a data
//! key pair, which the token has no part in but to wrap its seed, it makes pairs on the host.

use std::path::Path;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use hsm_kms::crypto::KeyPair;
use hsm_kms::model::KeyPairSpec;

use crate::support::SOFTHSM;

/// A token of its own, with a key of each kind.
pub struct BareToken {
    session: Session,
    aes: ObjectHandle,
    aes_copy: ObjectHandle,
    rsa: ObjectHandle,
    p256: ObjectHandle,
    hmac: ObjectHandle,
}

/// Calls a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// Under a key on the token; for data key pairs, on the host.
    pub token_key: f64,
    /// Under a copy of it in the session, where the service uses one.
    pub session_copy: Option<f64>,
}

impl BareToken {
    /// Makes a token in `folder`. Call it before any thread exists: it sets `SOFTHSM2_CONF`.
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("tokens")).expect("a folder");
        let conf = folder.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.join("tokens").display());
        std::fs::write(&conf, text).expect("a configuration");
        hsm_kms::token::set_module_environment("SOFTHSM2_CONF", conf.as_os_str());
        let module = Pkcs11::new(SOFTHSM).expect("SoftHSM");
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("an initialised module");
        let slot = module.get_slots_with_token().expect("slots")[0];
        let pin = AuthPin::from(String::from("1234"));
        module.init_token(slot, &pin, "bare").expect("a token");
        let session = module.open_rw_session(slot).expect("a session");
        session.login(UserType::So, Some(&pin)).expect("the security officer's login");
        session.init_pin(&pin).expect("a PIN");
        session.logout().expect("a logout");
        session.login(UserType::User, Some(&pin)).expect("a login");
        let secret = |mechanism, operation| {
            let template = [&PRIVATE[..], &[Attribute::ValueLen(32.into()), operation]].concat();
            session.generate_key(&mechanism, &template).expect("a key")
        };
        let aes = secret(Mechanism::AesKeyGen, Attribute::Encrypt(true));
        let hmac = secret(Mechanism::GenericSecretKeyGen, Attribute::Sign(true));
        let aes_copy = session.copy_object(aes, &[Attribute::Token(false)]).expect("a copy");
        let pair = |mechanism, public: &[Attribute], operations: &[Attribute]| {
            let pair = session.generate_key_pair(&mechanism, public, &[&PRIVATE[..], operations].concat());
            pair.expect("a key pair").1
        };
        let modulus = [Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1])];
        let both = [Attribute::Sign(true), Attribute::Decrypt(true)];
        let rsa = pair(Mechanism::RsaPkcsKeyPairGen, &modulus, &both);
        let p256 = pair(Mechanism::EccKeyPairGen, &[Attribute::EcParams(P256.to_vec())], &both[..1]);
        BareToken { session, aes, aes_copy, rsa, p256, hmac }
    }

    /// Does for `time` what the operation needs, with each of the keys that there are for it.
    pub fn measure(&self, operation: &str, time: Duration) -> Rate {
        let of_token = |token_key| Rate { token_key, session_copy: None };
        match operation {
            "Sign/RSA_2048" => of_token(self.signatures(&Mechanism::RsaPkcs, self.rsa, &[7; 51], time)),
            "Sign/ECC_NIST_P256" => of_token(self.signatures(&Mechanism::Ecdsa, self.p256, &[7; 32], time)),
            "GenerateMac/HMAC_256" => of_token(self.signatures(&Mechanism::Sha256Hmac, self.hmac, &[7; 32], time)),
            "Decrypt/RSA_2048" => of_token(rate(time, |_| {
                let plaintext = self.session.decrypt(&Mechanism::RsaX509, self.rsa, &[7; 256]).expect("a plaintext");
                assert_eq!(plaintext.len(), 256);
            })),
            "GenerateDataKeyPair/ECC_NIST_P256" => of_token(pairs(KeyPairSpec::EccNistP256, time)),
            "GenerateDataKeyPair/RSA_2048" => of_token(pairs(KeyPairSpec::Rsa2048, time)),
            _ => Rate {
                token_key: rate(time, |count| self.encrypt(self.aes, count)),
                session_copy: Some(rate(time, |count| self.encrypt(self.aes_copy, count))),
            },
        }
    }

    fn signatures(&self, mechanism: &Mechanism<'_>, key: ObjectHandle, data: &[u8], time: Duration) -> f64 {
        rate(time, |_| assert!(!self.session.sign(mechanism, key, data).expect("a signature").is_empty()))
    }

    fn encrypt(&self, key: ObjectHandle, count: u32) {
        let mut iv = [0; 12];
        iv[..4].copy_from_slice(&count.to_be_bytes());
        let params = GcmParams::new(&mut iv, &[7; 60], 128.into()).expect("parameters");
        let sealed = self.session.encrypt(&Mechanism::AesGcm(params), key, &[9; 32]).expect("a ciphertext");
        assert_eq!(sealed.len(), 48);
    }
}

fn pairs(spec: KeyPairSpec, time: Duration) -> f64 {
    rate(time, |_| drop(KeyPair::generate(spec).expect("a key pair")))
}

/// How often a second something can be done, one after the other; it is told how often it was done before.
fn rate(time: Duration, mut work: impl FnMut(u32)) -> f64 {
    let begun = Instant::now();
    let mut count: u32 = 0;
    while begun.elapsed() < time {
        work(count);
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

const PRIVATE: [Attribute; 4] =
    [Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
/// The name of the curve P-256, in DER.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
