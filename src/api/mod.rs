//! HTTP, JSON and status codes; nothing else knows them.

pub mod admin;
pub mod health;
pub mod http;
pub mod json;
pub mod query;
