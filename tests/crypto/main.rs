//! The host's asymmetric cryptography, held against the OpenSSL command and Project Wycheproof's vectors.

mod openssl;
mod pairs;
