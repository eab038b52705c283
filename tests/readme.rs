//! The README says what is true.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use hsm_kms::admin;
use hsm_kms::api::json::OPERATIONS;
use hsm_kms::audit::EventSource;
use hsm_kms::auth::policy::{Kind, Policy};
use hsm_kms::settings::Settings;

#[test]
fn every_operation_is_in_the_table_and_no_other() {
    let table = section("## What works now");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let named: Vec<_> = rows.flat_map(|row| quoted(row.rsplit_once(" | ").unwrap().1)).collect();
    let set: BTreeSet<_> = named.iter().map(String::as_str).collect();
    assert_eq!(set, OPERATIONS.iter().map(|route| route.name).collect());
    assert_eq!(named.len(), OPERATIONS.len(), "an operation is there twice");
    let of_kms = OPERATIONS.iter().filter(|route| route.source == EventSource::Kms).count();
    assert!(CHANGELOG.contains(&format!("{of_kms} operations of AWS KMS")));
}

/// What is written out with its defaults means what the example means, which leaves them out.
#[test]
fn the_settings_have_the_documented_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let documented = read(folder.path(), &settings());
    let example = read(folder.path(), EXAMPLE);
    assert_eq!(format!("{documented:#?}"), format!("{example:#?}"));
}

#[test]
fn every_setting_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let text = settings();
    let sections: Vec<_> = text.split("\n[").collect();
    assert_eq!(sections.len(), 6);
    for section in sections {
        let header = section.lines().next().unwrap().strip_suffix(']');
        let documented: BTreeSet<_> = section.lines().filter_map(setting_name).collect();
        let mut known = fields(folder.path(), header);
        // These are sections themselves.
        let is_section =
            |field: &str| text.contains(&format!("\n[{field}]")) || text.contains(&format!("\n# [{field}."));
        known.retain(|field| header.is_some() || !is_section(field));
        // These are told where they are: see below.
        known.retain(|field| field != "clusters");
        assert_eq!(documented, known, "in {header:?}");
    }
}

#[test]
fn every_setting_of_a_cluster_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let (_, text) = section("## Custom key stores").split_once("```toml\n").expect("its settings are there");
    let text = text.split_once("```").unwrap().0;
    let header = text.lines().next().unwrap().trim_matches(['[', ']']);
    let documented: BTreeSet<_> = text.lines().filter_map(setting_name).collect();
    assert_eq!(documented, fields(folder.path(), Some(header)));
    assert_eq!(read(folder.path(), &format!("{EXAMPLE}\n{text}")).clusters.len(), 1);
}

#[test]
fn every_exit_code_and_command_is_documented() {
    let help = Command::new(env!("CARGO_BIN_EXE_hsm-kms")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let text = section("## Command line");
    let (_, codes) = help.split_once("Exit codes: ").expect("the help has the exit codes");
    for code in codes.split("; ").filter_map(|part| part.split(' ').next()).filter(|code| code.parse::<u8>().is_ok()) {
        assert!(text.contains(&format!("| {code} |")), "exit code {code}");
    }
    let (_, commands) = help.split_once("Commands:\n").expect("the help has the commands");
    let names = commands.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        assert!(text.contains(&format!("`hsm-kms {name} ")), "command {name}");
    }
}

#[test]
fn every_command_for_principals_exists_with_its_flags() {
    let commands: Vec<_> = README.replace("\\\n", " ").lines().filter_map(principal_command).collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for words in commands {
        let route = route(&words[0]).unwrap_or_else(|| panic!("there is no verb {}", words[0]));
        let mut flags: BTreeSet<_> = words.iter().filter_map(|word| word.strip_prefix("--")).collect();
        flags.retain(|flag| !["account", "config", "data"].contains(flag));
        let known: BTreeSet<_> = route.members.iter().map(|member| kebab(member.name)).collect();
        assert!(flags.iter().all(|flag| known.contains(*flag)), "{words:?}");
        let required = route.members.iter().filter(|member| member.required).map(|member| kebab(member.name));
        assert!(required.clone().all(|name| flags.contains(name.as_str())), "{words:?}");
    }
}

#[test]
fn every_verb_named_exists() {
    let fences = README.split("```").step_by(2);
    let named: BTreeSet<_> = fences.flat_map(quoted).filter(|text| is_verb(text)).collect();
    assert!(named.contains("create-account") && named.contains("revoke-role-sessions"), "{named:?}");
    for verb in named {
        assert!(route(&verb).is_some(), "there is no verb {verb}");
    }
}

