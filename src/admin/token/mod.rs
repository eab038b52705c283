//! Tokens: which of them may send each other key material, and which are lost.

mod give_up_token;
mod pair_tokens;
mod unpair_tokens;

pub use give_up_token::GiveUpToken;
pub use pair_tokens::PairTokens;
pub use unpair_tokens::UnpairTokens;
