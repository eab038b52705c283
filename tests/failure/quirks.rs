//! The shim does what its rules say: what the other tests see of vendors and failures is what they asked for.

use std::path::Path;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki_sys::{CK_GCM_PARAMS, CK_MECHANISM, CK_MECHANISM_TYPE, CK_RV, CK_ULONG, CKM_AES_GCM, CKR_OK};

use crate::process::{LABEL, PIN, in_own_process, pin};
use crate::shim::{Shim, module};

#[test]
fn the_hsm_makes_the_iv() {
    in_own_process("quirks::the_hsm_makes_the_iv", |dir| {
        let (shim, card) = (Shim::in_dir(dir), Card::new(dir));
        let session = card.logged_in();
        let key = new_key(&session, 20).unwrap();

        shim.rules("gcm_iv zeroed");
        let (mut iv, mut again) = ([0; 12], [0; 12]);
        let sealed = card.encrypt(&session, key, CKM_AES_GCM, &mut iv).unwrap();
        card.encrypt(&session, key, CKM_AES_GCM, &mut again).unwrap();
        assert!(sealed.len() == 48 && iv != [0; 12] && iv != again, "{iv:?} {again:?}");
        assert_eq!(card.decrypt(&session, key, CKM_AES_GCM, &mut iv, &sealed).unwrap(), SEED);
        assert_eq!(card.encrypt(&session, key, CKM_AES_GCM, &mut iv).unwrap_err(), PARAM_INVALID, "an IV of ours");

        shim.rules("gcm_iv appended");
        let sealed = card.encrypt(&session, key, CKM_AES_GCM, &mut []).unwrap();
        assert_eq!(sealed.len(), 32 + 16 + 16);
        assert_eq!(card.decrypt(&session, key, CKM_AES_GCM, &mut [], &sealed).unwrap(), SEED);
        let (text, iv) = sealed.split_at(48);
        assert_eq!(card.decrypt(&session, key, CKM_AES_GCM, &mut iv.to_vec(), text).unwrap(), SEED);
        assert_eq!(card.encrypt(&session, key, CKM_AES_GCM, &mut [1; 12]).unwrap_err(), PARAM_INVALID);

        shim.rules("vendor_gcm\nhide 0x1087\nbad_tag CKR_ENCRYPTED_DATA_INVALID");
        let mut sealed = card.encrypt(&session, key, 0x8000_1087, &mut []).unwrap();
        assert_eq!(sealed.len(), 12 + 32 + 16);
        assert_eq!(card.decrypt(&session, key, 0x8000_1087, &mut [], &sealed).unwrap(), SEED);
        sealed[0] ^= 1;
        let refused = card.decrypt(&session, key, 0x8000_1087, &mut [], &sealed).unwrap_err();
        assert_eq!(refused, cryptoki_sys::CKR_ENCRYPTED_DATA_INVALID);
        assert_eq!(card.encrypt(&session, key, CKM_AES_GCM, &mut [1; 12]).unwrap_err(), MECHANISM_INVALID);
        let listed = card.context.get_mechanism_list(card.slot).unwrap();
        assert!(!listed.contains(&MechanismType::AES_GCM) && listed.contains(&MechanismType::AES_CBC));
        assert!(card.context.get_mechanism_info(card.slot, MechanismType::AES_GCM).is_err());

        shim.rules("");
        let sealed = card.encrypt(&session, key, CKM_AES_GCM, &mut [1; 12]).unwrap();
        assert_eq!(card.decrypt(&session, key, CKM_AES_GCM, &mut [1; 12], &sealed).unwrap(), SEED);
    });
}

