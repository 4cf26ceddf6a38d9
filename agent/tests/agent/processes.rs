//! The list of processes.

use std::process::{Command, Stdio};

use podgate_agent::protocol::Decoder;
use podgate_agent::protocol::processes::{Listed, MOST_COMMAND};

#[test]
fn command_lines_are_cut_and_not_read_whole() {
    // Its own arguments are what it is about.
    let long = "x".repeat(100_000);
    let mut child = Command::new("sh").args(["-c", "read line; :", "-", &long]).stdin(Stdio::piped()).spawn().unwrap();
    let said = Command::new(env!("CARGO_BIN_EXE_agent")).arg("processes").output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let mut decoder = Decoder::<Listed>::default();
    decoder.push(&said.stdout);
    let mut found = Vec::new();
    while let Some(Listed::Process(process)) = decoder.next().unwrap() {
        found.push(process);
    }
    assert!(found.is_sorted_by_key(|process| process.pid));
    let of = |pid: u32| found.iter().find(|process| process.pid == pid);
    let (it, this) = (of(child.id()).unwrap(), of(std::process::id()).unwrap());
    assert_eq!((it.parent, it.command.len()), (std::process::id(), MOST_COMMAND));
    assert!(it.command.starts_with(b"sh\0-c\0read line; :\0-\0xxx"));
    assert!(this.resident > 100_000 && this.resident < 1 << 32 && this.elapsed_ms < 3_600_000, "{this:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
