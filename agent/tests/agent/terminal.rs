//! Commands on a terminal.

use podgate_agent::protocol::{Cause, Order, Size, Start};

use crate::support::{Agent, alive, eventually, marker, shell};

fn on_terminal(text: &str) -> Start {
    Start { terminal: Some(Size { rows: 24, columns: 80 }), ..shell(text) }
}

#[test]
fn a_terminal_is_one_and_has_a_size() {
    let said =
        Agent::start(on_terminal("test -t 0 && test -t 1 && test -t 2 && stty size; echo \"$TERM\"; tty; exit 3"))
            .finish();
    let lines: Vec<&str> = said.stdout().lines().collect();
    assert_eq!(lines[0], "24 80");
    assert!(!lines[1].is_empty() && lines[2].starts_with("/dev/pts/"), "{lines:?}");
    assert_eq!(said.ended().exit_code, Some(3));
}

#[test]
fn a_terminal_is_resized_and_its_foreground_is_told() {
    let mut agent = Agent::started(on_terminal("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"));
    agent.says("ready");
    agent.order(&Order::Resize(Size { rows: 50, columns: 132 }));
    agent.says("50 132");
    agent.order(&Order::Kill);
    assert_eq!(agent.finish().ended().cause, Cause::Killed);
}

#[test]
fn control_characters_and_signals_reach_the_foreground() {
    let marker = marker();
    let mut agent =
        Agent::started(on_terminal(&format!("trap 'echo caught' INT; echo ready; sleep {marker}; echo on")));
    agent.says("ready");
    eventually("the sleep", || alive(&marker) == 1);
    agent.input("\u{3}");
    agent.says("on");
    let said = agent.finish();
    assert_eq!((said.ended().cause, alive(&marker)), (Cause::Itself, 0));

    let mut agent =
        Agent::started(on_terminal("trap 'echo hup; exit 4' HUP; echo ready; while :; do sleep 0.05; done"));
    agent.says("ready");
    agent.order(&Order::Signal(1));
    assert_eq!(agent.finish().ended().exit_code, Some(4));
}

#[test]
fn the_end_of_the_input_is_a_character() {
    let mut agent = Agent::started(on_terminal("cat; echo ended"));
    agent.input("line\n");
    agent.says("line\r\nline\r\n");
    agent.order(&Order::InputEnd);
    assert!(agent.finish().stdout().ends_with("ended\r\n"));
}

#[test]
fn a_terminal_that_is_cut_leaves_nothing() {
    let marker = marker();
    let script = format!("setsid sh -c 'trap \"\" HUP TERM; sleep {marker}' & echo ready; sleep {marker}");
    let mut agent = Agent::started(on_terminal(&script));
    agent.says("ready");
    eventually("both", || alive(&marker) >= 2);
    agent.cut();
    agent.await_end();
    assert_eq!(alive(&marker), 0);
}