#[test]
fn limits_and_names() {
    in_own_process("quirks::limits_and_names", |dir| {
        let (shim, card) = (Shim::in_dir(dir), Card::new(dir));
        let session = card.logged_in();
        shim.rules("sessions 3\nread_only refused\nid_max 2\nobjects 2\ndata 31");
        let info = card.context.get_token_info(card.slot).unwrap();
        assert_eq!(format!("{:?}", info.max_session_count()), "Max(3)");
        let more = [(); 2].map(|()| card.context.open_rw_session(card.slot).unwrap());
        assert_code(card.context.open_rw_session(card.slot), RvError::SessionCount);
        drop(more);
        assert_code(card.context.open_ro_session(card.slot), RvError::FunctionFailed);
        assert_code(new_key(&session, 3), RvError::AttributeValueInvalid);
        let key = new_key(&session, 2).unwrap();
        new_key(&session, 2).unwrap();
        assert_code(new_key(&session, 2), RvError::DeviceMemory);
        let refused = card.encrypt(&session, key, CKM_AES_GCM, &mut [1; 12]).unwrap_err();
        assert_eq!(refused, cryptoki_sys::CKR_DATA_LEN_RANGE);
        shim.rules(
            "data 32\nlibrary_manufacturer Cavium, Inc\nlibrary_version 5.17\ntoken_model Luna K7\ntoken_firmware 7.4",
        );
        card.encrypt(&session, key, CKM_AES_GCM, &mut [1; 12]).expect("an operation that failed has ended");
        let library = card.context.get_library_info().unwrap();
        assert_eq!(
            (library.manufacturer_id(), library.library_version().to_string().as_str()),
            ("Cavium, Inc", "5.17")
        );
        let info = card.context.get_token_info(card.slot).unwrap();
        assert_eq!(
            (info.model(), info.firmware_version().to_string().as_str(), info.label()),
            ("Luna K7", "7.4", LABEL)
        );
    });
}

#[test]
fn attributes_are_refused_by_their_value() {
    in_own_process("quirks::attributes_are_refused_by_their_value", |dir| {
        let (shim, card) = (Shim::in_dir(dir), Card::new(dir));
        let session = card.logged_in();
        shim.rules("refuse_false CKR_TEMPLATE_INCONSISTENT 0x1 0x2");
        new_key(&session, 20).expect("both are true");
        let template = [Attribute::Private(false), Attribute::ValueLen(32.into())];
        assert_code(session.generate_key(&Mechanism::AesKeyGen, &template), RvError::TemplateInconsistent);
        shim.rules("refuse_false CKR_TEMPLATE_INCONSISTENT 0x1");
        session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    });
}

#[test]
fn handles_are_renumbered_by_a_login() {
    in_own_process("quirks::handles_are_renumbered_by_a_login", |dir| {
        let (shim, card) = (Shim::in_dir(dir), Card::new(dir));
        shim.rules("renumber");
        let session = card.logged_in();
        let (one, two) = (new_key(&session, 20).unwrap(), new_key(&session, 21).unwrap());
        let sealed = card.encrypt(&session, one, CKM_AES_GCM, &mut [1; 12]).unwrap();
        assert_eq!((one.handle(), two.handle()), (1, 2));
        shim.rules("renumber\nlogout");
        assert_code(session.get_attributes(one, &[]), RvError::ObjectHandleInvalid);
        session.login(UserType::User, Some(&pin(PIN))).unwrap();
        let found = session.find_objects(&[Attribute::Id(vec![7; 21])]).unwrap();
        assert_eq!(found, [one], "what was the first key's is now the second one's");
        assert!(card.decrypt(&session, one, CKM_AES_GCM, &mut [1; 12], &sealed).is_err());
    });
}

