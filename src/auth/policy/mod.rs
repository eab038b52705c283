//! The IAM policy language: policies compiled once, and the decision that they make together.
//!
//! Pure: no clock, no store, no await. What a request is about comes in as a [`Request`], what has been written about
//! it as [`Evidence`], and [`decide`] answers.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

mod condition;
mod document;
mod evaluate;
mod operator;
mod pattern;
mod principal;
mod request;
mod scalar;
mod statement;
mod variable;

pub use document::{Kind, Malformed, Policy};
pub use evaluate::{By, Decision, Evidence, Grantee, Reason, decide};
pub use principal::Principal;
pub use request::{Conditions, Request, Subject, Value, Who};
