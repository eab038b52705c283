//! Looks for secrets in files, in every form in which a careless program writes bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret and what it looks like when it was written down.
pub struct Canary {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

/// Secrets to look for, all in one pass over a file.
#[derive(Default)]
pub struct Canaries {
    names: Vec<String>,
    /// By their first eight bytes.
    forms: HashMap<[u8; HEAD], Vec<Form>>,
}

/// One look of one secret.
struct Form {
    canary: usize,
    look: &'static str,
    bytes: Vec<u8>,
}

impl Canary {
    /// The first 15 bytes of a secret: whoever wrote all of it wrote these, and no chance gives them again.
    pub fn of_bytes(name: &str, secret: &[u8]) -> Self {
        let part = &secret[..15];
        let hex = hex::encode(part);
        let decimal = part.iter().map(u8::to_string).collect::<Vec<_>>();
        let mut forms = vec![
            ("raw", part.to_vec()),
            ("upper-case hex", hex.to_uppercase().into_bytes()),
            ("decimal numbers", decimal.join(", ").into_bytes()),
            ("decimal JSON", decimal.join(",").into_bytes()),
            ("escaped", part.escape_ascii().to_string().into_bytes()),
            ("hex", hex.into_bytes()),
        ];
        // In the middle of something longer, base64 has three looks.
        for shift in 0..3 {
            let padded = [&[0; 2][..shift], part].concat();
            let whole = |text: String| text.as_bytes()[(shift * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec();
            forms.push(("base64", whole(STANDARD_NO_PAD.encode(&padded))));
            forms.push(("URL-safe base64", whole(URL_SAFE_NO_PAD.encode(&padded))));
        }
        Canary { name: name.to_owned(), forms }
    }

    /// A secret that is text already.
    pub fn of_text(name: &str, secret: &str) -> Self {
        let mut canary = Canary::of_bytes(name, secret.as_bytes());
        canary.forms.push(("text", secret.as_bytes().to_vec()));
        canary
    }
}

impl Canaries {
    /// One more to look for.
    pub fn add(&mut self, canary: Canary) {
        let number = self.names.len();
        self.names.push(canary.name);
        for (look, bytes) in canary.forms {
            let head = *bytes.first_chunk().expect("every form is longer than its head");
            self.forms.entry(head).or_default().push(Form { canary: number, look, bytes });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Panics if one is in these files or in files below these folders; `except` are left out.
    pub fn assert_absent_in(&self, places: &[&Path], except: &[PathBuf]) {
        let files = places.iter().flat_map(|place| files_below(place));
        let files: Vec<_> = files.filter(|file| !except.contains(file)).collect();
        assert!(!files.is_empty(), "nothing to look through");
        let found: Vec<_> = files.iter().flat_map(|file| self.found_in(file)).collect();
        assert!(found.is_empty(), "secrets were written down: {found:#?}");
    }

    fn found_in(&self, file: &Path) -> Vec<String> {
        let bytes = std::fs::read(file).expect("a file of the service can be read");
        let mut found = Vec::new();
        // Asked first, since a map is slow when it is asked for every byte of a long log.
        let mut begins = vec![false; 1 << 16];
        self.forms.keys().for_each(|head| begins[usize::from(head[0]) << 8 | usize::from(head[1])] = true);
        for (at, head) in bytes.windows(HEAD).enumerate() {
            if !begins[usize::from(head[0]) << 8 | usize::from(head[1])] {
                continue;
            }
            let Some(candidates) = self.forms.get(head) else { continue };
            let here = candidates.iter().filter(|form| bytes[at..].starts_with(&form.bytes));
            found.extend(here.map(|Form { canary, look, .. }| {
                format!("{} as {look} in {} at {at}", self.names[*canary], file.display())
            }));
        }
        found
    }
}

fn files_below(place: &Path) -> Vec<PathBuf> {
    if !place.is_dir() {
        // The operators' socket holds nothing.
        return if place.is_file() { vec![place.to_owned()] } else { Vec::new() };
    }
    let entries = std::fs::read_dir(place).expect("a folder of the service can be read");
    entries.flat_map(|entry| files_below(&entry.expect("an entry").path())).collect()
}

const HEAD: usize = 8;

#[test]
fn a_secret_is_found_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let secret: Vec<u8> = (0..32_u8).map(|number| number.wrapping_mul(37) ^ 0xa5).collect();
    let decimal = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let shifted = |junk: &[u8]| STANDARD_NO_PAD.encode([junk, &secret, junk].concat()).into_bytes();
    let written = [
        secret.clone(),
        hex::encode(&secret).into_bytes(),
        hex::encode_upper(&secret).into_bytes(),
        format!("{secret:?}").into_bytes(),
        decimal.replace(' ', "").into_bytes(),
        secret.escape_ascii().to_string().into_bytes(),
        shifted(b""),
        shifted(b"x"),
        shifted(b"xy"),
        shifted(b"xyz"),
        URL_SAFE_NO_PAD.encode(&secret).into_bytes(),
    ];
    let mut canaries = Canaries::default();
    canaries.add(Canary::of_bytes("secret", &secret));
    for text in written {
        let file = folder.path().join("file");
        std::fs::write(&file, [b"before ", &text[..], b" behind"].concat()).unwrap();
        assert!(!canaries.found_in(&file).is_empty(), "not found: {}", text.escape_ascii());
    }
    std::fs::write(folder.path().join("file"), b"nothing of it").unwrap();
    canaries.assert_absent_in(&[folder.path()], &[]);
}