#[test]
fn calls_are_slow_hang_fail_and_are_counted() {
    in_own_process("quirks::calls_are_slow_hang_fail_and_are_counted", |dir| {
        let (shim, card) = (Shim::in_dir(dir), Card::new(dir));
        let session = card.logged_in();
        let key = new_key(&session, 20).unwrap();
        let wrap = || card.encrypt(&session, key, CKM_AES_GCM, &mut [1; 12]);
        shim.rules("@test latency 30 C_Encrypt\n@other latency 60000 *");
        let begun = Instant::now();
        wrap().unwrap();
        assert!((30..10_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());

        shim.rules("fail CKR_FUNCTION_FAILED C_Encrypt,C_Sign nth 2\nfail CKR_DEVICE_ERROR C_Encrypt from 4");
        let outcomes: Vec<CK_RV> = (0..5).map(|_| wrap().err().unwrap_or(CKR_OK)).collect();
        assert_eq!(outcomes, [CKR_OK, 6, CKR_OK, 0x30, 0x30]);
        shim.rules("fail CKR_FUNCTION_FAILED C_Encrypt chance 0.5");
        let failed = (0..200).filter(|_| wrap().is_err()).count();
        assert!((50..150).contains(&failed), "{failed}");

        shim.rules("hang C_Encrypt nth 2");
        wrap().unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                shim.rules("");
            });
            wrap().expect("late, but right");
        });
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());

        shim.rules("fail_after CKR_GENERAL_ERROR C_GenerateKey");
        assert_code(new_key(&session, 21), RvError::GeneralError);
        assert_eq!(session.find_objects(&[Attribute::Id(vec![7; 21])]).unwrap().len(), 1, "it has happened");
        assert_eq!((shim.calls("C_Encrypt"), shim.calls_of("other", "C_Encrypt")), (208, 0));
        assert_eq!((shim.calls_of(LABEL, "C_Login"), shim.calls("C_Initialize")), (2, 1), "the SO and the user");
    });
}

#[test]
fn sessions_logins_and_tokens_are_lost() {
    in_own_process("quirks::sessions_logins_and_tokens_are_lost", |dir| {
        let (shim, card) = (Shim::in_dir(dir), Card::new(dir));
        let session = card.logged_in();
        let serial = card.context.get_token_info(card.slot).unwrap().serial_number().to_owned();
        new_key(&session, 20).unwrap();
        let count = |session: &Session| session.find_objects(&[Attribute::Token(true)]).unwrap().len();

        shim.rules("logout");
        assert_eq!(count(&session), 0, "private objects are not seen");
        shim.rules("close_sessions");
        assert_code(session.get_session_info(), RvError::SessionHandleInvalid);

        let session = card.logged_in();
        assert_eq!(count(&session), 1);
        shim.rules("@test removed");
        assert_code(session.get_session_info(), RvError::DeviceRemoved);
        assert_code(card.context.open_rw_session(card.slot), RvError::TokenNotPresent);
        assert!(!card.context.get_slots_with_token().unwrap().contains(&card.slot));
        shim.rules("");
        assert!(card.context.get_slots_with_token().unwrap().contains(&card.slot));
        assert_code(session.get_session_info(), RvError::SessionHandleInvalid);

        card.make_token("other");
        shim.rules("@test swapped other");
        let info = card.context.get_token_info(card.slot).unwrap();
        assert!(info.label() == LABEL && info.serial_number() != serial);
        let labels = card.context.get_slots_with_initialized_token().unwrap();
        assert_eq!(labels, [card.slot], "the other one is in its place, not beside it");
        assert_eq!(count(&card.logged_in()), 0);
        shim.rules("pin locked");
        assert_eq!(card.context.get_token_info(card.slot).unwrap().serial_number(), serial);
        assert!(card.context.get_token_info(card.slot).unwrap().user_pin_locked());
        let session = card.context.open_rw_session(card.slot).unwrap();
        assert_code(session.login(UserType::User, Some(&pin(PIN))), RvError::PinLocked);
        shim.rules("pin wrong");
        assert_code(session.login(UserType::User, Some(&pin(PIN))), RvError::PinIncorrect);
    });
}

/// A token behind the shim, with `cryptoki` for what it can do and bare calls for GCM.
struct Card {
    context: Pkcs11,
    raw: cryptoki_sys::Pkcs11,
    slot: Slot,
}

impl Card {
    /// A new token, without a rule.
    fn new(dir: &Path) -> Card {
        assert_eq!(std::env::var_os("HSM_KMS_SHIM").unwrap(), dir.join("shim"));
        let context = Pkcs11::new(module()).unwrap();
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        // SAFETY: the module is the test's own, and loaded already.
        let raw = unsafe { cryptoki_sys::Pkcs11::new(module()).unwrap() };
        let slot = context.get_slots_with_token().unwrap()[0];
        let card = Card { context, raw, slot };
        Card { slot: card.make_token(LABEL), ..card }
    }

