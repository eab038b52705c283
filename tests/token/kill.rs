//! `kill -9` inside SoftHSM's writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hsm_kms::crypto::oaep_encrypt;
use hsm_kms::model::{EncryptionAlgorithm, KeyPairSpec, ObjectName, Purpose, WrappingAlgorithm};
use hsm_kms::token::{Import, KeyKind, Settings, Token};

use super::process::*;

#[test]
fn a_token_killed_inside_a_login_is_healed() {
    let test = "kill::a_token_killed_inside_a_login_is_healed";
    if let Some(dir) = dir_of(test) {
        return play(&dir);
    }
    let dir = softhsm_dir();
    assert_passed(test, &again(test, "make", dir.path()).output().unwrap());
    let file = folder(dir.path()).join("token.object");
    let whole = std::fs::metadata(&file).unwrap().len();
    let mut broken = 0;
    // strace counts each system call for itself.
    for call in ["ftruncate", "write"] {
        let killed = kill_at_each(30, |count| {
            let output = again_killed(test, "login", dir.path(), call, Some(&file), count);
            broken += usize::from(std::fs::metadata(&file).unwrap().len() < whole);
            assert_passed(test, &again(test, "check", dir.path()).output().unwrap());
            assert_eq!(std::fs::metadata(&file).unwrap().len(), whole);
            output.status.success()
        });
        assert!(killed >= 1, "a login has a {call}");
    }
    assert!(broken >= 1, "at least one kill has left a broken token.object");
    let kept = std::fs::read_dir(dir.path().join("copies")).unwrap();
    assert!(kept.into_iter().any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "broken")));
}

/// The broken one is not the first to be opened, and the module is in use when its turn comes: with the other one before
/// it, and with both at once.
#[test]
fn a_second_token_killed_inside_a_login_is_healed() {
    let test = "kill::a_second_token_killed_inside_a_login_is_healed";
    if let Some(dir) = dir_of(test) {
        return play_two(&dir, &role());
    }
    let dir = softhsm_dir();
    assert_passed(test, &again(test, "make", dir.path()).output().unwrap());
    let file = PathBuf::from(std::fs::read_to_string(dir.path().join("second")).unwrap()).join("token.object");
    for check in ["one by one", "at once"] {
        let whole = std::fs::metadata(&file).unwrap().len();
        let output = again_killed(test, "one by one", dir.path(), "write", Some(&file), 1);
        assert!(!output.status.success() && std::fs::metadata(&file).unwrap().len() < whole, "a login writes it");
        assert_passed(test, &again(test, check, dir.path()).output().unwrap());
        assert_eq!(std::fs::metadata(&file).unwrap().len(), whole);
    }
}

fn play_two(dir: &Path, role: &str) {
    if role == "make" {
        make_token("one");
        let first = folder(dir);
        make_token("two");
        let mut folders = std::fs::read_dir(dir.join("tokens")).unwrap().map(|entry| entry.unwrap().path());
        let second = folders.find(|folder| *folder != first).unwrap();
        std::fs::write(dir.join("second"), second.to_str().unwrap()).unwrap();
    }
    let open = |label: &str| {
        let settings = Settings { label: Some(label.to_owned()), ..settings(dir) };
        Token::open(&settings, pin(PIN), || panic!("hopeless")).unwrap()
    };
    if role == "at once" {
        let open = &open;
        std::thread::scope(|scope| {
            ["one", "two"].map(|label| scope.spawn(move || open(label))).map(|one| one.join().unwrap())
        });
    } else {
        let _both = ["one", "two"].map(open);
    }
}

#[test]
fn a_token_killed_inside_a_creation_opens_again() {
    killed_inside("kill::a_token_killed_inside_a_creation_opens_again", "create", 5);
}

#[test]
fn a_token_killed_while_a_pair_is_made_opens_again() {
    killed_inside("kill::a_token_killed_while_a_pair_is_made_opens_again", "create-pair", 3);
}

#[test]
fn a_token_killed_inside_an_import_opens_again() {
    killed_inside("kill::a_token_killed_inside_an_import_opens_again", "import", 3);
}

