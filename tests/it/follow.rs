//! Logs that are followed.

use std::time::{Duration, Instant};

use hyper::Version;
use serde_json::json;

use crate::support::gateway::PASSWORD;
use crate::support::sse::{Event, text};
use crate::support::websocket::streams;
use crate::support::{Client, Site, Story, eventually};

async fn talk(client: &Client, name: &str, command: &str) {
    client.create(json!({"image": "alpine", "name": name, "command": command})).await;
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let Story { client, .. } = &Story::begin().await;
    let command = "echo one; echo two; echo three; read go; echo four >&2; sleep 0.3; printf 'f€'; sleep 0.3; printf '\\342\\202'; sleep 0.3; \
                   printf '\\254\\n'; echo six";
    client.create(json!({"image": "alpine", "name": "c", "command": command, "stdin": true})).await;
    eventually("three lines", || async { client.logs("c", "").await.ends_with("three\n").then_some(()) }).await;
    let mut all = client.events("/containers/c/logs?follow=true&timestamps=true").await;
    let mut last = client.try_events("/containers/c/logs?follow=1&tail=1", None, Version::HTTP_2).await.ok().unwrap();
    let mut new = client.events("/containers/c/logs?follow=true&tail=0").await;
    let mut future = client.events("/containers/c/logs?follow=true&since=4102444800").await;
    assert_eq!(all.told().await.data["text"], "one\n");
    assert_eq!(last.told().await.data, json!({"text": "three\n", "output": "stdout"}));
    streams(client, 4).await;
    client.websocket("/containers/c/attach").await.send("\0go\n").await;

    let events = all.until("end").await;
    assert_eq!(text(&events), "two\nthree\nfour\nf€€\nsix\n");
    let four = events.iter().find(|event| event.data["text"] == "four\n").unwrap();
    assert!(four.name == "log" && four.data["output"] == "stderr", "{four:?}");
    let time = four.data["time"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with(".000000Z"), "{time}");
    assert_eq!(events.last().unwrap().data, json!({"reason": "stopped"}));
    assert_eq!(text(&last.until("end").await), "four\nf€€\nsix\n");
    assert_eq!(text(&new.until("end").await), "four\nf€€\nsix\n");
    assert_eq!(future.reason().await, "stopped");
    streams(client, 0).await;

    // One that has ended gives what there is.
    for (tail, expected) in [("", "one\ntwo\nthree\nfour\nf€€\nsix\n"), ("&tail=2", "f€€\nsix\n"), ("&tail=0", "")]
    {
        let events = client.events(&format!("/containers/c/logs?follow=true{tail}")).await.until("end").await;
        assert_eq!(text(&events), expected, "{tail}");
    }
    client.get("/containers/c/logs?follow=maybe").await.blames(&["follow"]);
    for bad in ["x", "1.2", "-1.0.00000000"] {
        let refused = client.try_events("/containers/c/logs?follow=true", Some(bad), Version::HTTP_11).await;
        refused.err().unwrap().blames(&["Last-Event-ID"]);
    }
    client.create(json!({"image": "alpine", "name": "never", "command": "true", "start": false})).await;
    assert_eq!(client.events("/containers/never/logs?follow=true").await.reason().await, "stopped");
}

#[tokio::test]
async fn whatever_bytes_it_is_told_as_text() {
    let Story { client, .. } = &Story::begin().await;
    let command = "printf '\\377\\376a\\000b\\n'; printf 'x\\303' >&2; printf 'c\\n'; sleep 0.2; printf '\\251\\n' >&2; \
                   head -c 100000 /dev/zero | tr '\\0' '\\200'; echo; echo last";
    talk(client, "c", command).await;
    let events = client.events("/containers/c/logs?follow=true&tail=10000").await.until("end").await;
    let of =
        |output: &str| text(&events.iter().filter(|event| event.data["output"] == output).cloned().collect::<Vec<_>>());
    assert_eq!(of("stderr"), "x\u{e9}\n", "a character in two pieces is whole");
    let stdout = of("stdout");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("\u{fffd}\u{fffd}a\0b", "c", "last"));
    assert_eq!(lines[2].chars().count(), 100_000);
    assert!(lines[2].chars().all(|each| each == char::REPLACEMENT_CHARACTER));
}

/// Whatever the moment at which the connection is lost.
#[tokio::test]
async fn no_line_is_lost_or_doubled_by_a_new_connection() {
    let Story { client, .. } = &Story::begin().await;
    let command = "for i in $(seq 1 400); do echo line $i; [ $((i % 7)) = 0 ] && sleep 0.05; done";
    talk(client, "c", command).await;
    let (mut told, mut id, mut connections) = (Vec::new(), None, 0);
    loop {
        connections += 1;
        let mut stream = client.events_behind("/containers/c/logs?follow=true&tail=10000", id.as_deref()).await;
        let mut ended = false;
        for _ in 0..1 + connections * 13 % 40 {
            let event = stream.told().await;
            if event.name == "end" {
                ended = true;
                break;
            }
            assert_eq!(event.name, "log", "{event:?}");
            id.clone_from(&event.id);
            told.push(event);
        }
        if ended {
            break;
        }
    }
    assert!(connections > 10, "{connections}");
    let expected: String = (1..=400).map(|number| format!("line {number}\n")).collect();
    assert!(text(&told) == expected, "{}", text(&told));
    // And with an id of its middle, the rest.
    let middle: &Event = &told[200];
    let rest = client.events_behind("/containers/c/logs?follow=true", middle.id.as_deref()).await.until("end").await;
    assert_eq!(text(&rest), text(&told[201..]));
}

