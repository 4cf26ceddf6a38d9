//! Restart, pause, kill; and containers that are gone without our doing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Story, eventually};

async fn act(client: &Client, name: &str, action: &str) -> Value {
    client.post(&format!("/containers/{name}/{action}"), json!(null)).await.ok()["container"].clone()
}

async fn conflict(client: &Client, name: &str, action: &str) {
    let answer = client.post(&format!("/containers/{name}/{action}"), json!(null)).await;
    assert_eq!(answer.status, 409, "{action}: {}", answer.text());
    answer.refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn a_restart_ends_and_begins() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    client.exec("c", json!("echo kept > /tmp/file")).await;
    let before = client.get("/containers/c").await.ok()["container"].clone();
    assert_eq!(act(client, "c", "restart?timeout=0").await, json!({"name": "c", "status": "restarted"}));
    let after = client.get("/containers/c").await.ok()["container"].clone();
    assert_eq!((&after["status"], &after["id"]), (&json!("running"), &before["id"]));
    assert!(after["started_at"].as_str() > before["started_at"].as_str(), "{before} {after}");
    assert_eq!(client.exec("c", json!("cat /tmp/file")).await, "kept\n");

    act(client, "c", "stop?timeout=0").await;
    act(client, "c", "restart?timeout=0").await;
    assert_eq!(client.status("c").await, "running");
    client.create_with("fresh", json!({"start": false})).await;
    act(client, "fresh", "restart?timeout=0").await;
    assert_eq!(client.status("fresh").await, "running");
    assert_eq!(client.used().await["running"], 2);
    for junk in ["301", "-1", "x", ""] {
        client.post(&format!("/containers/c/restart?timeout={junk}"), json!(null)).await.blames(&["timeout"]);
    }
    // What cannot start keeps no place.
    client.create_with("doomed", json!({"command": "nosuchprogram", "start": false})).await;
    client.post("/containers/doomed/restart?timeout=0", json!(null)).await.refused(400, "ValidationError");
    assert_eq!(client.used().await["running"], 2);
}

#[tokio::test]
async fn a_restart_waits_as_long_as_it_was_told() {
    let Story { client, .. } = &Story::begin().await;
    let command = "trap 'sleep 1; echo saved; exit' TERM; echo ready; while :; do sleep 0.05; done";
    client.create_with("polite", json!({"command": command})).await;
    eventually("its trap", || async { client.logs("polite", "").await.contains("ready").then_some(()) }).await;
    act(client, "polite", "restart?timeout=20").await;
    let logs = client.logs("polite", "").await;
    assert!(logs.contains("saved"), "it was killed before its time: {logs}");

    // `sleep` as process 1 ignores SIGTERM.
    client.create_sleeping("stubborn").await;
    let begun = Instant::now();
    act(client, "stubborn", "restart?timeout=2").await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn nothing_new_runs_in_a_paused_container() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    act(client, "c", "pause").await;
    for (path, body) in [("exec", json!({"command": "true"})), ("users", json!({"username": "u"}))] {
        let answer = client.post(&format!("/containers/c/{path}"), body).await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.text());
        answer.refused(409, "PodmanAPIError");
    }
}

#[tokio::test]
async fn a_paused_container_does_nothing() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_with("c", json!({"command": "while :; do date +%s%N > /tmp/now; sleep 0.05; done"})).await;
    assert_eq!(act(client, "c", "pause").await, json!({"name": "c", "status": "paused"}));
    assert_eq!(client.status("c").await, "paused");
    assert_eq!(client.listed().await, [("c".into(), "paused".into())]);
    conflict(client, "c", "pause").await;
    client.get("/containers/c/logs").await.ok();
    client.delete("/containers/c").await.refused(409, "PodmanAPIError");
    assert_eq!(client.used().await["running"], 1);
    // Asking what cannot be done now leaves it as it is, and is an answer of the contract.
    for action in ["start", "stop?timeout=0", "restart?timeout=0", "kill?signal=TERM"] {
        let answer = client.post(&format!("/containers/c/{action}"), json!(null)).await;
        assert!(answer.status == 200 || answer.status == 409, "{action}: {}", answer.text());
        if client.status("c").await != "paused" {
            act(client, "c", "restart?timeout=0").await;
            act(client, "c", "pause").await;
        }
    }
    assert_eq!(act(client, "c", "unpause").await, json!({"name": "c", "status": "unpaused"}));
    conflict(client, "c", "unpause").await;
    let first = client.exec("c", json!("cat /tmp/now")).await;
    eventually("that it goes on", || async { (client.exec("c", json!("cat /tmp/now")).await != first).then_some(()) })
        .await;
    act(client, "c", "pause").await;
    client.delete("/containers/c?force=true").await.ok();
    assert!(client.used().await.values().all(|used| *used == 0));

    client.create_with("idle", json!({"start": false})).await;
    conflict(client, "idle", "pause").await;
    conflict(client, "idle", "unpause").await;
}

