//! A port of the loopback, through the agent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

use podgate_agent::protocol::{Cause, Failure, Order, Report, Stage};

use crate::support::Agent;

#[test]
fn bytes_go_both_ways_until_the_peer_ends() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        });
        let mut agent = Agent::new();
        agent.order(&Order::Connect(port));
        assert_eq!(agent.next(), Some(Report::Started));
        agent.input("he");
        agent.input("llo");
        agent.order(&Order::InputEnd);
        let said = agent.finish();
        assert_eq!((said.stdout(), said.credit, said.ended().cause), ("HELLO", 5, Cause::Itself));
        peer.join().unwrap();
    }
}

#[test]
fn where_nobody_listens_that_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut agent = Agent::new();
    agent.order(&Order::Connect(port));
    assert_eq!(agent.next(), Some(Report::Failed(Failure { stage: Stage::Connect, errno: 111 })));
    agent.await_end();
}

#[test]
fn a_cut_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut agent = Agent::new();
    agent.order(&Order::Connect(listener.local_addr().unwrap().port()));
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(agent.next(), Some(Report::Started));
    agent.cut();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    agent.await_end();
}
