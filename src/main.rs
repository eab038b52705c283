//! The `hsm-kms` program.

fn main() {}