/// Whoever is frozen does not die: else it would go on, unseen and uncounted.
#[tokio::test]
async fn a_paused_container_can_be_ended() {
    let story = Story::begin().await;
    let client = &story.client;
    let show = async || client.get("/containers/c").await.ok()["container"].clone();
    client.create_sleeping("c").await;
    let pid = story.podman.inspect(show().await["id"].as_str().unwrap()).await["State"]["Pid"].to_string();
    act(client, "c", "pause").await;
    act(client, "c", "kill?signal=KILL").await;
    eventually("its end", || async { (client.status("c").await == "exited").then_some(()) }).await;
    assert_eq!(show().await["exit_code"], 137);
    assert!(!std::path::Path::new("/proc").join(&pid).exists(), "process {pid} lives on");
    assert_eq!(client.used().await["running"], 0);
    client.post("/containers/c/unpause", json!(null)).await.refused(409, "PodmanAPIError");

    act(client, "c", "start").await;
    act(client, "c", "pause").await;
    act(client, "c", "stop?timeout=0").await;
    assert_eq!((&show().await["status"], &show().await["exit_code"]), (&json!("exited"), &json!(137)));
    assert_eq!(client.used().await["running"], 0);
    client.delete("/containers/c").await.ok();

    // One that would end well is let to, and a signal waits for it.
    let command = "trap 'exit 5' TERM; trap 'echo heard' USR1; echo ready; while :; do sleep 0.05; done";
    client.create_with("c", json!({"command": command})).await;
    let says = async |word: &str| {
        eventually(word, || async { client.logs("c", "").await.contains(word).then_some(()) }).await;
    };
    says("ready").await;
    act(client, "c", "pause").await;
    act(client, "c", "kill?signal=USR1").await;
    assert_eq!(client.status("c").await, "paused");
    act(client, "c", "unpause").await;
    says("heard").await;
    act(client, "c", "pause").await;
    act(client, "c", "stop?timeout=20").await;
    assert_eq!(show().await["exit_code"], 5);
    act(client, "c", "start").await;
    act(client, "c", "pause").await;
    act(client, "c", "restart?timeout=0").await;
    assert_eq!((client.status("c").await.as_str(), client.used().await["running"]), ("running", 1));
}

/// A pause at the same moment comes before the kill or after the end, and never in between.
#[tokio::test]
async fn nobody_is_frozen_while_being_killed() {
    let story = Story::begin().await;
    let client = &story.client;
    for _ in 0..6 {
        client.create_sleeping("c").await;
        let id = client.get("/containers/c").await.ok()["container"]["id"].as_str().unwrap().to_owned();
        let pid = story.podman.inspect(&id).await["State"]["Pid"].to_string();
        let (killed, paused) = tokio::join!(
            client.post("/containers/c/kill", json!(null)),
            client.post("/containers/c/pause", json!(null))
        );
        killed.ok();
        assert!(matches!(paused.status, 200 | 409), "{}", paused.text());
        eventually("its end", || async { (client.status("c").await == "exited").then_some(()) }).await;
        assert!(!std::path::Path::new("/proc").join(&pid).exists(), "process {pid} lives on");
        client.delete("/containers/c").await.ok();
    }
}

/// Which state it is that stands in the way.
#[tokio::test]
async fn a_refusal_says_the_state() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    client.create_with("later", json!({"start": false})).await;
    let refused = async |name: &str, action: &str, body: Value, words: &str| {
        let error = client.post(&format!("/containers/{name}/{action}"), body).await.refused(409, "PodmanAPIError");
        assert!(error.to_string().contains(words), "{action} of {name}: {error}");
    };
    refused("c", "unpause", json!(null), "is not paused").await;
    refused("later", "unpause", json!(null), "is not paused").await;
    refused("later", "pause", json!(null), "not started yet").await;
    refused("later", "exec", json!({"command": "true"}), "not started yet").await;
    act(client, "c", "pause").await;
    refused("c", "start", json!(null), "is paused; unpause it").await;
    refused("c", "pause", json!(null), "is paused already").await;
    refused("c", "exec", json!({"command": "true"}), "is paused; unpause it").await;
    act(client, "c", "stop?timeout=0").await;
    refused("c", "pause", json!(null), "is not running").await;
    refused("c", "kill", json!(null), "is not running").await;
}

