//! Whatever a command started ends with it.

use podgate_agent::protocol::{Cause, Order, Start};

use crate::support::{Agent, alive, eventually, marker, shell};

/// Ways to have descendants who do not want to end. MARK is the time they sleep; each has so many processes with it.
const TREES: &[(&str, usize)] = &[
    ("sleep MARK", 1),
    ("trap '' TERM INT HUP QUIT; sleep MARK & sleep MARK", 2),
    ("setsid sleep MARK & sleep MARK", 2),
    ("(setsid sh -c 'trap \"\" TERM HUP; sleep MARK & sleep MARK' &) ; sleep MARK", 3),
    ("setsid sh -c '(setsid sh -c \"(setsid sleep MARK &)\" &)' & sleep MARK", 2),
    ("for i in 1 2 3 4 5 6 7 8 9 10; do (sleep MARK &); done; sleep MARK", 11),
    ("sleep MARK <&- >&- 2>&- & sleep MARK", 2),
    ("sleep MARK & sleep MARK & kill -STOP $$; sleep MARK", 2),
];

fn tree(script: &str, marker: &str) -> Start {
    shell(&script.replace("MARK", marker))
}

#[test]
fn the_deadline_ends_all_of_it() {
    for (script, count) in TREES {
        let marker = marker();
        let agent = Agent::started(Start { timeout_ms: Some(700), ..tree(script, &marker) });
        let said = agent.finish();
        assert_eq!(alive(&marker), 0, "{script}");
        let ended = said.ended();
        assert_eq!((ended.cause, ended.left), (Cause::Deadline, 0), "{script}");
        assert!(ended.killed as usize >= *count, "{script}: {ended:?}");
        assert!(ended.duration_ms >= 700);
    }
}

#[test]
fn the_end_of_the_orders_ends_all_of_it() {
    for (script, count) in TREES {
        let marker = marker();
        let mut agent = Agent::started(tree(script, &marker));
        eventually(script, || alive(&marker) >= *count);
        agent.cut();
        agent.await_end();
        assert_eq!(alive(&marker), 0, "{script}");
    }
}

#[test]
fn a_request_ends_all_of_it() {
    for (script, count) in TREES {
        let marker = marker();
        let mut agent = Agent::started(tree(script, &marker));
        eventually(script, || alive(&marker) >= *count);
        agent.order(&Order::Kill);
        let ended = agent.finish().ended();
        assert_eq!((ended.cause, alive(&marker)), (Cause::Killed, 0), "{script}");
        assert_eq!(ended.exit_code, None);
    }
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let marker = marker();
    let said =
        Agent::start(shell(&format!("setsid sleep {marker} & (setsid sleep {marker} &); echo done; exit 5"))).finish();
    assert_eq!((said.stdout(), said.ended().exit_code), ("done\n", Some(5)));
    assert_eq!((said.ended().cause, said.ended().killed, alive(&marker)), (Cause::Itself, 2, 0));
}

#[test]
fn last_words_of_what_is_left_behind_are_heard() {
    let said = Agent::start(shell("(sleep 0.05; echo late) & echo early")).finish();
    assert_eq!((said.stdout(), said.ended().killed), ("early\nlate\n", 0));
}

#[test]
fn a_signal_goes_to_the_command_and_its_group() {
    let mut agent =
        Agent::started(shell("trap 'echo usr1' USR1; trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"));
    agent.says("ready");
    agent.order(&Order::Signal(10));
    agent.says("usr1");
    agent.order(&Order::Signal(15));
    let ended = agent.finish().ended();
    assert_eq!((ended.cause, ended.exit_code), (Cause::Itself, Some(9)));
    // Numbers that are no signals change nothing.
    let mut agent = Agent::started(shell("sleep 0.2; exit 2"));
    agent.order(&Order::Signal(0));
    agent.order(&Order::Signal(255));
    assert_eq!(agent.finish().ended().exit_code, Some(2));
}

#[test]
fn signals_to_the_agent_change_nothing() {
    let mut agent = Agent::started(shell(
        "kill -TERM $PPID; kill -HUP $PPID; kill -INT $PPID; kill -PIPE $PPID; kill -USR1 $PPID; echo here",
    ));
    agent.says("here");
    assert_eq!(agent.finish().ended().exit_code, Some(0));
}

/// A command that kills its agent takes itself along.
#[test]
fn who_kills_the_agent_hurts_itself() {
    let marker = marker();
    // It may come to that before the agent says that the command has started.
    let mut agent = Agent::start(shell(&format!("kill -KILL $PPID; exec sleep {marker}")));
    while agent.next().is_some() {}
    agent.await_end();
    eventually("the command's end", || alive(&marker) == 0);
}

/// Each process starts the next and ends: whoever is looked at is gone before it can be killed. (A bomb that fills the
/// machine is for a container: the gateway's stories have it.)
#[test]
fn what_runs_away_is_caught() {
    let marker = marker();
    // Should it not be caught, it ends with this file.
    let leash = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&marker);
    std::fs::write(&leash, "").unwrap();
    let hop = format!("test -e {} || exit; sh -c \"$1\" {marker} \"$1\" & exit", leash.display());
    let start = Start {
        commands: vec![["sh", "-c", "sh -c \"$1\" x \"$1\"; sleep 1000", "x", &hop].map(str::to_owned).into()],
        ..Start::default()
    };
    let mut agent = Agent::started(start);
    eventually("a few hops", || alive(&marker) > 0);
    std::thread::sleep(std::time::Duration::from_millis(100));
    agent.cut();
    agent.await_end();
    let left = alive(&marker);
    std::fs::remove_file(&leash).unwrap();
    assert_eq!(left, 0);
}
