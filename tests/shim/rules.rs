//! The control file, read again when it changes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use cryptoki_sys::*;

use crate::{shared, state};

/// What the shim does beside passing calls through.
#[derive(Default)]
pub struct Rules(Vec<Arc<Rule>>);

/// One line of the control file.
pub struct Rule {
    text: String,
    /// The token that it is for; all without one.
    label: Option<String>,
    pub word: String,
    pub arguments: Vec<String>,
    /// How often a function that it is for was called since the rule is there.
    hits: AtomicU64,
}

impl Rules {
    /// The rules that begin with this word, for the token with this label.
    pub fn of<'a>(&'a self, label: &'a str, word: &'a str) -> impl Iterator<Item = &'a Arc<Rule>> {
        let fits =
            move |rule: &&Arc<Rule>| rule.word == word && rule.label.as_ref().is_none_or(|wanted| wanted == label);
        self.0.iter().filter(fits)
    }

    /// Whether there is a rule with this word, and this first argument if it is given.
    pub fn has(&self, label: &str, word: &str, first: &str) -> bool {
        self.of(label, word).any(|rule| first.is_empty() || rule.arguments.first().is_some_and(|given| given == first))
    }

    /// The number behind a word.
    pub fn number(&self, label: &str, word: &str) -> Option<CK_ULONG> {
        self.of(label, word).next().map(|rule| number(&rule.arguments[0]))
    }

    /// The text behind a word.
    pub fn text(&self, label: &str, word: &str) -> Option<String> {
        self.of(label, word).next().map(|rule| rule.arguments.join(" "))
    }

    /// Whether a mechanism is hidden.
    pub fn hides(&self, label: &str, mechanism: CK_MECHANISM_TYPE) -> bool {
        self.lists(label, "hide", mechanism)
    }

    /// Whether the number is one of those behind a word.
    pub fn lists(&self, label: &str, word: &str, wanted: CK_ULONG) -> bool {
        self.of(label, word).any(|rule| rule.arguments.iter().any(|listed| number(listed) == wanted))
    }

    /// Whether this very rule is still there.
    pub fn still_has(&self, rule: &Rule) -> bool {
        self.0.iter().any(|other| other.text == rule.text)
    }

    /// The lines that are here and not there, with their tokens' labels.
    fn beyond<'a>(&'a self, other: &'a Rules) -> impl Iterator<Item = &'a Arc<Rule>> {
        self.0.iter().filter(|rule| !other.still_has(rule))
    }
}

impl Rule {
    /// Whether the rule is for this call: `functions` says where the functions' names are, and behind them may be when.
    pub fn is_for(&self, function: &str, functions: usize) -> bool {
        let named = &self.arguments[functions];
        if named != "*" && !named.split(',').any(|name| name == function) {
            return false;
        }
        let hit = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.arguments[functions + 1..] {
            [] => true,
            [when, count] if when == "nth" => hit == number(count),
            [when, count] if when == "from" => hit >= number(count),
            [when, part] if when == "chance" => chance() < part.parse::<f64>().unwrap_or_else(|_| self.refuse()),
            _ => self.refuse(),
        }
    }

    fn parse(line: &str) -> Rule {
        let mut words = line.split_whitespace().map(str::to_owned).peekable();
        let label = words.next_if(|word| word.starts_with('@')).map(|word| word[1..].to_owned());
        let word = words.next().unwrap_or_default();
        let rule = Rule { text: line.to_owned(), label, word, arguments: words.collect(), hits: AtomicU64::new(0) };
        match WORDS.iter().find(|(word, _)| *word == rule.word) {
            Some((_, least)) if rule.arguments.len() >= *least => {}
            _ => rule.refuse(),
        }
        match rule.word.as_str() {
            "fail" | "fail_after" => check_functions(&rule, 1),
            "latency" => check_functions(&rule, 1),
            "hang" => check_functions(&rule, 0),
            _ => {}
        }
        rule
    }

    /// A rule that is not understood would have a test pass that tests nothing.
    fn refuse(&self) -> ! {
        eprintln!("quirk shim: this rule is not understood: {}", self.text);
        std::process::abort()
    }

    /// The label of the token that it is for.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }
}

fn check_functions(rule: &Rule, functions: usize) {
    let known = |name: &str| name == "*" || crate::FUNCTIONS.contains(&name);
    if !rule.arguments[functions].split(',').all(known) {
        rule.refuse();
    }
}

/// A number: decimal, hexadecimal, or the name of a return code.
pub fn number(text: &str) -> CK_ULONG {
    let parsed = match (text.strip_prefix("0x"), CODES.iter().find(|(name, _)| *name == text)) {
        (Some(hex), _) => CK_ULONG::from_str_radix(hex, 16).ok(),
        (_, Some((_, code))) => Some(*code),
        _ => text.parse().ok(),
    };
    parsed.unwrap_or_else(|| {
        eprintln!("quirk shim: this is no number and no return code: {text}");
        std::process::abort()
    })
}

fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Where the control file is, if there is one.
pub fn control_file() -> Option<&'static PathBuf> {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os("HSM_KMS_SHIM").map(PathBuf::from)).as_ref()
}

/// The rules as they are in the file now. What has come or gone since the last look, and is an event, happens first.
pub fn current() -> Arc<Rules> {
    let generation = shared::generation();
    loaded(generation).unwrap_or_else(|| reload(generation))
}

fn loaded(generation: u64) -> Option<Arc<Rules>> {
    let loaded = LOADED.read().unwrap_or_else(PoisonError::into_inner);
    loaded.as_ref().filter(|loaded| loaded.0 == generation).map(|loaded| Arc::clone(&loaded.1))
}

fn reload(generation: u64) -> Arc<Rules> {
    let _one_at_a_time = RELOAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rules) = loaded(generation) {
        return rules;
    }
    let old = LOADED.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|loaded| Arc::clone(&loaded.1));
    let old = old.unwrap_or_default();
    let text = control_file().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let known = |line: &str| old.0.iter().find(|rule| rule.text == line).cloned();
    let new = Arc::new(Rules(lines.map(|line| known(line).unwrap_or_else(|| Arc::new(Rule::parse(line)))).collect()));
    *LOADED.write().unwrap_or_else(PoisonError::into_inner) = Some((generation, Arc::clone(&new)));
    for rule in new.beyond(&old) {
        match rule.word.as_str() {
            "logout" => state::log_out(rule.label()),
            "close_sessions" | "removed" | "swapped" => state::lose_sessions(rule.label()),
            _ => {}
        }
    }
    for rule in old.beyond(&new).filter(|rule| rule.word == "swapped") {
        state::lose_sessions(rule.label());
    }
    new
}

/// The rules, and which ones they are.
static LOADED: RwLock<Option<(u64, Arc<Rules>)>> = RwLock::new(None);
static RELOAD: Mutex<()> = Mutex::new(());

/// The first word of every rule, and how many arguments it needs.
const WORDS: [(&str, usize); 35] = [
    ("hide", 1),
    ("alias", 2),
    ("gcm_iv", 1),
    ("vendor_gcm", 0),
    ("bad_tag", 1),
    ("bad_padding", 1),
    ("sessions", 1),
    ("read_only", 1),
    ("data", 1),
    ("objects", 1),
    ("id_max", 1),
    ("no_session_objects", 0),
    ("hmac_types", 0),
    ("pairs_are_one", 0),
    ("refuse_attribute", 1),
    ("refuse_false", 2),
    ("refuse_key_type", 1),
    ("renumber", 0),
    ("blind", 0),
    ("latency", 2),
    ("hang", 1),
    ("fail", 2),
    ("fail_after", 2),
    ("removed", 0),
    ("swapped", 1),
    ("logout", 0),
    ("close_sessions", 0),
    ("pin", 1),
    ("library_manufacturer", 1),
    ("library_description", 1),
    ("library_version", 1),
    ("token_manufacturer", 1),
    ("token_model", 1),
    ("token_serial", 1),
    ("token_firmware", 1),
];

macro_rules! codes {
    ($($code:ident),* $(,)?) => { [$((stringify!($code), $code)),*] };
}

/// The return codes that rules name; others go by number.
const CODES: [(&str, CK_RV); 38] = codes![
    CKR_HOST_MEMORY,
    CKR_SLOT_ID_INVALID,
    CKR_GENERAL_ERROR,
    CKR_FUNCTION_FAILED,
    CKR_ARGUMENTS_BAD,
    CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_DATA_INVALID,
    CKR_DATA_LEN_RANGE,
    CKR_DEVICE_ERROR,
    CKR_DEVICE_MEMORY,
    CKR_DEVICE_REMOVED,
    CKR_ENCRYPTED_DATA_INVALID,
    CKR_ENCRYPTED_DATA_LEN_RANGE,
    CKR_FUNCTION_CANCELED,
    CKR_FUNCTION_NOT_SUPPORTED,
    CKR_FUNCTION_REJECTED,
    CKR_KEY_HANDLE_INVALID,
    CKR_KEY_FUNCTION_NOT_PERMITTED,
    CKR_MECHANISM_INVALID,
    CKR_MECHANISM_PARAM_INVALID,
    CKR_OBJECT_HANDLE_INVALID,
    CKR_OPERATION_ACTIVE,
    CKR_OPERATION_NOT_INITIALIZED,
    CKR_PIN_INCORRECT,
    CKR_PIN_LEN_RANGE,
    CKR_PIN_EXPIRED,
    CKR_PIN_LOCKED,
    CKR_SESSION_CLOSED,
    CKR_SESSION_COUNT,
    CKR_SESSION_HANDLE_INVALID,
    CKR_SESSION_READ_ONLY,
    CKR_TEMPLATE_INCONSISTENT,
    CKR_TOKEN_NOT_PRESENT,
    CKR_TOKEN_NOT_RECOGNIZED,
    CKR_USER_NOT_LOGGED_IN,
    CKR_USER_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL,
    CKR_CRYPTOKI_NOT_INITIALIZED,
];
