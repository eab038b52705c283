//! The wire: HTTP, JSON and status codes.
