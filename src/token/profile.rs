//! What is particular about a vendor's token, as data.

use std::path::Path;
use std::time::Duration;

use cryptoki::error::RvError;
use serde::Deserialize;

use super::error::Error;

/// How one vendor's tokens are used.
///
/// Built in are the profiles in `hsm-config/`; a file named in the settings replaces them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// The version of this format: 1.
    pub schema: u32,
    /// The vendor's folder in `hsm-config/`.
    pub name: String,
    /// How a seed is wrapped.
    pub scheme: Scheme,
    #[serde(rename = "match", default)]
    matching: Matching,
    /// Worker threads and what they may do with keys.
    #[serde(default)]
    pub sessions: Sessions,
    /// What is particular about RSA.
    #[serde(default)]
    pub rsa: Rsa,
    /// What is particular about imports.
    #[serde(default)]
    pub imports: Imports,
    /// What return codes mean here.
    #[serde(default)]
    pub errors: Errors,
    /// What the token's files need.
    #[serde(default)]
    pub files: Files,
    /// How long a call may take.
    #[serde(default)]
    pub limits: Limits,
}

/// How a seed is wrapped, recorded with the material and in the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scheme {
    /// `CKM_AES_GCM` with a random 96-bit IV of ours: IV ‖ ciphertext ‖ tag.
    AesGcmHostIv,
}

/// Worker threads and what they may do with keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sessions {
    /// Threads for wrapping, unwrapping and random bytes: 1 or more.
    pub fast_workers: usize,
    /// Threads for what private keys do, which takes up to ten milliseconds: 1 or more.
    pub private_workers: usize,
    /// Threads for destroying, importing, listing, and generating secret keys: 1 or more.
    pub slow_workers: usize,
    /// Threads for generating key pairs and trying what the token can do, which takes seconds: 1 or more.
    pub making_workers: usize,
    /// Whether each fast worker uses a session copy of a key instead of the token object.
    pub session_copies: bool,
    /// Whether a key pair is made in the session and then copied to the token, so that others need not wait for it where
    /// `objects_one_at_a_time` is set.
    pub pairs_made_in_session: bool,
    /// Whether one thread at a time may search, make or destroy token objects.
    pub objects_one_at_a_time: bool,
}

/// What is particular about RSA.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rsa {
    /// Where the padding of OAEP with SHA-256 is taken off.
    pub oaep_sha256: Unpadding,
}

/// What is particular about imports.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Imports {
    /// Whether it is tried that the token unwraps AES and HMAC keys by itself: into a session object, whose length is
    /// found without reading it, and which is then copied to the token. It needs `pairs_made_in_session`.
    pub unwrap_secrets: bool,
}

/// Where a padding is taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unpadding {
    /// On the token.
    #[default]
    Token,
    /// On the host, after `CKM_RSA_X_509` on the token: the padded plaintext is in the host's memory.
    Host,
}

/// What return codes mean here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Errors {
    /// The codes by which this token may tell a wrong tag, without `CKR_`: `GeneralError`, `FunctionFailed`,
    /// `EncryptedDataInvalid`, `EncryptedDataLenRange`, and where it is listed `DeviceError`. But for the two that say so,
    /// the key must do its work in the next call, or it was the token that failed.
    pub auth_failure: Vec<String>,
}

/// What the token's files need.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Files {
    /// Whether SoftHSM's files are synced after every change.
    pub sync_files: bool,
    /// Whether SoftHSM's `token.object` is copied before every login.
    pub keep_token_object_copy: bool,
}

/// How long a call may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Seconds in one call until its worker is written off.
    pub call_seconds: u64,
    /// Seconds in one key generation until its worker is written off.
    pub generation_seconds: u64,
    /// Seconds without a single worker until the process should end itself.
    pub hopeless_seconds: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Matching {
    /// How the library's manufacturer begins; empty matches none.
    manufacturer: String,
    /// The library's versions, `major.minor`; empty matches all.
    library: Vec<String>,
}

