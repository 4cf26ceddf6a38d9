//! Podman away, silent, and back again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::unique;
use crate::support::{Client, Forwarder, Gateway, Podman, Site, Story, eventually};

/// A path for a socket. Short: it has room for 107 bytes.
pub fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("podgate-{}.sock", unique()))
}

pub fn site_at(socket: &std::path::Path) -> Site {
    Site::new().set("engine.url", format!("unix://{}", socket.display()))
}

#[tokio::test]
async fn a_gateway_outlives_its_podman() {
    let socket = socket();
    let story = Story::at(site_at(&socket)).await;
    let client = &story.client;
    let create = json!({"image": "alpine", "name": "web", "command": "sleep 300"});

    // It starts without, and says so.
    let is_down = async || {
        let health = client.anonymous().get("/health").await;
        assert_eq!(health.status, 503);
        let health = health.json();
        assert_eq!((&health["status"], &health["podman"]), (&json!("unhealthy"), &json!("disconnected")));
        assert_eq!(client.anonymous().get("/livez").await.status, 200);
        let unready = async || {
            let answer = client.anonymous().get("/readyz").await;
            (answer.status == 503).then_some(answer)
        };
        eventually("that it is not ready", unready).await.refused(503, "PodmanAPIError");
        let refused = client.post("/containers", create.clone()).await;
        refused.refused(503, "PodmanAPIError");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(client.get("/metrics").await.status, 200);
        client.get("/containers/never-existed").await.refused(404, "PodmanAPIError");
    };
    is_down().await;
    assert_eq!(client.listed().await, []);

    // Podman comes.
    let podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    assert_eq!(client.get("/health").await.json()["status"], "healthy");
    // What was looked up a moment ago is not looked up again.
    eventually("readiness", || async { (client.get("/readyz").await.status == 200).then_some(()) }).await;
    client.create_sleeping("old").await;

    // It goes: what asks it fails, nothing is lost.
    drop(podman);
    is_down().await;
    for (method, path, body) in [
        ("GET", "/containers/old", None),
        ("POST", "/containers/old/start", None),
        ("POST", "/containers/old/stop", None),
        ("GET", "/containers/old/logs", None),
        ("POST", "/containers/old/exec", Some(json!({"command": "true"}))),
        ("POST", "/containers/old/users", Some(json!({"username": "u"}))),
        ("POST", "/containers/old/files", Some(json!({"dest_path": "/tmp/x", "content": "x"}))),
        ("POST", "/volumes", Some(json!({"name": "data"}))),
        ("POST", "/volumes", Some(json!({"name": "data"}))),
    ] {
        let answer = client.call(method, path, body).await;
        assert_eq!(answer.status, 503, "{method} {path}: {}", answer.text());
        answer.refused(503, "PodmanAPIError");
    }

    // It comes again, and all goes on by itself.
    let _podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    assert_eq!(client.listed().await, [("old".into(), "running".into())]);
    assert_eq!(client.exec("old", json!("echo hi")).await, "hi\n");
    client.post("/containers", create).await.ok();
    client.post("/volumes", json!({"name": "data"})).await.ok();
}

/// A command whose connection broke was ended by the agent: nobody knows what it would have come to.
#[tokio::test]
async fn a_broken_connection_is_no_exit_code() {
    let socket = socket();
    let podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let story = Story::at(site_at(&socket)).await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let command = json!({"command": "echo >>/tmp/begun; sleep 60; exit 7", "timeout": 100});
    let waiting = tokio::spawn({
        let (client, command) = (client.clone(), command.clone());
        async move { client.post("/containers/c/exec", command).await }
    });
    let mut told = client.post_events("/containers/c/exec/stream", command).await.ok().unwrap();
    eventually("that both run", || async {
        let counted = client.exec("c", json!("touch /tmp/begun; wc -l </tmp/begun")).await;
        (counted.trim() == "2").then_some(())
    })
    .await;
    podman.turn_to(&Podman::of_the_tests().socket);
    waiting.await.unwrap().refused(503, "PodmanAPIError");
    assert_eq!(told.reason().await, "failed");
    assert_eq!(client.exec("c", json!("echo still there")).await, "still there\n");
}

