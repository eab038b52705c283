//! The `hsm-kms` program.

/// With a token's dozens of threads, the C library's allocator has the request's threads wait for one another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hsm_kms::cli::main()
}
