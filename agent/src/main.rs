//! `podgate-agent` runs inside a container, as the user whose command it runs, and sees to it that the command and all
//! that it started come to an end: when its time is up, when it says too much, when whoever asked is gone. It needs
//! nothing of the container's image. The gateway speaks to it by [`podgate_agent::protocol`].
//!
//! Nothing that it started can leave it: it is their subreaper, so an orphan of theirs becomes its child. One that is
//! of the same user can kill it; then the gateway says that the command was not supervised.

mod child;
mod files;
mod link;
mod peer;
mod pipes;
mod processes;
mod signals;
mod stat;
mod supervise;
mod tree;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => supervise::run(),
        ["processes"] => processes::list(),
        ["files"] => files::serve(None),
        ["files", root] => files::serve(Some(root)),
        _ => {
            let version = env!("CARGO_PKG_VERSION");
            eprintln!("podgate-agent {version}: takes no arguments; the gateway speaks to its standard input");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("podgate-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