#[tokio::test]
async fn a_signal_reaches_the_main_process() {
    let story = Story::begin().await;
    let client = &story.client;
    let command = "trap 'echo one' USR1; trap 'echo over; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    client.create_with("c", json!({"command": command})).await;
    let says = async |word: &str| {
        eventually(word, || async { client.logs("c", "").await.contains(word).then_some(()) }).await;
    };
    says("ready").await;
    assert_eq!(act(client, "c", "kill?signal=usr1").await, json!({"name": "c", "status": "signalled"}));
    says("one").await;
    assert_eq!(client.status("c").await, "running");
    for bad in ["9", "SEGV", "", "TERM%20", "TERM;ls", "SIGSIGTERM", "RTMIN"] {
        client.post(&format!("/containers/c/kill?signal={bad}"), json!(null)).await.blames(&["signal"]);
    }
    act(client, "c", "kill?signal=SIGTERM").await;
    says("over").await;
    eventually("its end", || async { (client.status("c").await == "exited").then_some(()) }).await;
    assert_eq!(client.get("/containers/c").await.ok()["container"]["exit_code"], 3);
    conflict(client, "c", "kill").await;
    assert_eq!(client.used().await["running"], 0);

    act(client, "c", "start").await;
    act(client, "c", "kill").await;
    eventually("its end", || async { (client.status("c").await == "exited").then_some(()) }).await;
    assert_eq!(client.get("/containers/c").await.ok()["container"]["exit_code"], 137);
    // A stopped process is a matter of its own; the container runs.
    act(client, "c", "start").await;
    act(client, "c", "kill?signal=STOP").await;
    assert_eq!(client.status("c").await, "running");
    act(client, "c", "kill?signal=CONT").await;
    act(client, "c", "stop?timeout=0").await;
}

/// An operator removed it with Podman's own tools.
#[tokio::test]
async fn what_vanished_can_be_looked_at_and_removed() {
    let story = Story::begin().await;
    let client = &story.client;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.create_with("c", json!({"ports": {"0": "80"}, "volumes": {"data": "/data"}})).await;
    client.create_sleeping("other").await;
    let (id, _) =
        story.podman.containers(&story.tenant.slug).await.into_iter().find(|(_, name)| name.ends_with(".c")).unwrap();
    story.podman.call("DELETE", &format!("/containers/{id}?force=true&timeout=0")).await;

    eventually("that it is missed", || async { (client.status("c").await == "unknown").then_some(()) }).await;
    assert_eq!(client.listed().await, [("c".into(), "unknown".into()), ("other".into(), "running".into())]);
    let mut wrong = Vec::new();
    for (method, path, body) in [
        ("POST", "start", json!(null)),
        ("POST", "stop", json!(null)),
        ("POST", "restart", json!(null)),
        ("POST", "pause", json!(null)),
        ("POST", "unpause", json!(null)),
        ("POST", "kill", json!(null)),
        ("GET", "logs", json!(null)),
        ("POST", "exec", json!({"command": "true"})),
        ("POST", "files", json!({"dest_path": "/tmp/x", "content": "x"})),
        ("POST", "users", json!({"username": "u"})),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let answer = client.call(method, &format!("/containers/c/{path}"), body).await;
        if answer.status != 404 {
            wrong.push(format!("{path}: {}", answer.text()));
        }
    }
    // It has its name, its volume and its place still, but for the one among the running.
    client.try_create("c", json!({})).await.refused(409, "PodmanAPIError");
    client.delete("/volumes/data").await.refused(409, "PodmanAPIError");
    assert_eq!(client.used().await["containers"], 2);
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "running=2"], "").succeeded();
    client.create_sleeping("another").await;
    assert_eq!(client.used().await["running"], 2);
    client.delete("/containers/another?force=true").await.ok();
    client.delete("/containers/c").await.ok();
    client.delete("/volumes/data").await.ok();
    assert_eq!(client.used().await["containers"], 1);
    client.create_sleeping("c").await;
    assert!(wrong.is_empty(), "these are not 404: {wrong:#?}");
}

/// An operator stopped or started it with Podman's own tools.
#[tokio::test]
async fn what_was_changed_behind_our_back_counts_as_it_is() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let (id, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
    story.podman.call("POST", &format!("/containers/{id}/stop?timeout=0")).await;
    let counts_as = async |status: &str, running: i64| {
        eventually(status, || async {
            (client.status("c").await == status && client.used().await["running"] == running).then_some(())
        })
        .await;
    };
    counts_as("exited", 0).await;
    story.podman.call("POST", &format!("/containers/{id}/start")).await;
    counts_as("running", 1).await;
}