#[tokio::test]
async fn a_log_that_was_begun_anew_is_told() {
    let Story { client, .. } = &Story::at(Site::new().set("profiles.default.log_bytes", 65536)).await;
    let command = "echo first; read go; seq 1 20000; read go";
    client.create(json!({"image": "alpine", "name": "c", "command": command, "stdin": true})).await;
    let mut stream = client.events("/containers/c/logs?follow=true").await;
    let first = stream.told().await;
    assert_eq!(first.data["text"], "first\n");
    drop(stream);
    let mut peer = client.websocket("/containers/c/attach").await;
    peer.send("\0go\n").await;
    peer.hears(1, "20000\n").await;
    let mut stream = client.events_behind("/containers/c/logs?follow=true", first.id.as_deref()).await;
    assert_eq!(stream.told().await.name, "gap");
    let mut last = stream.told().await;
    while last.data["text"] != "20000\n" {
        last = stream.told().await;
    }
}

#[tokio::test]
async fn a_follower_is_told_what_becomes_of_the_container() {
    let Story { client, .. } = &Story::at(Site::new().set("engine.max_workers", 2)).await;
    talk(client, "c", "while :; do echo tick; sleep 0.2; done").await;
    talk(client, "silent", "sleep 300").await;
    let mut followers = Vec::new();
    for number in 0..8 {
        let name = if number % 2 == 0 { "c" } else { "silent" };
        followers.push(client.events(&format!("/containers/{name}/logs?follow=true&tail=0")).await);
    }
    // None of them is a short call, and none locks the container.
    eventually("idle workers", || async { (client.get("/metrics").await.json()["active_threads"] == 0).then_some(()) })
        .await;
    assert_eq!(client.exec("c", json!("echo hi")).await, "hi\n");
    for follower in followers.iter_mut().step_by(2) {
        assert_eq!(follower.told().await.data["text"], "tick\n");
    }
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    client.delete("/containers/silent?force=true").await.ok();
    for (number, mut follower) in followers.into_iter().enumerate() {
        assert_eq!(follower.reason().await, if number % 2 == 0 { "stopped" } else { "gone" });
    }
    streams(client, 0).await;
}

/// The container writes as fast as it may, for a few seconds; nobody reads.
#[tokio::test]
async fn a_slow_reader_costs_little_memory() {
    let story = Story::begin().await;
    let client = &story.client;
    talk(client, "flood", "timeout 8 yes 0123456789012345678901234567890123456789; sleep 300").await;
    client.status("flood").await;
    let before = story.gateway.resident_bytes();
    let mut slow = client.events("/containers/flood/logs?follow=true").await;
    let mut most = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(story.gateway.resident_bytes());
    }
    let grown = most.saturating_sub(before);
    println!("a slow reader: {grown} bytes");
    assert!(grown < 16 << 20, "{grown} bytes");
    // Its log was begun anew meanwhile, which is told where it matters.
    while slow.told().await.name != "log" {}
    drop(slow);
    streams(client, 0).await;
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let Story { client, .. } = &Story::begin().await;
    talk(client, "c", "sleep 300").await;
    let begun = Instant::now();
    let mut stream = client.events("/containers/c/logs?follow=true").await;
    let first = stream.next().await.unwrap();
    assert!(first.name.is_empty() && first.data.is_null(), "a comment: {first:?}");
    assert!(begun.elapsed() >= Duration::from_secs(14), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn followers_are_bounded_and_ended_from_outside() {
    let mut story = Story::begin().await;
    talk(&story.client, "c", "sleep 300").await;
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "streams=2"], "").succeeded();
    let path = "/containers/c/logs?follow=true";
    let login = story.tenant.login("operator");
    let signed = story.client.sign_in(&login, PASSWORD).await.ok();
    let client = story.client.with_token(signed["access_token"].as_str().unwrap());
    let [mut over, mut stays] = [client.events(path).await, story.client.events("/events").await];
    let third = client.try_events(path, None, Version::HTTP_11).await.err().unwrap();
    third.refused(403, "QuotaError");
    let begun = Instant::now();
    client.post("/auth/logout", json!(null)).await.ok();
    assert_eq!(over.reason().await, "revoked");
    println!("revoked after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut http2 = story.client.try_events(path, None, Version::HTTP_2).await.ok().unwrap();
    story.gateway.terminate();
    for stream in [&mut stays, &mut http2] {
        assert_eq!(stream.reason().await, "draining");
    }
    assert!(story.gateway.ended().await.success());
}