    fn make_token(&self, label: &str) -> Slot {
        let free = |slot: &Slot| !self.context.get_token_info(*slot).unwrap().token_initialized();
        let slot = self.context.get_slots_with_token().unwrap().into_iter().find(free).unwrap();
        self.context.init_token(slot, &pin("12345678"), label).unwrap();
        let session = self.context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&pin("12345678"))).unwrap();
        session.init_pin(&pin(PIN)).unwrap();
        session.logout().unwrap();
        slot
    }

    fn logged_in(&self) -> Session {
        let session = self.context.open_rw_session(self.slot).unwrap();
        session.login(UserType::User, Some(&pin(PIN))).unwrap();
        session
    }

    fn encrypt(
        &self,
        session: &Session,
        key: ObjectHandle,
        mechanism: CK_MECHANISM_TYPE,
        iv: &mut [u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let mut list = std::ptr::null_mut();
        let (mut output, mut length) = (vec![0; 100], 100);
        let mut parameters = gcm(iv);
        let mut mechanism = with(mechanism, &mut parameters);
        // SAFETY: every pointer is to something that outlives both calls, and lengths are right.
        unsafe {
            self.raw.C_GetFunctionList(&mut list);
            check((*list).C_EncryptInit.unwrap()(session.handle(), &mut mechanism, key.handle()))?;
            let mut seed = SEED;
            let encrypt = (*list).C_Encrypt.unwrap();
            check(encrypt(session.handle(), seed.as_mut_ptr(), 32, output.as_mut_ptr(), &mut length))?;
        }
        output.truncate(length as usize);
        Ok(output)
    }

    fn decrypt(
        &self,
        session: &Session,
        key: ObjectHandle,
        mechanism: CK_MECHANISM_TYPE,
        iv: &mut [u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, CK_RV> {
        let mut list = std::ptr::null_mut();
        let (mut output, mut length) = (vec![0; 100], 100);
        let mut parameters = gcm(iv);
        let mut mechanism = with(mechanism, &mut parameters);
        let mut sealed = sealed.to_vec();
        // SAFETY: as in `encrypt`.
        unsafe {
            self.raw.C_GetFunctionList(&mut list);
            check((*list).C_DecryptInit.unwrap()(session.handle(), &mut mechanism, key.handle()))?;
            let (decrypt, count) = ((*list).C_Decrypt.unwrap(), sealed.len() as CK_ULONG);
            check(decrypt(session.handle(), sealed.as_mut_ptr(), count, output.as_mut_ptr(), &mut length))?;
        }
        output.truncate(length as usize);
        Ok(output)
    }
}

fn gcm(iv: &mut [u8]) -> CK_GCM_PARAMS {
    CK_GCM_PARAMS {
        pIv: if iv.is_empty() { std::ptr::null_mut() } else { iv.as_mut_ptr() },
        ulIvLen: iv.len() as CK_ULONG,
        ulIvBits: iv.len() as CK_ULONG * 8,
        ulTagBits: 128,
        ..Default::default()
    }
}

fn with(mechanism: CK_MECHANISM_TYPE, parameters: &mut CK_GCM_PARAMS) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism,
        pParameter: std::ptr::from_mut(parameters).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    }
}

fn check(code: CK_RV) -> Result<(), CK_RV> {
    if code == CKR_OK { Ok(()) } else { Err(code) }
}

fn new_key(session: &Session, id_length: usize) -> Result<ObjectHandle, Error> {
    let id = Attribute::Id(vec![7; id_length]);
    let template = [Attribute::Token(true), Attribute::Private(true), Attribute::ValueLen(32.into()), id];
    session.generate_key(&Mechanism::AesKeyGen, &template)
}

fn assert_code<T>(result: Result<T, Error>, wanted: RvError) {
    match result {
        Err(Error::Pkcs11(code, _)) => assert_eq!(code, wanted),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused; wanted {wanted:?}"),
    }
}

const SEED: [u8; 32] = [0x5e; 32];
const PARAM_INVALID: CK_RV = cryptoki_sys::CKR_MECHANISM_PARAM_INVALID;
const MECHANISM_INVALID: CK_RV = cryptoki_sys::CKR_MECHANISM_INVALID;
