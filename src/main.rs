//! The `podgate` program.

use std::process::ExitCode;

/// Gives memory back: glibc keeps what a burst of password hashes or large bodies took (440 MB after 500 sign-ins).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    podgate::cli::run(podgate::cli::arguments())
}