/// What could not be removed while Podman was away is removed when it is back.
#[tokio::test]
async fn a_removal_ends_when_podman_is_back() {
    let socket = socket();
    let story = Story::at(site_at(&socket)).await;
    let podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    story.client.create_sleeping("web").await;
    drop(podman);
    story.client.delete("/containers/web?force=true").await.refused(503, "PodmanAPIError");
    let _podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    // Asking again is one way.
    story.client.delete("/containers/web?force=true").await.ok();
    assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
    assert_eq!(story.client.listed().await, []);
}

/// A gateway that waits so many seconds for a Podman that can be silenced, and has a container.
async fn impatient(name: &str, seconds: u64) -> (Forwarder, Site, Gateway, Client) {
    let socket = socket();
    let Story { client, gateway, mut site, .. } = Story::at(site_at(&socket)).await;
    let podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    client.create_sleeping(name).await;
    // On a busy machine, only what is to be late may have so little time.
    drop(gateway);
    site.put("engine.request_timeout_seconds", seconds);
    let gateway = site.start().await;
    let client = gateway.client(&client.token.unwrap());
    (podman, site, gateway, client)
}

#[tokio::test]
async fn a_silent_podman_is_waited_for_only_so_long() {
    let (podman, _site, _gateway, client) = impatient("web", 2).await;
    podman.set_silent(true);
    for (method, path, body) in [
        ("POST", "/containers/web/start", None),
        ("POST", "/containers/web/stop?timeout=0", None),
        ("GET", "/containers/web/logs", None),
        ("POST", "/containers/web/exec", Some(json!({"command": "true"}))),
        ("POST", "/containers/web/users", Some(json!({"username": "u"}))),
        ("POST", "/containers/web/files", Some(json!({"dest_path": "/tmp/x", "content": "x"}))),
        ("POST", "/containers", Some(json!({"image": "alpine", "name": "late", "command": "sleep 300"}))),
    ] {
        let begun = Instant::now();
        let answer = client.call(method, path, body).await;
        assert_eq!(answer.status, 408, "{method} {path}: {}", answer.text());
        answer.refused(408, "PodmanAPIError");
        assert!(begun.elapsed() < Duration::from_secs(10), "{method} {path}: {:?}", begun.elapsed());
    }
    assert_eq!(client.get("/health").await.status, 503);
    assert_eq!(client.get("/livez").await.status, 200);
    assert_eq!(client.status("web").await, "unknown", "what the ledger says is told all the same");

    // It was not the container's doing, so nothing is held against it.
    podman.set_silent(false);
    eventually("that it is seen again", || async { (client.status("web").await == "running").then_some(()) }).await;
    eventually("the name to be free", || async {
        let answer =
            client.post("/containers", json!({"image": "alpine", "name": "late", "command": "sleep 300"})).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Neither a create that has to be taken back nor one that waits behind it waits for Podman twice.
#[tokio::test]
async fn creates_wait_for_a_silent_podman_only_once() {
    let (podman, _site, _gateway, client) = impatient("first", 8).await;
    eventually("that Podman is known", || async { (client.get("/readyz").await.status == 200).then_some(()) }).await;
    podman.set_silent(true);
    let creates = (0..6).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let body = json!({"image": "alpine", "name": format!("c{number}")});
            client.post("/containers", body).await.refused(408, "PodmanAPIError");
            begun.elapsed()
        })
    });
    for create in creates.collect::<Vec<_>>() {
        let took = create.await.unwrap();
        assert!(took.as_secs() < 14, "{took:?}");
    }
    podman.set_silent(false);
    eventually("that nothing is left of them", || async { (client.listed().await.len() == 1).then_some(()) }).await;
}

/// Whoever watches a gateway must not take one for dead that was started beside a Podman that hangs.
#[tokio::test]
async fn a_gateway_that_starts_beside_a_silent_podman_serves() {
    let socket = socket();
    let podman = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    podman.set_silent(true);
    let begun = Instant::now();
    let story = Story::at(site_at(&socket)).await;
    assert_eq!(story.client.anonymous().get("/livez").await.status, 200);
    assert!(begun.elapsed().as_secs() < 9, "{:?}", begun.elapsed());
    assert_eq!(story.client.listed().await, []);
    podman.set_silent(false);
    eventually("readiness", || async { (story.client.get("/readyz").await.status == 200).then_some(()) }).await;
}
