//! The house: which room may know which, scanned from the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rooms from the top down; a room may use those in its row and nothing else of this crate.
const ARROWS: &[(&str, &[&str])] = &[
    ("cli", &["app", "api", "settings", "token", "crypto", "model"]),
    ("app", &["api", "admin", "kms", "settings", "audit", "store", "token", "crypto", "model"]),
    ("settings", &["model"]),
    ("api", &["admin", "kms", "auth", "audit", "crypto", "model"]),
    ("admin", &["kms", "auth", "audit", "store", "crypto", "model"]),
    ("kms", &["auth", "audit", "blob", "store", "token", "crypto", "crash_point", "model"]),
    ("auth", &["crypto", "model"]),
    ("audit", &["crypto", "model"]),
    ("blob", &["crypto", "model"]),
    ("store", &["crypto", "model"]),
    ("token", &["crypto", "model"]),
    ("crypto", &["model"]),
    ("crash_point", &[]),
    ("model", &[]),
];

#[test]
fn arrows_point_one_way() {
    let mut wrong = Vec::new();
    for (room, may_use) in ARROWS {
        for file in sources_of(room) {
            for used in used_rooms(&code(&file)) {
                if used != *room && !may_use.contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that go the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_row() {
    let modules: BTreeSet<String> = code(Path::new("src/lib.rs"))
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    let rows: BTreeSet<String> = ARROWS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(modules, rows);
}

#[test]
fn rooms_do_not_know_what_they_must_not() {
    let forbidden: &[(&str, &[&str])] = &[
        ("api", &["sqlx", "cryptoki"]),
        ("admin", &["axum", "hyper", "sqlx", "cryptoki", "clap"]),
        ("kms", &["axum", "hyper", "sqlx", "cryptoki"]),
        ("auth", &["sqlx", "cryptoki"]),
        ("store", &["axum", "hyper", "cryptoki"]),
        ("token", &["axum", "hyper", "sqlx"]),
        ("audit", &["axum", "hyper", "sqlx", "cryptoki"]),
        ("blob", &["axum", "hyper", "sqlx", "cryptoki", "tokio"]),
        ("model", &["axum", "hyper", "sqlx", "cryptoki", "tokio"]),
    ];
    for (room, crates) in forbidden {
        for file in sources_of(room) {
            let code = code(&file);
            for name in *crates {
                let used = code.contains(&format!("use {name}::")) || code.contains(&format!(" {name}::"));
                assert!(!used, "{} knows {name}", file.display());
            }
        }
    }
}

/// By any other session a call would be made that nobody watches, by a thread that may have been written off.
#[test]
fn bare_sessions_are_in_one_file() {
    for file in rust_files(Path::new("src")) {
        let bare = code(&file).contains("open_rw_session_no_drop(");
        assert_eq!(bare, file.ends_with("token/session.rs"), "{}", file.display());
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    for file in rust_files(Path::new("src")) {
        let code = code(&file);
        let unsafe_code = code.contains("unsafe ") || code.contains("allow(unsafe_code)");
        assert_eq!(unsafe_code, file.ends_with("token/raw.rs"), "{}", file.display());
    }
}

/// What the token does with a key is asked for behind the proof that its caller may: nowhere else, whatever the types of
/// the token's own room admit. The first file opens the store itself.
#[test]
fn keys_are_used_behind_the_proof_alone() {
    const USES: [&str; 7] =
        ["wrap_seed(", "unwrap_seed(", ".sign(", ".mac(", ".derive(", ".rsa_decrypt(", ".decapsulate("];
    // What a type asks of itself is no call of the token.
    let uses = |file: &PathBuf| USES.iter().any(|call| code(file).replace("self.", "").contains(call));
    let rooms = ARROWS.iter().filter(|(_, may_use)| may_use.contains(&"token"));
    let mut users: Vec<PathBuf> = rooms.flat_map(|(room, _)| sources_of(room)).filter(uses).collect();
    users.sort();
    assert_eq!(users, ["src/app/mod.rs", "src/kms/envelope.rs", "src/kms/private_key.rs"].map(PathBuf::from));
}

#[test]
fn one_operation_is_one_file() {
    let table: BTreeSet<String> = hsm_kms::api::json::OPERATIONS.iter().map(|route| route.name.to_owned()).collect();
    assert_eq!(
        operation_files("kms"),
        table,
        "the files in src/kms and the table in src/api/json/operations.rs differ"
    );
    let table: BTreeSet<String> = hsm_kms::admin::OPERATIONS.iter().map(|route| route.name.to_owned()).collect();
    assert_eq!(
        operation_files("admin"),
        table,
        "the files in src/admin and the table in src/admin/operations.rs differ"
    );
}

/// The operations of a room, by the names of their files.
fn operation_files(room: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for file in sources_of(room) {
        let count = code(&file).matches("impl Operation for ").count();
        assert!(count <= 1, "{} has {count} operations", file.display());
        if count == 1 {
            files.insert(camel(file.file_stem().unwrap().to_str().unwrap()));
        }
    }
    files
}

#[test]
fn the_scan_itself_sees() {
    assert_eq!(used_rooms("use crate::{store, model::KeyId};"), ["store", "model"].map(String::from).into());
    assert_eq!(
        used_rooms("use crate::token::Token; fn x() { crate::audit::y() }"),
        ["token", "audit"].map(String::from).into()
    );
    assert!(
        used_rooms("// use crate::store;\nuse super::kms;").is_empty()
            || !code_of("// use crate::store;").contains("store")
    );
}

/// The rooms that a source names by `crate::room` or inside `use crate::{…}`.
fn used_rooms(code: &str) -> BTreeSet<String> {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let named = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![word(rest)],
        };
        used.extend(named.into_iter().filter(|name| rooms.contains(name.as_str())));
    }
    used
}

/// The first words of the members of a `use` group, nested groups left out.
fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0, Vec::new(), true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            _ if start && letter.is_alphabetic() => {
                names.push(word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn sources_of(room: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from("src").join(room);
    let mut files = if folder.is_dir() { rust_files(&folder) } else { Vec::new() };
    let file = folder.with_extension("rs");
    files.extend(file.is_file().then_some(file));
    assert!(!files.is_empty(), "the room {room} has no source");
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// A source without its comments and without its tests, which may know everything.
fn code(file: &Path) -> String {
    code_of(&std::fs::read_to_string(file).expect("a source"))
}

fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn camel(snake: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    snake.split('_').map(capital).collect()
}
