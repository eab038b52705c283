//! Each test in a process of its own: SoftHSM reads its configuration, and is initialised, once per process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hsm_kms::model::{KeyId, ObjectName, Purpose};
use hsm_kms::token::{Settings, Token, TokenEntry, init_token};
use secrecy::SecretString;

pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const PIN: &str = "0099";
pub const LABEL: &str = "test";

/// Runs `body` in a new process with an empty folder for SoftHSM's tokens. `test` is the test's own full name.
pub fn in_own_process(test: &str, body: impl FnOnce(&Path)) {
    if let Some(dir) = dir_of(test) {
        return body(&dir);
    }
    let dir = softhsm_dir();
    let output = again(test, "", dir.path()).output().unwrap();
    assert_passed(test, &output);
}

/// A folder with a SoftHSM configuration and no token.
pub fn softhsm_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tokens")).unwrap();
    let configuration = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        dir.path().join("tokens").display()
    );
    std::fs::write(dir.path().join("softhsm2.conf"), configuration).unwrap();
    dir
}

/// The folder, if this process was started to run `test`.
pub fn dir_of(test: &str) -> Option<PathBuf> {
    (std::env::var("HSM_KMS_TEST").as_deref() == Ok(test)).then(|| std::env::var_os("HSM_KMS_DIR").unwrap().into())
}

/// What this process is to do in its test, if it is not the whole test.
pub fn role() -> String {
    std::env::var("HSM_KMS_ROLE").unwrap_or_default()
}

/// This same test once more, in a new process, with a role.
pub fn again(test: &str, role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    with_role(&mut command, test, role, dir);
    command
}

/// As [`again`], killed by strace when it enters the `count`th system call of `calls`, on `path` if given.
pub fn again_killed(test: &str, role: &str, dir: &Path, calls: &str, path: Option<&Path>, count: usize) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={count}")]);
    if let Some(path) = path {
        command.arg("-P").arg(path);
    }
    command.arg(std::env::current_exe().unwrap());
    with_role(&mut command, test, role, dir);
    command.output().unwrap()
}

fn with_role(command: &mut Command, test: &str, role: &str, dir: &Path) {
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", dir.join("softhsm2.conf"))
        .env("HSM_KMS_SHIM", dir.join("shim"))
        .env("HSM_KMS_TEST", test)
        .env("HSM_KMS_DIR", dir)
        .env("HSM_KMS_ROLE", role);
}

/// The process ran exactly its one test, and that passed.
pub fn assert_passed(test: &str, output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "{test}: {}\n{stdout}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// A process that holds locks on all files of the tokens, so that calls of others do not return. Released when dropped.
pub struct Locker(Child);

impl Locker {
    pub fn start(test: &str, dir: &Path) -> Locker {
        let ready = dir.join("locked");
        let mut child = again(test, "lock", dir).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        until("the files are locked", || ready.exists() || child.try_wait().unwrap().is_some());
        assert!(ready.exists());
        std::fs::remove_file(ready).unwrap();
        Locker(child)
    }

    /// The body of the process.
    pub fn run(dir: &Path) {
        let token = folder(dir);
        let mut held = Vec::new();
        for entry in std::fs::read_dir(token).unwrap() {
            let file = std::fs::File::options().read(true).write(true).open(entry.unwrap().path()).unwrap();
            rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
            held.push(file);
        }
        std::fs::write(dir.join("locked"), "").unwrap();
        std::io::read_to_string(std::io::stdin()).unwrap();
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// The folder of the only token.
pub fn folder(dir: &Path) -> PathBuf {
    let mut folders = std::fs::read_dir(dir.join("tokens")).unwrap();
    let folder = folders.next().unwrap().unwrap().path();
    assert!(folders.next().is_none(), "one token only");
    folder
}

/// What forged ciphertexts cost the token: each one call more than a good one, and the first within a second and on a
/// session two, as the token itself is probed then.
pub struct Cost {
    begun: Instant,
    sessions: u64,
    probes: u64,
}

impl Cost {
    /// On so many sessions.
    pub fn begin(sessions: u64) -> Cost {
        Cost { begun: Instant::now(), sessions, probes: 0 }
    }

    /// One was refused after so many calls.
    pub fn add(&mut self, calls: u64) {
        assert!(calls <= 3, "a good one costs 1 call, this one {calls}");
        self.probes += u64::from(calls == 3);
        let seconds = self.begun.elapsed().as_secs();
        assert!(self.probes <= self.sessions * (1 + seconds), "{} probes in {seconds} seconds", self.probes);
    }
}

pub fn pin(text: &str) -> SecretString {
    SecretString::from(text)
}

pub fn make_token(label: &str) -> TokenEntry {
    init_token(Path::new(MODULE), label, &pin("12345678"), &pin(PIN)).unwrap()
}

pub fn settings(dir: &Path) -> Settings {
    Settings {
        module: MODULE.into(),
        label: Some(LABEL.to_owned()),
        serial: None,
        uri: None,
        known_serial: None,
        copies_dir: Some(dir.join("copies")),
        queue: 1024,
        profile: None,
    }
}

/// Makes a token and opens it.
pub fn new_token(dir: &Path) -> Token {
    make_token(LABEL);
    open(dir)
}

pub fn open(dir: &Path) -> Token {
    Token::open(&settings(dir), pin(PIN), || panic!("hopeless")).unwrap()
}

/// Opens the token without session copies, whose use no file lock can hold up, and with more lines in the profile.
pub fn open_with(dir: &Path, more: &str, queue: usize, on_hopeless: impl FnOnce() + Send + 'static) -> Token {
    let path: PathBuf = dir.join("profile.toml");
    std::fs::write(&path, format!("schema = 1\nname = \"test\"\nschemes = [\"aes_gcm_host_iv\"]\n{more}")).unwrap();
    let settings = Settings { profile: Some(path), queue, ..settings(dir) };
    Token::open(&settings, pin(PIN), on_hopeless).unwrap()
}

pub fn name(number: u8) -> ObjectName {
    ObjectName { purpose: Purpose::Kms, key_id: KeyId::from_bytes([number; 16]), material: 1 }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Waits for something that another thread or process does, and fails if it does not come.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap().block_on(future)
}

/// A second way into the module that the token has initialised.
pub fn other_context() -> (cryptoki::context::Pkcs11, cryptoki::slot::Slot) {
    let context = cryptoki::context::Pkcs11::new(MODULE).unwrap();
    let slots = context.get_slots_with_initialized_token().unwrap();
    (context, slots[0])
}

/// `C_CloseAllSessions`, which `cryptoki` does not have.
pub fn close_all_sessions(slot: u64) {
    // SAFETY: the module is loaded and initialised by the token that is open; the call takes no pointer.
    unsafe {
        let module = cryptoki_sys::Pkcs11::new(MODULE).unwrap();
        assert_eq!(module.C_CloseAllSessions(slot), cryptoki_sys::CKR_OK);
    }
}
