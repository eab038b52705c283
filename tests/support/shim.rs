//! The quirk shim, a PKCS#11 module that plays other vendors' tokens and failures on SoftHSM: `tests/shim/lib.rs` says by
//! which rules.
//!
//! In a process of its own (`tests/token/process.rs`): `Shim::in_dir(dir)`, and `module()` as the module of the settings. For
//! the program: `Shim::in_dir(dir)`, and `Shim::environment` on its command.
#![allow(dead_code)] // every test uses its own part of this

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The rules of the shim in one or several processes.
pub struct Shim {
    control: PathBuf,
}

impl Shim {
    /// The shim whose control file is `dir/shim`: without rules, unless some were set before.
    pub fn in_dir(dir: &Path) -> Shim {
        Shim { control: dir.join("shim") }
    }

    /// The variable by which the shim in another process finds its rules.
    pub fn environment(&self) -> (&'static str, &Path) {
        ("HSM_KMS_SHIM", &self.control)
    }

    /// These lines are the rules from now on, and no others. Calls that begin after this know them.
    pub fn rules(&self, rules: &str) {
        let new = self.control.with_extension("new");
        std::fs::write(&new, rules).expect("the rules are written");
        std::fs::rename(new, &self.control).expect("the rules are there");
        self.tell_change();
    }

    fn tell_change(&self) {
        let path = self.control.with_extension("generation");
        let number = std::fs::read(&path).ok().and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).expect("a file");
        // In place: the shim has it as memory.
        file.write_all_at(&(number.unwrap_or(0) + 1).to_ne_bytes(), 0).expect("the change is told");
    }

    /// How often a function was called, on all tokens and by all processes.
    pub fn calls(&self, function: &str) -> u64 {
        self.counts().iter().filter(|(name, _, _)| name == function).map(|(_, count, _)| count).sum()
    }

    /// As `calls`, on the token with this label.
    pub fn calls_of(&self, label: &str, function: &str) -> u64 {
        let counts = self.counts();
        counts.iter().filter(|(name, _, of)| name == function && of == label).map(|(_, count, _)| count).sum()
    }

    fn counts(&self) -> Vec<(String, u64, String)> {
        let folder = self.control.parent().expect("a folder");
        let begin = format!("{}.calls.", self.control.file_name().expect("a name").display());
        let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry"));
        let files = files.filter(|entry| entry.file_name().to_string_lossy().starts_with(&begin));
        let tables: Vec<Vec<u8>> = files.map(|entry| std::fs::read(entry.path()).expect("counts")).collect();
        tables.iter().flat_map(|table| table.chunks_exact(64)).filter_map(count).collect()
    }
}

/// Function, count and label, as a row has them; `None` for a free one.
fn count(row: &[u8]) -> Option<(String, u64, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let count = u64::from_ne_bytes(row[..8].try_into().expect("8 bytes"));
    (count > 0).then(|| (text(&row[8..32]), count, text(&row[32..])))
}

/// The module, built if it is missing or older than its source.
pub fn module() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_hsm-kms"));
    let folder = program.parent().expect("the folder of the program");
    let module = folder.join("examples").join("libquirk_shim.so");
    let built = std::fs::metadata(&module).and_then(|metadata| metadata.modified()).ok();
    if built.is_none_or(|built| built < newest_source()) {
        build(folder.ends_with("release"));
    }
    module
}

fn newest_source() -> SystemTime {
    let sources = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim")).expect("the sources");
    let modified = |entry: std::io::Result<std::fs::DirEntry>| entry.and_then(|entry| entry.metadata()?.modified());
    sources.map(|entry| modified(entry).expect("a source")).max().expect("a source")
}

fn build(release: bool) {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--offline", "--locked", "--example", "quirk_shim"]);
    command.args(release.then_some("--release")).current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().expect("cargo");
    assert!(status.success(), "the quirk shim is built");
}
