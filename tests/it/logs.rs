//! What a container said.

use serde_json::json;

use crate::support::{Site, Story, eventually};

#[tokio::test]
async fn logs_are_both_streams_in_order_and_text() {
    let Story { client, .. } = &Story::begin().await;
    let command = "for i in 1 2 3; do echo out$i; sleep 0.2; echo err$i >&2; sleep 0.2; done; printf 'a\\377b\\n'";
    client.create(json!({"image": "alpine", "name": "talker", "command": command})).await;
    eventually("its end", || async { (client.status("talker").await == "exited").then_some(()) }).await;
    let logs = async |query: &str| client.logs("talker", query).await;
    let all = "out1\nerr1\nout2\nerr2\nout3\nerr3\na\u{fffd}b\n";
    assert_eq!(logs("").await, all);
    assert_eq!(logs("?tail=10000").await, all);
    assert_eq!(logs("?tail=2").await, "err3\na\u{fffd}b\n");
    assert_eq!(logs("?tail=0").await, "");
    assert_eq!(logs("?since=0").await, all);
    assert_eq!(logs("?since=4102444800").await, "", "nothing was said in the future");
    for line in logs("?timestamps=true").await.lines() {
        assert!(line.starts_with("20") && line.contains('T'), "{line}");
    }
    for bad in ["10001", "20000000000", "-1", "x", "", "1.0", "0x10"] {
        client.get(&format!("/containers/talker/logs?tail={bad}")).await.blames(&["tail"]);
    }
    client.get("/containers/talker/logs?since=x").await.blames(&["since"]);
    client.get("/containers/talker/logs?timestamps=maybe").await.blames(&["timestamps"]);
}

/// Podman notes a line in pieces where it was written in pieces.
#[tokio::test]
async fn logs_join_what_was_one_line() {
    let Story { client, .. } = &Story::begin().await;
    let command = "printf one; sleep 0.3; printf ' '; sleep 0.3; echo line; echo next; printf end";
    client.create(json!({"image": "alpine", "name": "talker", "command": command})).await;
    eventually("its end", || async { (client.status("talker").await == "exited").then_some(()) }).await;
    for (tail, expected) in [(100, "one line\nnext\nend"), (3, "one line\nnext\nend"), (2, "next\nend"), (1, "end")] {
        let answer = client.get(&format!("/containers/talker/logs?tail={tail}")).await.ok();
        assert_eq!(answer["container"]["logs"], expected, "tail={tail}");
    }
}

#[tokio::test]
async fn long_logs_keep_their_newest_lines() {
    let Story { client, .. } = &Story::at(Site::new().set("output.logs_bytes", 1024)).await;
    client.create(json!({"image": "alpine", "name": "talker", "command": "seq 1 2000"})).await;
    eventually("its end", || async { (client.status("talker").await == "exited").then_some(()) }).await;
    let container = client.get("/containers/talker/logs?tail=10000").await.ok()["container"].clone();
    let logs = container["logs"].as_str().unwrap();
    assert_eq!(container["truncated"], true);
    assert!(logs.len() <= 1024 && logs.ends_with("1999\n2000\n"), "{logs}");
    let first: u32 = logs.lines().next().unwrap().parse().expect("lines are whole");
    assert!(first > 1000);
}
