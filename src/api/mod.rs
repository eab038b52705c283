//! The wire: HTTP, JSON and status codes.

pub mod health;
pub mod http;