impl Profile {
    /// The profile in the file `path`.
    pub fn read(path: &Path) -> Result<Profile, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Profile { origin: path.display().to_string(), reason: error.to_string() })?;
        Profile::parse(&text, &path.display().to_string())
    }

    /// The built-in profile for a library, else the cautious `generic` one.
    pub fn matching(manufacturer: &str, library: &str) -> Result<Profile, Error> {
        for (name, text) in BUILT_IN {
            let profile = Profile::parse(text, name)?;
            if profile.matching.fits(manufacturer, library) {
                return Ok(profile);
            }
        }
        Profile::parse(GENERIC, "generic")
    }

    /// The scheme's number in records and blobs.
    pub fn scheme_number(&self) -> u8 {
        match self.scheme {
            Scheme::AesGcmHostIv => 1,
        }
    }

    /// Whether `code` may mean a wrong tag here.
    pub fn tells_bad_tag(&self, code: RvError) -> bool {
        let name = match code {
            RvError::GeneralError => "GeneralError",
            RvError::FunctionFailed => "FunctionFailed",
            RvError::EncryptedDataInvalid => "EncryptedDataInvalid",
            RvError::EncryptedDataLenRange => "EncryptedDataLenRange",
            RvError::DeviceError => "DeviceError",
            _ => return false,
        };
        self.errors.auth_failure.iter().any(|known| known == name)
    }

    fn parse(text: &str, origin: &str) -> Result<Profile, Error> {
        let refuse = |reason: String| Error::Profile { origin: origin.to_owned(), reason };
        let profile: Profile = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if profile.schema != 1 {
            return Err(refuse(format!("schema is {}, and this version reads schema 1", profile.schema)));
        }
        let Sessions { fast_workers, private_workers, slow_workers, making_workers, .. } = profile.sessions;
        if [fast_workers, private_workers, slow_workers, making_workers].contains(&0) {
            return Err(refuse(
                "fast_workers, private_workers, slow_workers and making_workers in [sessions] must be at least 1"
                    .to_owned(),
            ));
        }
        if let Some(word) = profile.errors.auth_failure.iter().find(|word| !AUTH_FAILURES.contains(&word.as_str())) {
            return Err(refuse(format!("errors.auth_failure: `{word}` is none of {}", AUTH_FAILURES.join(", "))));
        }
        Ok(profile)
    }
}

impl Matching {
    fn fits(&self, manufacturer: &str, library: &str) -> bool {
        !self.manufacturer.is_empty()
            && manufacturer.starts_with(&self.manufacturer)
            && (self.library.is_empty() || self.library.iter().any(|version| version == library))
    }
}

impl Limits {
    /// The limit for one call.
    pub fn call(&self) -> Duration {
        Duration::from_secs(self.call_seconds)
    }

    /// The limit for one key generation.
    pub fn generation(&self) -> Duration {
        Duration::from_secs(self.generation_seconds)
    }

    /// The limit for having no worker.
    pub fn hopeless(&self) -> Duration {
        Duration::from_secs(self.hopeless_seconds)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            fast_workers: 1,
            private_workers: 1,
            slow_workers: 1,
            making_workers: 1,
            session_copies: false,
            pairs_made_in_session: false,
            objects_one_at_a_time: false,
        }
    }
}

impl Default for Errors {
    fn default() -> Self {
        Errors { auth_failure: AUTH_FAILURES[..4].iter().copied().map(str::to_owned).collect() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { call_seconds: 10, generation_seconds: 120, hopeless_seconds: 60 }
    }
}

/// The last one is believed only where a profile lists it.
const AUTH_FAILURES: [&str; 5] =
    ["GeneralError", "EncryptedDataInvalid", "EncryptedDataLenRange", "FunctionFailed", "DeviceError"];

const BUILT_IN: [(&str, &str); 2] = [
    ("softhsm2", include_str!("../../hsm-config/softhsm2/profile.toml")),
    ("kryoptic", include_str!("../../hsm-config/kryoptic/profile.toml")),
];

/// For a library that no profile knows: one thread a lane, the token's own objects, nothing assumed about files.
const GENERIC: &str = "schema = 1\nname = \"generic\"\nscheme = \"aes_gcm_host_iv\"\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softhsm_is_known_and_a_stranger_gets_the_cautious_profile() {
        let known = Profile::matching("SoftHSM", "2.6").unwrap();
        assert_eq!(known.name, "softhsm2");
        assert_eq!((known.sessions.private_workers, known.rsa.oaep_sha256), (2, Unpadding::Host));
        assert!(known.sessions.session_copies && known.files.sync_files && known.files.keep_token_object_copy);
        assert_eq!(known.scheme_number(), 1);
        assert!(known.tells_bad_tag(RvError::GeneralError));
        assert!(!known.tells_bad_tag(RvError::DeviceError));
        for (manufacturer, version) in [("SoftHSM", "9.9"), ("Else", "2.6"), ("", "")] {
            let other = Profile::matching(manufacturer, version).unwrap();
            assert_eq!(other.name, "generic");
            assert!(!other.sessions.session_copies);
        }
    }

    #[test]
    fn a_profile_with_a_mistake_is_refused_by_name() {
        let with = |line: &str| Profile::parse(&format!("{GENERIC}{line}\n"), "test").unwrap_err().to_string();
        assert!(with("sesions = 1").contains("sesions"));
        assert!(with("[sessions]\nfast_workers = 0").contains("at least 1"));
        assert!(with("[errors]\nauth_failure = [\"GenralError\"]").contains("GenralError"));
        assert!(Profile::parse(&GENERIC.replace("= 1", "= 2"), "test").unwrap_err().to_string().contains("schema 1"));
    }
}
