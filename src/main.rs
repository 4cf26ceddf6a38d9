//! The `podgate` program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    podgate::cli::run(podgate::cli::Arguments::parse())
}
