<<<<<<< HEAD
//! HTTP, JSON and status codes; nothing else knows them.

pub mod health;
pub mod http;
pub mod json;
=======
//! The wire: HTTP, JSON and status codes.

pub mod health;
pub mod http;
>>>>>>> room-sigv4