#[test]
fn every_policy_is_accepted() {
    let policies: Vec<_> = blocks("json").filter(|text| text.contains("\"Effect\"")).collect();
    assert_eq!(policies.len(), 4);
    for text in policies {
        let kind = match (text.contains("sts:AssumeRole"), text.contains("Principal\":")) {
            (true, true) => Kind::TrustPolicy,
            (false, true) => Kind::KeyPolicy,
            (_, false) => Kind::IdentityPolicy,
        };
        let whole = match text.contains("\"Statement\"") {
            true => text.to_owned(),
            false => format!(r#"{{"Version": "2012-10-17", "Statement": [{text}]}}"#),
        };
        Policy::parse(&whole, kind).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

/// The words behind `hsm-kms principal` in a line of a shell, without its comment.
fn principal_command(line: &str) -> Option<Vec<String>> {
    let (_, words) = line.split('#').next()?.split_once("hsm-kms principal ")?;
    let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
    is_verb(words.first()?).then_some(words)
}

fn is_verb(text: &str) -> bool {
    const FIRST: [&str; 11] =
        ["attach", "create", "delete", "detach", "get", "list", "put", "revoke", "tag", "untag", "update"];
    text.split_once('-').is_some_and(|(first, _)| FIRST.contains(&first))
}

fn route(verb: &str) -> Option<&'static admin::Route> {
    admin::OPERATIONS.iter().find(|route| kebab(route.name) == verb)
}

/// `CreateUser` as `create-user`.
fn kebab(name: &str) -> String {
    let dashed =
        |letter: char| letter.is_ascii_uppercase().then_some('-').into_iter().chain([letter.to_ascii_lowercase()]);
    name.chars().flat_map(dashed).skip(1).collect()
}

/// What stands in fences of this language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let fenced = README.split("```").skip(1).step_by(2);
    fenced.filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

/// From a heading to the next of its kind.
fn section(heading: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n{heading}\n")).expect("the README has the heading");
    rest.split("\n## ").next().unwrap()
}

fn settings() -> String {
    let (_, rest) = section("## Settings").split_once("```toml\n").expect("the settings are there");
    rest.split_once("```").unwrap().0.to_owned()
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `name` of `name = value`, which may be commented out.
fn setting_name(line: &str) -> Option<String> {
    let name = line.trim_start_matches("# ").split_once(" = ")?.0;
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then(|| name.to_owned())
}

/// The fields that a section has, as its refusal of an unknown one tells.
fn fields(folder: &Path, section: Option<&str>) -> BTreeSet<String> {
    let text = match section {
        None => format!("nonsense = 1\n{EXAMPLE}"),
        Some("token") => EXAMPLE.replace("[token]", "[token]\nnonsense = 1"),
        Some(section) => format!("{EXAMPLE}\n[{section}]\nnonsense = 1\n"),
    };
    let path = folder.join("nonsense.toml");
    std::fs::write(&path, text).unwrap();
    let refusal = Settings::read(&path).unwrap_err().to_string();
    let (_, expected) = refusal.split_once("expected").unwrap_or_else(|| panic!("{refusal}"));
    let fields = quoted(expected.split(" for key").next().unwrap());
    fields.into_iter().collect()
}

fn read(folder: &Path, text: &str) -> Settings {
    let path = folder.join("settings.toml");
    std::fs::write(&path, text).unwrap();
    Settings::read(&path).unwrap()
}

const README: &str = include_str!("../README.md");
const CHANGELOG: &str = include_str!("../CHANGELOG.md");
/// Every folder of a vendor has its steps, and settings that this program reads.
#[test]
fn every_vendors_folder_is_whole() {
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/hsm-config")).unwrap();
    let mut names = Vec::new();
    for folder in folders.map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let settings = hsm_kms::settings::Settings::read(&folder.join("hsm-kms.toml")).unwrap();
        let steps = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(steps.contains("## Steps") && steps.contains("hsm-kms token probe"), "{name}");
        assert!(steps.contains(settings.token.module.to_str().unwrap()) || name == "generic", "{name}: its module");
        if let Some(profile) = settings.token.profile {
            assert_eq!(profile.to_str(), Some(name.as_str()));
        }
        names.push(name);
    }
    names.sort();
    let vendors = ["aws-cloudhsm", "generic", "luna", "nshield", "softhsm2", "utimaco", "yubihsm2"];
    assert!(vendors.iter().all(|vendor| names.iter().any(|name| name == vendor)), "{names:?}");
}

const EXAMPLE: &str = include_str!("../hsm-config/softhsm2/hsm-kms.toml");
