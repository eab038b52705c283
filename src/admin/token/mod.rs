//! Tokens: which of them may send each other key material.

mod pair_tokens;
mod unpair_tokens;

pub use pair_tokens::PairTokens;
pub use unpair_tokens::UnpairTokens;
