//! The `hsm-kms` program.

fn main() -> std::process::ExitCode {
    hsm_kms::cli::main()
}
