//! Tokens: which of them may send each other key material.

mod pair_tokens;

pub use pair_tokens::PairTokens;
