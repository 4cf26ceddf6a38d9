//! What is under way when it has to end: whoever is there is told why, and that a container went away is no failure.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::serve::talk as talk_plainly;
use crate::support::gateway::PASSWORD;
use crate::support::processes::{alive, marker, open_files, with_word};
use crate::support::websocket::streams;
use crate::support::{Client, Story, eventually};

/// Opens a stream of events, and how it ended.
async fn watch(client: Client, path: &'static str, body: Option<Value>) -> String {
    let opened = match body {
        Some(body) => client.post_events(path, body).await,
        None => client.try_events(path, None, hyper::Version::HTTP_11).await,
    };
    match opened {
        Ok(mut stream) => loop {
            let event = stream.told().await;
            match event.name.as_str() {
                "end" => return event.data["reason"].as_str().unwrap().to_owned(),
                "exit" => return "exit".to_owned(),
                _ => {}
            }
        },
        Err(answer) => answer.status.to_string(),
    }
}

/// Opens a WebSocket, and how it was closed.
async fn talk(client: Client, path: &'static str) -> String {
    match client.upgrade(path, &[]).await {
        Ok(mut peer) => match peer.closed().await {
            (1000, _) => "closed".to_owned(),
            (code, reason) => format!("{code} {reason}"),
        },
        Err(answer) => answer.status.to_string(),
    }
}

/// A server on port 7 that says everything again.
async fn create_echo(client: &Client) {
    client.create_with("c", json!({"command": "nc -ll -p 7 -e cat", "stdin": true})).await;
    let opens = || async { client.upgrade("/containers/c/ports/7", &[]).await.ok() };
    eventually("that it listens", opens).await.leave().await;
}

#[tokio::test]
async fn a_removal_may_come_at_any_moment() {
    let story = Story::begin().await;
    let client = &story.client;
    let command = json!({"command": "trap '' TERM; sleep 300", "timeout": 300});
    for patience in [0, 30, 90, 200, 500, 900] {
        create_echo(client).await;
        let mut open = tokio::task::JoinSet::new();
        open.spawn(watch(client.clone(), "/containers/c/exec/stream", Some(command.clone())));
        open.spawn(watch(client.clone(), "/containers/c/logs?follow=true", None));
        open.spawn(watch(client.clone(), "/containers/c/stats?stream=true", None));
        open.spawn(talk(client.clone(), "/containers/c/terminal"));
        open.spawn(talk(client.clone(), "/containers/c/attach"));
        open.spawn(talk(client.clone(), "/containers/c/ports/7"));
        for read in ["files?path=/etc", "files/content?path=/etc/passwd", "files/archive?path=/bin"] {
            let (address, token) = (client.address, client.token.clone().unwrap());
            open.spawn(async move {
                let head = format!(
                    "GET /api/v1/containers/c/{read} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                     Connection: close\r\n\r\n"
                );
                // What has begun may be cut.
                talk_plainly(address, head.as_bytes()).await.split(' ').nth(1).unwrap().to_owned()
            });
        }
        let (execs, command) = (client.clone(), command.clone());
        open.spawn(async move {
            let answer = execs.post("/containers/c/exec", command).await;
            if answer.status == 200 {
                answer.ok()["execution"]["success"].to_string()
            } else {
                answer.status.to_string()
            }
        });
        // At different moments of the beginning.
        sleep(Duration::from_millis(patience)).await;
        client.delete("/containers/c?force=true").await.ok();
        for end in open.join_all().await {
            let fine = ["404", "409", "200", "false", "exit", "closed", "stopped", "gone"];
            assert!(fine.contains(&end.as_str()), "after {patience} ms: {end}\n{}", story.gateway.log());
        }
        streams(client, 0).await;
    }
    assert_eq!(client.used().await["execs"], 0);
}

