//! UnpairTokens, ours.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::{Context, Error, Operation, Plan};
use crate::audit::EventSource;
use crate::kms::arn_of;
use crate::kms::shape::{Member, Shape, required};
use crate::store::PairedToken;

/// Takes back that the material of multi-Region keys may go between two tokens. What went stays where it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UnpairTokens {
    /// What the settings call them, or their serial numbers: a token that is lost for good can be unpaired, too.
    tokens: [String; 2],
}

/// Both tokens, in the order of their serial numbers.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    tokens: [Entry; 2],
    paired: bool,
}

/// One of them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    serial: String,
    fingerprint: String,
}

impl Operation for UnpairTokens {
    const NAME: &'static str = "UnpairTokens";
    const MEMBERS: &'static [Member] = &[required("Tokens", &Shape::List { min: 2, max: 2, of: &NAME })];
    const READ_ONLY: bool = false;
    const SOURCE: EventSource = EventSource::Kms;
    type Output = Output;

    fn plan(self, cx: &Context<'_>) -> Result<Plan<Output>, Error> {
        let [one, other] = self.tokens.each_ref().map(|name| serial_of(cx, name));
        let Some(row) = cx.store().pairing([&one, &other]) else {
            let [one, other] = &self.tokens;
            return Err(Error::NoSuchEntity(format!("The tokens `{one}` and `{other}` are not paired.")));
        };
        refuse_if_needed(cx, [&one, &other])?;
        let tokens = [&row.record.one, &row.record.other].map(Entry::of);
        let response = json!({ "tokens": tokens, "paired": false });
        Ok(Plan::change(cx.change().delete(&*row), Output { tokens, paired: false }, response))
    }
}

impl Entry {
    fn of(PairedToken { serial, fingerprint }: &PairedToken) -> Self {
        Entry { serial: serial.clone(), fingerprint: fingerprint.clone() }
    }
}

/// Refuses while the new material of some key has to go between them.
fn refuse_if_needed(cx: &Context<'_>, serials: [&str; 2]) -> Result<(), Error> {
    let keys = cx.kms.keys_kept_by_pairing(serials);
    if keys.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = keys.iter().take(NAMED_MAX).map(|key| arn_of(&key.record).to_string()).collect();
    if let Some(more) = keys.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        named.push(format!("and {more} more"));
    }
    Err(Error::DeleteConflict(format!(
        "The rotation of these keys needs the pairing, as one token has the primary key and the other a replica: {}. \
         Delete the replicas, or have another Region be the primary one.",
        named.join(", ")
    )))
}

/// The serial number of a token by its name; a name that no token has is taken for one.
fn serial_of(cx: &Context<'_>, name: &str) -> String {
    let named = cx.kms.region_of_token(name).and_then(|region| cx.kms.token_serial(region));
    named.unwrap_or_else(|| name.to_owned())
}

const NAME: Shape = Shape::String { min: 1, max: 128, pattern: None };
/// How many keys a refusal names.
const NAMED_MAX: usize = 10;
