//! The floor: one thread that only asks a SoftHSM token to encrypt 32 bytes, again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::support::SOFTHSM;

/// A token of its own, with an AES-256 key.
pub struct BareToken {
    session: Session,
    key: ObjectHandle,
    copy: ObjectHandle,
}

/// Encryptions a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// Under a key on the token.
    pub token_key: f64,
    /// Under a copy of it in the session.
    pub session_copy: f64,
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
        let key = session.generate_key(&Mechanism::AesKeyGen, &template()).expect("a key");
        let copy = session.copy_object(key, &[Attribute::Token(false)]).expect("a copy");
        BareToken { session, key, copy }
    }

    /// Encrypts for `time` with each of the keys.
    pub fn measure(&self, time: Duration) -> Rate {
        Rate { token_key: self.rate(self.key, time), session_copy: self.rate(self.copy, time) }
    }

    fn rate(&self, key: ObjectHandle, time: Duration) -> f64 {
        let begun = Instant::now();
        let mut count: u32 = 0;
        while begun.elapsed() < time {
            self.encrypt(key, count);
            count += 1;
        }
        f64::from(count) / begun.elapsed().as_secs_f64()
    }

    fn encrypt(&self, key: ObjectHandle, count: u32) {
        let mut iv = [0; 12];
        iv[..4].copy_from_slice(&count.to_be_bytes());
        let params = GcmParams::new(&mut iv, &[7; 60], 128.into()).expect("parameters");
        let sealed = self.session.encrypt(&Mechanism::AesGcm(params), key, &[9; 32]).expect("a ciphertext");
        assert_eq!(sealed.len(), 48);
    }
}

fn template() -> [Attribute; 6] {
    [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
    ]
}