#[tokio::test]
async fn what_is_watched_ends_when_its_container_stops() {
    let Story { client, .. } = &Story::begin().await;
    let mark = marker();
    create_echo(client).await;
    let body = json!({"command": format!("echo up; setsid sleep {mark} & sleep {mark}"), "timeout": 300});
    let mut stream = client.post_events("/containers/c/exec/stream", body).await.ok().unwrap();
    assert_eq!(stream.told().await.data["data"], "up\n");
    let mut tunnel = client.websocket("/containers/c/ports/7").await;
    tunnel.send("a").await;
    assert_eq!(tunnel.next().await, Some(Message::binary("a")));
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    let exit = stream.until("exit").await.pop().unwrap().data;
    assert_eq!(
        (&exit["success"], &exit["supervised"], &exit["timed_out"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!(tunnel.closed().await.0, 1000);
    assert_eq!(alive(&mark), 0);
    streams(client, 0).await;
}

/// A paused container says nothing, and neither holds whoever watches.
#[tokio::test]
async fn what_is_watched_ends_in_time_when_its_container_is_paused() {
    let Story { client, .. } = &Story::begin().await;
    let mark = marker();
    client.create_sleeping("c").await;
    let body = json!({"command": format!("echo up; sleep {mark}"), "timeout": 1});
    let mut stream = client.post_events("/containers/c/exec/stream", body).await.ok().unwrap();
    stream.told().await;
    client.post("/containers/c/pause", json!(null)).await.ok();
    let exit = stream.until("exit").await.pop().unwrap().data;
    // Where it was paused behind the command's time, it was ended before.
    if exit["supervised"] == false {
        assert_eq!(exit["timed_out"], true, "{exit}");
    }
    client.post("/containers/c/unpause", json!(null)).await.ok();
    eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
    streams(client, 0).await;
}

/// Whatever is begun, and whenever its caller goes.
#[tokio::test]
async fn connections_may_be_cut_at_any_moment() {
    let story = &Story::begin().await;
    let client = &story.client;
    create_echo(client).await;
    client.exec("c", json!("true")).await;
    let id = story.podman.containers(&story.tenant.slug).await[0].0.clone();
    let (files, mark) = (open_files(story.gateway.pid()), marker());
    let script = format!("(setsid sleep {mark} &); trap '' TERM HUP; echo up; sleep {mark}");
    let query: String = form_urlencoded::byte_serialize(script.as_bytes()).collect();
    for _ in 0..3 {
        let mut cut = tokio::task::JoinSet::new();
        for number in 0..12 {
            let (client, script, query) = (client.clone(), script.clone(), query.clone());
            cut.spawn(async move {
                let body = json!({"command": script, "timeout": 300});
                let work = async {
                    match number % 4 {
                        0 => drop(client.post("/containers/c/exec", body).await),
                        1 => {
                            let stream = client.post_events("/containers/c/exec/stream", body).await;
                            stream.ok().unwrap().until("exit").await;
                        }
                        // By itself it would wait for half a minute for its client.
                        2 => {
                            let path = format!("/containers/c/terminal?command={query}");
                            let mut peer = client.upgrade(&path, &[]).await.ok().unwrap();
                            sleep(Duration::from_millis(rand::random::<u64>() % 300)).await;
                            let _ = peer.0.close(None).await;
                        }
                        _ => {
                            let mut peer = client.upgrade("/containers/c/ports/7", &[]).await.ok().unwrap();
                            loop {
                                peer.send(vec![b'x'; 30_000]).await;
                                peer.next().await;
                            }
                        }
                    }
                };
                // The connection is cut where it stands.
                let _ = tokio::time::timeout(Duration::from_millis(rand::random::<u64>() % 1500), work).await;
            });
        }
        cut.join_all().await;
    }
    // Terminals that were cut wait for whoever comes back.
    let within = Duration::from_secs(40);
    let begun = std::time::Instant::now();
    while alive(&mark) > 0 && begun.elapsed() < within {
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(alive(&mark), 0);
    streams(client, 0).await;
    assert_eq!(client.used().await["execs"], 0);
    // One conmon is the container's; those of commands stay for `exit_command_delay`, two seconds here.
    eventually("that Podman's monitors are gone", || async { (with_word(&id).len() <= 1).then_some(()) }).await;
    eventually("that no file is left open", || async { (open_files(story.gateway.pid()) <= files).then_some(()) })
        .await;
    // The server and its container are as they were.
    let mut peer = client.websocket("/containers/c/ports/7").await;
    peer.send("still").await;
    assert_eq!(peer.next().await, Some(Message::binary("still")));
}

/// Whoever may not listen any more is told so, and so is everybody when the gateway ends.
#[tokio::test]
async fn every_stream_ends_with_its_reason() {
    let mut story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let open = async |client: &Client| {
        let command = json!({"command": "echo up; sleep 300", "timeout": 300});
        let mut all = vec![
            ("exec", client.post_events("/containers/c/exec/stream", command).await.ok().unwrap()),
            ("logs", client.events("/containers/c/logs?follow=true").await),
            ("stats", client.events("/containers/c/stats?stream=true&interval=60").await),
            ("events", client.events("/events").await),
        ];
        all[0].1.told().await;
        streams(client, 4).await;
        all
    };
    let signed = client.sign_in(&story.tenant.login("operator"), PASSWORD).await.ok();
    let theirs = client.with_token(signed["access_token"].as_str().unwrap());
    let all = open(&theirs).await;
    theirs.post("/auth/logout", json!(null)).await.ok();
    for (what, mut stream) in all {
        assert_eq!(stream.reason().await, "revoked", "{what}");
    }
    streams(client, 0).await;
    let all = open(client).await;
    story.gateway.terminate();
    for (what, mut stream) in all {
        assert_eq!(stream.reason().await, "draining", "{what}");
    }
    assert!(story.gateway.ended().await.success());
}
