//! The agent on this machine, without a container: what is true of a process tree here is true of it there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod connect;
mod io;
mod processes;
mod start;
mod support;
mod terminal;
mod trees;
