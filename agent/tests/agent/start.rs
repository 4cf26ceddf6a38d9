//! What is started, and what is told where it is not.

use podgate_agent::protocol::{Cause, Failure, Frame, Order, Report, Stage, Start};

use crate::support::{Agent, command, shell};

const ENOENT: u32 = 2;
const ENOEXEC: u32 = 8;
const EACCES: u32 = 13;
const ENOTDIR: u32 = 20;

#[test]
fn a_command_runs_with_its_words_its_environment_and_in_its_directory() {
    let start = Start {
        environment: vec![("GREETING".into(), "hello = you".into()), ("HOME".into(), "/nowhere".into())],
        workdir: Some("/usr/share".into()),
        ..shell("echo \"$GREETING $HOME\"; pwd; echo \"$0|$#\"; exit 7")
    };
    let said = Agent::start(start).finish();
    assert_eq!(said.stdout(), "hello = you /nowhere\n/usr/share\n/bin/sh|0\n");
    let ended = said.ended();
    assert_eq!((ended.cause, ended.exit_code, ended.signal), (Cause::Itself, Some(7), None));
    assert_eq!((ended.killed, ended.left, ended.stdout_bytes), (0, 0, said.stdout.len() as u64));

    let said = Agent::start(command(&["printf", "%s|", "a b", "$HOME", ""])).finish();
    assert_eq!(said.stdout(), "a b|$HOME||");
    let said = Agent::start(shell("kill -TERM $$")).finish();
    assert_eq!((said.ended().exit_code, said.ended().signal), (None, Some(15)));
}

#[test]
fn a_command_is_the_leader_of_a_session_with_clean_signals() {
    let script = "read -r pid comm state ppid pgrp session rest < /proc/self/stat; echo $((pid - pgrp)) $((pid - session)); \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    // The shell's own builtins only: `read` and `echo` are of the shell, whose pid that is.
    let said = Agent::start(shell(script)).finish();
    let lines: Vec<&str> = said.stdout().lines().collect();
    assert_eq!(lines[0], "0 0");
    for line in &lines[1..] {
        // Without the C library's own.
        let signals = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap() & 0x7fff_ffff;
        assert_eq!(signals, 0, "{line}");
    }
}

#[test]
fn what_cannot_be_started_is_told_with_its_reason() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (plain, text) = (dir.join("plain-file"), dir.join("no-program"));
    std::fs::write(&plain, "nothing\n").unwrap();
    std::fs::write(&text, "nothing\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&text, executable).unwrap();
    let (plain, text) = (plain.to_str().unwrap(), text.to_str().unwrap());
    let at = |workdir: &str| Start { workdir: Some(workdir.into()), ..command(&["true"]) };
    let with_path = |path: &str| Start { environment: vec![("PATH".into(), path.into())], ..command(&["true"]) };
    let cases = [
        (command(&["/no/such/program"]), Stage::Execute, ENOENT),
        (command(&["nosuchprogram"]), Stage::Execute, ENOENT),
        (command(&["/etc/passwd/x"]), Stage::Execute, ENOENT),
        (command(&[""]), Stage::Execute, ENOENT),
        (with_path("/nowhere:/etc"), Stage::Execute, ENOENT),
        (command(&[plain]), Stage::Execute, EACCES),
        (command(&["/etc"]), Stage::Execute, EACCES),
        (command(&[text]), Stage::Execute, ENOEXEC),
        (at("/no/such/directory"), Stage::Directory, ENOENT),
        (at("/etc/passwd"), Stage::Directory, ENOTDIR),
    ];
    for (start, stage, errno) in cases {
        let mut agent = Agent::start(start.clone());
        assert_eq!(agent.next(), Some(Report::Failed(Failure { stage, errno })), "{start:?}");
        assert_eq!(agent.next(), None);
        agent.await_end();
    }
}

#[test]
fn the_next_command_runs_where_the_first_is_not_there() {
    let either = |first: &[&str], second: &[&str]| Start {
        commands: [first, second].map(|words| words.iter().map(|word| (*word).to_owned()).collect()).into(),
        ..Start::default()
    };
    assert_eq!(Agent::start(either(&["/no/sh"], &["echo", "second"])).finish().stdout(), "second\n");
    assert_eq!(Agent::start(either(&["echo", "first"], &["echo", "second"])).finish().stdout(), "first\n");
    let mut refused = Agent::start(either(&["/etc/passwd"], &["echo", "second"]));
    assert_eq!(refused.next(), Some(Report::Failed(Failure { stage: Stage::Execute, errno: EACCES })));
}

#[test]
fn nonsense_ends_the_agent() {
    for orders in [vec![Order::Kill], vec![Order::InputEnd, Order::Start(shell("echo x"))]] {
        let mut agent = Agent::new();
        let mut bytes = Vec::new();
        orders.iter().for_each(|order| order.encode(&mut bytes));
        agent.order(&orders[0]);
        assert_eq!(agent.next(), None);
        agent.await_end();
    }
    // A second beginning is nonsense, too.
    let mut agent = Agent::started(shell("sleep 1000"));
    agent.order(&Order::Start(shell("echo x")));
    assert_eq!(agent.next(), None);
    agent.await_end();
}
