//! Reads do not ask Podman until something happened, and then they do.

use serde_json::json;

use crate::engine_down::{site_at, socket};
use crate::support::private::PrivatePodman;
use crate::support::{Forwarder, Podman, Story, eventually};

/// What the gateway asks by itself while a story runs, beside one look a second.
const OF_ITS_OWN: usize = 20;

async fn quiet(forwarder: &Forwarder) {
    eventually("that nothing happens any more", || async {
        let before = forwarder.taken();
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        // One look a second goes on, for there is one container.
        (forwarder.taken() - before <= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_read_asks_podman_only_after_something_happened() {
    let socket = socket();
    let forwarder = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let story = Story::at(site_at(&socket)).await;
    let client = &story.client;
    client.create_sleeping("web").await;
    quiet(&forwarder).await;
    let (before, begun) = (forwarder.taken(), std::time::Instant::now());
    for _ in 0..50 {
        assert_eq!(client.status("web").await, "running");
        assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    }
    let asked = forwarder.taken() - before;
    assert!(asked < OF_ITS_OWN + 2 * begun.elapsed().as_secs() as usize, "100 reads asked Podman {asked} times");

    // What we do counts at once,
    for (verb, status) in
        [("pause", "paused"), ("unpause", "running"), ("stop?timeout=0", "exited"), ("start", "running")]
    {
        client.post(&format!("/containers/web/{verb}"), json!(null)).await.ok();
        assert_eq!(client.status("web").await, status, "after {verb}");
    }
    // and what happens by itself soon, even if nobody looks.
    client.post("/containers/web/kill", json!(null)).await.ok();
    eventually("the place to be free", || async { (client.used().await["running"] == 0).then_some(()) }).await;
    // For a moment, Podman's word for it is "stopped".
    eventually("its end", || async { (client.status("web").await == "exited").then_some(()) }).await;
}

#[tokio::test]
async fn what_was_seen_before_the_events_were_lost_does_not_count() {
    let socket = socket();
    let forwarder = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let story = Story::at(site_at(&socket)).await;
    let client = &story.client;
    client.create_sleeping("web").await;
    quiet(&forwarder).await;
    let (id, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
    // The events of this go where nobody hears them.
    forwarder.turn_to(&socket.with_extension("nowhere"));
    story.podman.call("POST", &format!("/containers/{id}/pause")).await;
    forwarder.turn_to(&Podman::of_the_tests().socket);
    assert_eq!(client.status("web").await, "paused");
}

/// Podman runs on another store: what was in the old one is unknown, and comes back with it.
#[tokio::test]
async fn a_store_that_moved_takes_its_containers_along() {
    let (socket, other) = (socket(), PrivatePodman::start());
    other.import_alpine();
    let forwarder = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let story = Story::at(site_at(&socket)).await;
    let client = &story.client;
    client.create_sleeping("web").await;

    forwarder.turn_to(other.socket());
    eventually("that it is missed", || async { (client.status("web").await == "unknown").then_some(()) }).await;
    story.gateway.logged("Podman does not have a container").await;
    client.post("/containers/web/exec", json!({"command": "true"})).await.refused(404, "PodmanAPIError");
    client.create_sleeping("new").await;

    forwarder.turn_to(&Podman::of_the_tests().socket);
    eventually("that it is back", || async { (client.status("web").await == "running").then_some(()) }).await;
    assert_eq!(client.exec("web", json!("echo hi")).await, "hi\n");
    assert_eq!(client.status("new").await, "unknown");
    for name in ["web", "new"] {
        client.delete(&format!("/containers/{name}?force=true")).await.ok();
    }
    assert!(client.used().await.values().all(|used| *used == 0));
}
