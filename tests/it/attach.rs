//! The main process, live.

use std::time::Duration;

use serde_json::json;

use crate::engine_down::{site_at, socket};
use crate::support::websocket::streams;
use crate::support::{Client, Forwarder, Ledger, Podman, Site, Story, eventually};

/// A container that says what it hears.
async fn parrot(client: &Client, name: &str) {
    let command = "while read line; do echo \"out $line\"; echo \"err $line\" >&2; [ \"$line\" = end ] && exit 3; done";
    client.create(json!({"image": "alpine", "name": name, "command": command, "stdin": true})).await;
}

#[tokio::test]
async fn a_main_process_is_talked_to() {
    let Story { client, .. } = &Story::begin().await;
    parrot(client, "parrot").await;
    let mut peer = client.websocket("/containers/parrot/attach").await;
    peer.send("\0hello\n").await;
    assert_eq!(peer.hears(1, "\n").await, "out hello\n");
    // Whatever bytes, also those that detach Podman's own client.
    peer.send(b"\0\x10\x11\n".to_vec()).await;
    assert_eq!(peer.hears(1, "\n").await, "out \x10\x11\n");
    peer.send("\0two\nthree\n").await;
    assert_eq!(peer.hears(2, "three\n").await.lines().last(), Some("err three"));
    peer.send("\0end\n").await;
    assert_eq!(peer.closed().await, (1000, "the main process ended with 3".into()));
    streams(client, 0).await;
    let ended = client.upgrade("/containers/parrot/attach", &[]).await.err().unwrap();
    ended.refused(409, "PodmanAPIError");
    assert_eq!(client.status("parrot").await, "exited", "asking changed nothing");
}

/// Input may do anything: it has its entry, for as long as it lasts.
#[tokio::test]
async fn an_attachment_is_in_the_audit_log() {
    let story = Story::begin().await;
    let client = &story.client;
    parrot(client, "parrot").await;
    let ledger = Ledger::of(&story.site).await;
    let mut peer = client.websocket("/containers/parrot/attach").await;
    peer.send("\0hello\n").await;
    peer.hears(1, "\n").await;
    let rows = ledger.audit_rows().await;
    let announced = rows.last().expect("a row");
    assert_eq!((announced.verb.as_deref(), announced.phase.as_str()), (Some("attachToContainer"), "intent"));
    peer.send("\0end\n").await;
    peer.closed().await;
    let entries = ledger.audited(0).await;
    let login = story.tenant.login("operator");
    assert_eq!(entries.last().expect("an entry").brief(), [login.as_str(), "attachToContainer", "parrot", "success"]);
}

#[tokio::test]
async fn everybody_who_is_attached_hears_it() {
    let Story { client, .. } = &Story::begin().await;
    let command = "while :; do echo tick; sleep 0.2; done";
    client.create(json!({"image": "alpine", "name": "clock", "command": command})).await;
    let mut peers =
        [client.websocket("/containers/clock/attach").await, client.websocket("/containers/clock/attach").await];
    streams(client, 2).await;
    for peer in &mut peers {
        peer.hears(1, "tick\ntick\n").await;
    }
    let [mut first, second] = peers;
    second.leave().await;
    streams(client, 1).await;
    first.hears(1, "tick\n").await;
    // It has no input.
    first.send("\0x").await;
    assert_eq!(first.closed().await, (1008, "the container was made without stdin".into()));
    let mut third = client.websocket("/containers/clock/attach").await;
    third.send("no channel").await;
    assert_eq!(third.closed().await.0, 1008);
    let mut fourth = client.websocket("/containers/clock/attach").await;
    client.delete("/containers/clock?force=true").await.ok();
    assert_eq!(fourth.closed().await.0, 1000);
    streams(client, 0).await;
}

/// Nobody is told that the process ended which goes on.
#[tokio::test]
async fn a_connection_that_breaks_is_not_the_end() {
    let (between, podman) = (socket(), Podman::of_the_tests());
    let forwarder = Forwarder::start(&between, &podman.socket);
    let Story { client, .. } = &Story::at(site_at(&between)).await;
    let command = "while :; do echo tick; sleep 0.2; done";
    client.create(json!({"image": "alpine", "name": "clock", "command": command})).await;
    let mut peer = client.websocket("/containers/clock/attach").await;
    peer.hears(1, "tick\n").await;
    forwarder.turn_to(&podman.socket);
    assert_eq!(peer.closed().await, (1011, "the connection to the main process broke".into()));
    assert_eq!(client.status("clock").await, "running");
}

/// What is attached is not among the short calls, and a container that is watched is not locked.
#[tokio::test]
async fn attachments_hold_no_workers() {
    let Story { client, .. } = &Story::at(Site::new().set("engine.max_workers", 2)).await;
    parrot(client, "parrot").await;
    let mut peers = Vec::new();
    for _ in 0..8 {
        peers.push(client.websocket("/containers/parrot/attach").await);
    }
    // Whoever looks after all containers has one now and then.
    let idle = || async { (client.get("/metrics").await.json()["active_threads"] == 0).then_some(()) };
    eventually("that nobody has a worker", idle).await;
    assert_eq!(client.exec("parrot", json!("echo hi")).await, "hi\n");
    peers[3].send("\0hello\n").await;
    for peer in &mut peers {
        assert_eq!(peer.hears(1, "\n").await, "out hello\n");
    }
    client.post("/containers/parrot/stop?timeout=0", json!(null)).await.ok();
    for peer in &mut peers {
        assert_eq!(peer.closed().await.0, 1000);
    }
}

/// Whoever does not listen holds up nobody's memory but the container's own pipe.
#[tokio::test]
async fn a_slow_listener_costs_little_memory() {
    let story = Story::begin().await;
    let client = &story.client;
    client
        .create(json!({"image": "alpine", "name": "flood", "command": "yes 0123456789012345678901234567890123456789"}))
        .await;
    client.status("flood").await;
    let before = story.gateway.resident_bytes();
    let mut slow = client.websocket("/containers/flood/attach").await;
    let mut most = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(story.gateway.resident_bytes());
    }
    let grown = most.saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    println!("a slow listener: {grown} bytes");
    // It is as it was for whoever comes back to listen.
    slow.hears(1, "0123456789").await;
    slow.leave().await;
    streams(client, 0).await;
}

#[tokio::test]
async fn a_container_that_is_attached_to_is_not_idle() {
    let idle = "[profiles.idle]\nidle_seconds = 2\n";
    let story =
        Story::with(Site::new().with(idle), &[&format!("--image={}", crate::support::ALPINE), "--profile=idle"]).await;
    let client = &story.client;
    let body = json!({"image": "alpine", "name": "kept", "command": "cat", "stdin": true, "profile": "idle"});
    client.create(body).await;
    let mut peer = client.websocket("/containers/kept/attach").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    peer.send("\0still here\n").await;
    assert_eq!(peer.hears(1, "\n").await, "still here\n");
    peer.leave().await;
    eventually("its expiry", || async { client.listed().await.is_empty().then_some(()) }).await;
}
