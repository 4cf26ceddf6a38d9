//! Commands whose output is told as it comes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::processes::{alive, marker};
use crate::support::sse::{Event, Stream};
use crate::support::websocket::streams;
use crate::support::{Client, Story, eventually};

async fn watched(client: &Client, body: Value) -> Stream {
    let path = "/containers/web/exec/stream";
    client.post_events(path, body).await.unwrap_or_else(|answer| panic!("{}", answer.text()))
}

/// What was said on one output, byte for byte.
fn said(events: &[Event], name: &str) -> Vec<u8> {
    let of = events.iter().filter(|event| event.name == name);
    of.flat_map(|event| {
        let data = event.data["data"].as_str().unwrap();
        match event.data["encoding"].as_str() {
            Some("utf8") => data.as_bytes().to_vec(),
            Some("base64") => STANDARD.decode(data).unwrap(),
            other => panic!("{other:?}"),
        }
    })
    .collect()
}

#[tokio::test]
async fn a_command_is_watched_to_its_end() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("web").await;
    // In pieces, the last of which begins in the middle of a character.
    let command = "echo one; read x; echo $x >&2; sleep 0.5; printf 'a\\377\\000b'; sleep 0.5; printf '\\342\\202'; \
                   sleep 1; printf '\\254 end'; exit 3";
    let mut stream = watched(client, json!({"command": command, "stdin": "two\n", "environment": {"A": "1"}})).await;
    let mut events = stream.until("exit").await;
    assert_eq!(stream.next().await, None, "nothing comes behind the end");
    let exit = events.pop().unwrap().data;
    assert_eq!((&exit["exit_code"], &exit["success"], &exit["supervised"]), (&json!(3), &json!(false), &json!(true)));
    assert_eq!(said(&events, "stdout"), b"one\na\xff\0b\xe2\x82\xac end");
    assert_eq!(said(&events, "stderr"), b"two\n");
    let text = events.iter().find(|event| event.data["data"].as_str().is_some_and(|text| text.contains('€')));
    assert!(text.is_some_and(|event| event.data["encoding"] == "utf8"), "a character is whole: {events:?}");
    assert!(events.iter().any(|event| event.data["encoding"] == "base64"), "what is no text: {events:?}");
    streams(client, 0).await;

    // Whatever can be refused is refused before the stream begins.
    for (body, field) in [(json!({}), "command"), (json!({"command": "x", "timeout": 0}), "timeout")] {
        let refused = client.post_events("/containers/web/exec/stream", body).await;
        refused.err().unwrap().blames(&[field]);
    }
    let missing = client.post_events("/containers/web/exec/stream", json!({"command": ["/no/such"]})).await;
    missing.err().unwrap().refused(400, "ValidationError");
    let killed = watched(client, json!({"command": "kill -TERM $$"})).await.until("exit").await.pop().unwrap();
    assert_eq!(killed.data["exit_code"], 143);
}

#[tokio::test]
async fn whatever_ends_it_nothing_is_left() {
    let mut story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("web").await;
    let marks = [marker(), marker(), marker(), marker()];
    let endless = |mark: &str| json!(format!("(setsid sleep {mark} &) ; trap '' TERM; echo up; sleep {mark}"));
    // Its time is up.
    let mut late = watched(client, json!({"command": endless(&marks[0]), "timeout": 1.5})).await;
    assert_eq!(late.told().await.data["data"], "up\n");
    let exit = late.until("exit").await.pop().unwrap().data;
    assert_eq!((&exit["timed_out"], &exit["exit_code"]), (&json!(true), &json!(-1)), "{exit}");
    assert_eq!(alive(&marks[0]), 0);
    // It says too much.
    let much = json!({"command": format!("sleep {} & yes", marks[1]), "max_output": 100_000});
    let mut events = watched(client, much).await.until("exit").await;
    assert_eq!(events.pop().unwrap().data["truncated"], true);
    assert_eq!(said(&events, "stdout").len(), 100_000);
    assert_eq!(alive(&marks[1]), 0);
    // The caller leaves.
    let mut left = watched(client, json!({"command": endless(&marks[2])})).await;
    left.told().await;
    assert!(alive(&marks[2]) > 0);
    drop(left);
    eventually("nothing of it", || async { (alive(&marks[2]) == 0).then_some(()) }).await;
    streams(client, 0).await;
    assert_eq!(client.used().await["execs"], 0);
    // The gateway ends.
    let mut drained = watched(client, json!({"command": endless(&marks[3])})).await;
    drained.told().await;
    story.gateway.terminate();
    assert_eq!(drained.reason().await, "draining");
    assert!(story.gateway.ended().await.success());
    eventually("nothing of it", || async { (alive(&marks[3]) == 0).then_some(()) }).await;
}

/// Three times as much as the gateway may grow, to someone who takes it, and to someone who does not.
#[tokio::test]
async fn much_output_passes_through_little_memory() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("web").await;
    // What is needed once, and by each thread of the gateway, is there.
    for _ in 0..2 {
        let warm = json!({"command": "head -c 10000000 /dev/zero | tr '\\0' x"});
        let both = [watched(client, warm.clone()).await, watched(client, warm).await];
        for mut stream in both {
            stream.until("exit").await;
        }
    }
    let before = story.gateway.resident_bytes();
    let body = json!({"command": "head -c 50000000 /dev/zero | tr '\\0' x", "timeout": 300});
    let mut stream = watched(client, body.clone()).await;
    let mut slow = watched(client, body).await;
    let (mut bytes, mut most) = (0, 0);
    loop {
        let event = stream.told().await;
        if event.name == "exit" {
            assert_eq!((&event.data["exit_code"], &event.data["truncated"]), (&json!(0), &json!(false)));
            break;
        }
        bytes += event.data["data"].as_str().unwrap().len();
        most = most.max(story.gateway.resident_bytes());
    }
    assert_eq!(bytes, 50_000_000);
    let grown = most.saturating_sub(before);
    println!("50 MB of output: {grown} bytes");
    assert!(grown < 16 << 20, "{grown} bytes");
    assert_eq!(slow.told().await.name, "stdout");
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(slow);
    streams(client, 0).await;
}

#[tokio::test]
async fn a_watched_command_has_its_entry_and_its_place() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("web").await;
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "execs=1"], "").succeeded();
    let mut first = watched(client, json!({"command": "echo up; sleep 300"})).await;
    first.told().await;
    assert_eq!(client.used().await["execs"], 1);
    drop(first);
    watched(client, json!({"command": "true"})).await.until("exit").await;
    let ledger = crate::support::Ledger::of(&story.site).await;
    let entries = ledger.audited(0).await;
    let entry = entries.last().unwrap();
    assert_eq!(entry.row.verb.as_deref(), Some("streamExecInContainer"));
    assert_eq!(entry.row.argv.as_deref(), Some("[\"true\"]"));
}
