//! What goes in and what comes out.

use std::time::Duration;

use podgate_agent::protocol::{CHUNK, Cause, Order, Report, Start, WINDOW};

use crate::support::{Agent, alive, command, eventually, marker, shell};

#[test]
fn input_is_read_to_its_end() {
    let mut agent = Agent::started(command(&["cat"]));
    agent.input("one ");
    agent.input("two");
    agent.order(&Order::InputEnd);
    let said = agent.finish();
    assert_eq!((said.stdout(), said.credit), ("one two", 7));
    assert_eq!(said.ended().exit_code, Some(0));

    let mut agent = Agent::started(shell("cat; echo ended"));
    agent.order(&Order::InputEnd);
    assert_eq!(agent.finish().stdout(), "ended\n");
}

#[test]
fn more_input_than_the_window_waits_for_credit() {
    let mut agent = Agent::started(shell("sleep 0.2; exec wc -c"));
    let (mut sent, total) = (0, 4 * 1024 * 1024);
    let mut credit = WINDOW;
    while sent < total {
        while credit >= CHUNK && sent < total {
            agent.order(&Order::Input(vec![b'x'; CHUNK]));
            (sent, credit) = (sent + CHUNK, credit - CHUNK);
        }
        if sent < total {
            match agent.next() {
                Some(Report::Credit(bytes)) => credit += bytes as usize,
                other => panic!("{other:?}"),
            }
        }
    }
    agent.order(&Order::InputEnd);
    assert_eq!(agent.finish().stdout().trim(), total.to_string());
}

#[test]
fn more_input_than_was_asked_for_ends_it_all() {
    let marker = marker();
    let mut agent = Agent::started(command(&["sleep", &marker]));
    // The pipe to the command takes as much again.
    for _ in 0..6 {
        agent.order(&Order::Input(vec![b'x'; CHUNK]));
    }
    let mut taken = 0;
    while let Some(report) = agent.next() {
        match report {
            Report::Credit(bytes) => taken += bytes as usize,
            other => panic!("{other:?}"),
        }
    }
    assert!(taken <= WINDOW, "{taken}");
    agent.await_end();
    assert_eq!(alive(&marker), 0);
}

#[test]
fn input_that_nobody_reads_is_no_failure() {
    let mut agent = Agent::started(shell("exec <&-; sleep 0.3; echo done"));
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..8 {
        agent.order(&Order::Input(vec![b'x'; CHUNK / 4]));
    }
    let said = agent.finish();
    assert_eq!((said.stdout(), said.ended().exit_code), ("done\n", Some(0)));
}

#[test]
fn every_byte_comes_through() {
    let all: Vec<u8> = (0..=255).collect();
    let mut agent = Agent::started(command(&["cat"]));
    agent.order(&Order::Input(all.clone()));
    agent.order(&Order::InputEnd);
    assert_eq!(agent.finish().stdout, all);

    let said = Agent::start(shell("head -c 3000000 /dev/zero; echo err >&2")).finish();
    assert_eq!((said.stdout.len(), said.stderr.as_slice()), (3_000_000, b"err\n".as_slice()));
    assert_eq!((said.ended().stdout_bytes, said.ended().stderr_bytes), (3_000_000, 4));
}

#[test]
fn who_says_too_much_is_cut_short() {
    let marker = marker();
    let start = Start { max_output: Some(100_000), ..shell(&format!("sleep {marker} & yes")) };
    let said = Agent::start(start).finish();
    assert_eq!(said.stdout.len(), 100_000);
    assert_eq!(said.ended().cause, Cause::Overflow);
    assert!(said.ended().stdout_bytes > 100_000 && said.ended().killed >= 2);
    assert_eq!(alive(&marker), 0);

    let exact = Start { max_output: Some(5), ..shell("printf abc; printf de >&2") };
    let said = Agent::start(exact).finish();
    assert_eq!((said.ended().cause, said.stdout.len() + said.stderr.len()), (Cause::Itself, 5));
    let one_more = Start { max_output: Some(4), ..shell("printf abcde") };
    let said = Agent::start(one_more).finish();
    assert_eq!((said.ended().cause, said.stdout()), (Cause::Overflow, "abcd"));
}

/// Nobody reads: the command waits, and the agent keeps what fits into its hands.
#[test]
fn a_slow_reader_holds_the_command_back() {
    let mut agent = Agent::started(command(&["yes"]));
    std::thread::sleep(Duration::from_millis(300));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 8 * 1024, "{resident}");
    // It still hears what it is told, and notices when nobody is there.
    agent.cut();
    agent.await_end();
}

#[test]
fn the_end_comes_though_nobody_reads() {
    let marker = marker();
    let start = Start { timeout_ms: Some(300), ..shell(&format!("sleep {marker} & yes")) };
    let agent = Agent::started(start);
    eventually("its end", || alive(&marker) == 1);
    eventually("its end", || alive(&marker) == 0);
    assert_eq!(agent.finish().ended().cause, Cause::Deadline);
}

/// As conmon does when the other side goes in the middle of much: it takes everything, and tells no end.
#[test]
fn who_is_never_answered_is_alone() {
    let marker = marker();
    // Before the first that it says, from which on it waits for an answer.
    let begun = std::time::Instant::now();
    let mut agent = Agent::started(shell(&format!("sleep {marker} & yes")));
    eventually("its beginning", || alive(&marker) > 0);
    assert!(agent.ignore() > 4 << 20);
    agent.await_end();
    assert_eq!(alive(&marker), 0);
    assert!(begun.elapsed() >= podgate_agent::protocol::ANSWER);
    // Whoever says nothing needs no answer, and nobody who is answered minds how much it says.
    let mut agent = Agent::started(shell("sleep 2; head -c 12000000 /dev/zero; sleep 1.5; echo end"));
    agent.says("end");
}
