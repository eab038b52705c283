//! The host's asymmetric cryptography, held against the OpenSSL command and Project Wycheproof's vectors.

mod known;
mod lattice;
#[path = "../support/openssl.rs"]
mod openssl;
mod pairs;
mod wycheproof;
