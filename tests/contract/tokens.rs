//! The tokens that the suite runs on, and how each is made.

use std::path::{Path, PathBuf};
use std::process::Command;

use hsm_kms::token::{Settings, Token, init_token};

use crate::process::{LABEL, PIN, again, assert_passed, dir_of, pin, softhsm_dir};
use crate::shim;

/// A token that the suite runs on.
#[derive(Clone, Copy)]
pub enum Which {
    SoftHsm,
    Kryoptic,
    OpenCryptoki,
    AwsCloudHsm,
    Luna,
    NShield,
    YubiHsm2,
}

/// An empty token of a test, not opened yet.
pub struct Place<'a> {
    pub which: Which,
    pub dir: &'a Path,
}

/// Runs `body` in a new process, in which nothing but this token is there.
pub fn on(which: Which, test: &str, body: impl FnOnce(&Place)) {
    if let Some(dir) = dir_of(test) {
        let place = Place { which, dir: &dir };
        which.make();
        return body(&place);
    }
    let dir = softhsm_dir();
    let mut program = again(test, "", dir.path());
    program.envs(which.environment(dir.path()));
    let output = which.run(program).output().unwrap();
    assert_passed(test, &output);
}

impl Which {
    /// As in `hsm-config/` and `offers/`.
    pub fn name(self) -> &'static str {
        match self {
            Which::SoftHsm => "softhsm2",
            Which::Kryoptic => "kryoptic",
            Which::OpenCryptoki => "opencryptoki",
            Which::AwsCloudHsm => "aws-cloudhsm",
            Which::Luna => "luna",
            Which::NShield => "nshield",
            Which::YubiHsm2 => "yubihsm2",
        }
    }

    pub fn module(self) -> PathBuf {
        match self {
            Which::SoftHsm => crate::process::MODULE.into(),
            Which::Kryoptic => kryoptic(),
            Which::OpenCryptoki => OPENCRYPTOKI.into(),
            Which::AwsCloudHsm | Which::Luna | Which::NShield | Which::YubiHsm2 => shim::module(),
        }
    }

    /// The PIN of the token, in the shape that the vendor wants.
    pub fn pin(self) -> &'static str {
        match self {
            Which::SoftHsm | Which::Kryoptic | Which::OpenCryptoki | Which::Luna | Which::NShield => PIN,
            Which::AwsCloudHsm => "kms_user:password1",
            Which::YubiHsm2 => "0001password",
        }
    }

    pub fn has_session_objects(self) -> bool {
        !matches!(self, Which::YubiHsm2)
    }

    /// The quirks that make SoftHSM this vendor's token.
    fn quirks(self) -> &'static str {
        match self {
            Which::SoftHsm | Which::Kryoptic | Which::OpenCryptoki => "",
            Which::AwsCloudHsm => {
                "library_manufacturer Amazon\ngcm_iv zeroed\nvendor_gcm\nbad_tag CKR_ENCRYPTED_DATA_INVALID\n\
                 sessions 1024\nread_only refused\ndata 16224\nrenumber\nhide 0x2109 0x210a 0x1055 0x1057\n\
                 refuse_false CKR_TEMPLATE_INCONSISTENT 0x2\n"
            }
            Which::Luna => {
                "library_manufacturer SafeNet\ngcm_iv appended\nbad_tag CKR_ENCRYPTED_DATA_INVALID\nrenumber\n"
            }
            Which::NShield => {
                "library_manufacturer nCipher\nbad_tag CKR_FUNCTION_FAILED\nhmac_types lengths\nrefuse_key_type 0x10\n\
                 alias 0xde436996 0x350\nalias 0xde436997 0x350\nalias 0xde436998 0x350\nalias 0xde436999 0x350\n"
            }
            Which::YubiHsm2 => {
                "library_manufacturer Yubico\nsessions 16 unsaid\nobjects 256\nid_max 2\n\
                 hide 0x1087 0x2109 0x210a 0x1055 0x1057\nno_session_objects\npairs_are_one\n\
                 refuse_attribute 0x170 0x171 0x172\nrefuse_key_type 0x10 0x2e 0x40\nhmac_types\n\
                 fail CKR_FUNCTION_NOT_SUPPORTED C_CopyObject\n"
            }
        }
    }

    /// What the module reads where it finds its files, which are made here.
    fn environment(self, dir: &Path) -> Vec<(&'static str, PathBuf)> {
        match self {
            Which::SoftHsm | Which::OpenCryptoki => Vec::new(),
            Which::Kryoptic => vec![("KRYOPTIC_CONF", kryoptic_configuration(dir))],
            Which::AwsCloudHsm | Which::Luna | Which::NShield | Which::YubiHsm2 => {
                let shim = shim::Shim::in_dir(dir);
                shim.rules(self.quirks());
                let (variable, path) = shim.environment();
                vec![(variable, path.to_owned())]
            }
        }
    }

    /// The program as it is to be run: openCryptoki's has a machine of its own.
    fn run(self, program: Command) -> Command {
        let Which::OpenCryptoki = self else { return program };
        assert!(
            Path::new(OPENCRYPTOKI).is_file(),
            "{OPENCRYPTOKI} is missing: install opencryptoki, as scripts/test does"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--ipc", "--pid", "--fork", "--mount-proc"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/opencryptoki.sh")).args([LABEL, PIN]);
        command.arg(program.get_program()).args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn make(self) {
        if let Which::OpenCryptoki = self {
            // By its own tools, before the test began: it wants PINs changed that PKCS#11 has no word for.
            return;
        }
        init_token(&self.module(), LABEL, &pin("12345678"), &pin(self.pin())).unwrap();
    }
}

impl Place<'_> {
    pub fn open(&self) -> Token {
        Token::open(&self.settings(), pin(self.which.pin()), || panic!("hopeless")).unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            module: self.which.module(),
            label: Some(LABEL.to_owned()),
            serial: None,
            uri: None,
            known_serial: None,
            copies_dir: Some(self.dir.join("copies")),
            queue: 1024,
            profile: None,
        }
    }
}

/// Debian's module of openCryptoki.
const OPENCRYPTOKI: &str = "/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0";

/// The module of kryoptic, which is never left out: without it, the test fails.
pub fn kryoptic() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kryoptic");
    let told = Command::new(&script).arg("--path").output().unwrap();
    let module = PathBuf::from(String::from_utf8(told.stdout).unwrap().trim_end());
    assert!(module.is_file(), "{} is missing: run {}, as scripts/test does", module.display(), script.display());
    module
}

/// A configuration of kryoptic with one slot, whose token's file will be in `dir`.
pub fn kryoptic_configuration(dir: &Path) -> PathBuf {
    let path = dir.join("kryoptic.conf");
    let file = dir.join("kryoptic.sql");
    std::fs::write(&path, format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = {file:?}\n")).unwrap();
    path
}