/// SoftHSM writes a new key once for each attribute, and a copy at one go.
fn killed_inside(test: &str, creation: &str, least: usize) {
    if let Some(dir) = dir_of(test) {
        return play(&dir);
    }
    let dir = softhsm_dir();
    assert_passed(test, &again(test, "make", dir.path()).output().unwrap());
    let objects_before = objects(dir.path());
    let mut half_made = 0;
    for call in ["ftruncate", "write"] {
        let killed = kill_at_each(120, |count| {
            let output = again_killed(test, creation, dir.path(), call, None, count);
            half_made += usize::from(!output.status.success() && objects(dir.path()) > objects_before);
            assert_passed(test, &again(test, "check", dir.path()).output().unwrap());
            remove_leftovers(dir.path());
            output.status.success()
        });
        assert!(killed >= least, "a creation writes its file many times: {killed} of {call}");
    }
    assert!(half_made >= least - 2, "at several points a half-made object was left: {half_made}");
}

/// Kills at the first, second, … system call, until one run lives to its end. Returns how many were killed.
fn kill_at_each(most: usize, mut run: impl FnMut(usize) -> bool) -> usize {
    (1..=most).find(|count| run(*count)).expect("in the end a run is not killed") - 1
}

fn play(dir: &Path) {
    match role().as_str() {
        "make" => make(dir),
        "login" => drop(open(dir)),
        "create" => {
            let token = open(dir);
            block_on(token.generate(&name(2), soon())).unwrap();
        }
        "create-pair" => {
            let token = open(dir);
            block_on(token.generate_key(&name(2), KeyKind::Sign(KeyPairSpec::EccNistP256), soon())).unwrap();
        }
        "import" => drop(block_on(open(dir).unwrap_key(&import(dir), soon())).unwrap()),
        "check" => check(dir),
        role => panic!("{role}"),
    }
}

fn make(dir: &Path) {
    let token = new_token(dir);
    block_on(async {
        token.generate(&name(1), soon()).await.unwrap();
        let wrapped = token.wrap_seed(&name(1), 1, b"", &[7; 32], soon()).await.unwrap();
        std::fs::write(dir.join("wrapped"), wrapped).unwrap();
        let wrapping = import_of(Vec::new()).wrapping;
        let public = token.generate_key(&wrapping, KeyKind::ImportWrapping(KeyPairSpec::Rsa2048), soon()).await;
        let public = public.unwrap().unwrap();
        let encrypted = oaep_encrypt(&public, EncryptionAlgorithm::RsaesOaepSha1, &[7; 32]).unwrap();
        std::fs::write(dir.join("encrypted"), encrypted).unwrap();
    });
    assert!(token.shutdown(Duration::from_secs(5)));
}

/// The import of 32 bytes under the name of `name(2)`.
fn import(dir: &Path) -> Import {
    import_of(std::fs::read(dir.join("encrypted")).unwrap())
}

fn import_of(encrypted: Vec<u8>) -> Import {
    Import {
        name: ObjectName { purpose: Purpose::Imported, ..name(2) },
        of_key: name(2).key_id,
        kind: KeyKind::Aes256,
        wrapping: ObjectName { purpose: Purpose::ImportWrapping, ..name(200) },
        wrapping_spec: KeyPairSpec::Rsa2048,
        algorithm: WrappingAlgorithm::RsaesOaepSha1,
        encrypted,
        allow_host: false,
    }
}

/// The token opens, the old key works, and the new one is whole or can be removed.
fn check(dir: &Path) {
    let token = open(dir);
    let wrapped = std::fs::read(dir.join("wrapped")).unwrap();
    block_on(async {
        let seed = token.unwrap_seed(&name(1), 1, b"", &wrapped, soon()).await.unwrap();
        assert_eq!(*seed, [7; 32]);
        // Either is gone already, or has the same CKA_ID and another label.
        let imported = import(dir).name;
        let destroyed = [token.destroy(&name(2), soon()).await, token.destroy(&imported, soon()).await];
        assert!(destroyed.iter().any(Result::is_ok), "{destroyed:?}");
        assert!(!token.exists(&name(2), soon()).await.unwrap());
        assert_eq!(token.objects(soon()).await.unwrap().ours.len(), 2);
    });
    assert!(token.shutdown(Duration::from_secs(5)));
}

fn objects(dir: &Path) -> usize {
    let files = std::fs::read_dir(folder(dir)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "object")).count()
}

/// Half-made objects that SoftHSM does not list stay for ever; each run shall begin alike.
fn remove_leftovers(dir: &Path) {
    let cut = |path: &Path| std::fs::metadata(path).unwrap().len() < 200;
    for entry in std::fs::read_dir(folder(dir)).unwrap() {
        let path = entry.unwrap().path();
        let is_object = path.extension().is_some_and(|end| end == "object");
        if is_object && path.file_name().unwrap() != "token.object" && cut(&path) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
