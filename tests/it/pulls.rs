//! Pulls of one tenant are nobody else's, and what hangs ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine_down::{site_at, socket};
use crate::support::client::sleeping;
use crate::support::registry::Registry;
use crate::support::sse::Stream;
use crate::support::{ALPINE, Client, Forwarder, Podman, Site, Story, eventually};

/// Nothing answers there.
const SILENT: &str = "127.0.0.1:5108/acme";

async fn pull(client: &Client, image: &str) -> Stream {
    let opened = client.post_events("/images/pull", json!({"image": image})).await;
    opened.unwrap_or_else(|answer| panic!("{image}: {}", answer.text()))
}

/// Until something is said of it.
async fn until(stream: &mut Stream, name: &str) -> Value {
    stream.until(name).await.pop().unwrap().data
}

#[tokio::test]
async fn nobody_waits_behind_anothers_pulls() {
    let registry = Registry::start(5107).await;
    let podman = Podman::of_the_tests();
    let _silent = podman.occupy_silently(5108).await;
    registry.push(&podman, ALPINE, "acme/shared:1").await;
    let shared = registry.reference("acme/shared:1");
    podman.remove_image(&shared).await;
    let images = [format!("--image={SILENT}/*"), format!("--image={shared}")];
    let site = Site::new().set("images.pulls", 2).set("images.pull_seconds", 3600);
    let mut story = Story::with(site, &[&images[0], &images[1]]).await;
    let other = story.site.tenant_with(&[&images[1]]);
    let theirs = story.gateway.client(&story.site.token(&other.login("operator")));

    // A tenant has half of the places: the shared image waits behind what hangs, whether anybody waits for it or not.
    let mut hangs = pull(&story.client, &format!("{SILENT}/web")).await;
    until(&mut hangs, "resolving").await;
    let mut waits = pull(&story.client, &shared).await;
    until(&mut waits, "waiting").await;
    drop(pull(&story.client, &shared).await);
    // Not the neighbour, and who waited is glad of it.
    let body = sleeping("c", json!({"image": shared}));
    theirs.post("/containers", body).await.ok();
    until(&mut waits, "done").await;

    // Only so many wait.
    for number in 0..16 {
        drop(pull(&story.client, &format!("{SILENT}/more{number}")).await);
    }
    let one_more = json!({"image": format!("{SILENT}/one-more")});
    let refused = story.client.post("/images/pull", one_more.clone()).await;
    refused.refused(429, "RateLimitError");
    assert!(refused.header("retry-after").is_some());
    let body = sleeping("d", one_more);
    story.client.post("/containers", body).await.refused(429, "RateLimitError");
    drop(pull(&theirs, &shared).await);

    // Nor does the end of the gateway.
    let begun = Instant::now();
    story.gateway.terminate();
    assert!(story.gateway.ended().await.success());
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    podman.clean(&other.slug).await;
    podman.remove_image(&shared).await;
}

/// A Podman that is away is not the image's fault.
#[tokio::test]
async fn a_pull_without_podman_says_so() {
    let (socket, podman) = (socket(), Podman::of_the_tests());
    let way = Forwarder::start(&socket, &podman.socket);
    let _silent = podman.occupy_silently(5109).await;
    let image = "127.0.0.1:5109/acme/web";
    let story = Story::with(site_at(&socket), &[&format!("--image={image}")]).await;
    let client = &story.client;
    let create = sleeping("c", json!({"image": image, "pull": "always"}));
    let mut hangs = pull(client, image).await;
    until(&mut hangs, "resolving").await;
    let waiting = tokio::spawn({
        let (client, create) = (client.clone(), create.clone());
        async move { client.post("/containers", create).await }
    });
    eventually("that it waits", || async { (client.used().await["streams"] == 1).then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    way.turn_to("/nobody/listens".as_ref());
    assert!(until(&mut hangs, "failed").await["message"].as_str().unwrap().contains("out of reach"));
    waiting.await.unwrap().refused(503, "PodmanAPIError");
    drop(way);
    client.post("/images/pull", json!({"image": image})).await.refused(503, "PodmanAPIError");
    client.post("/containers", create).await.refused(503, "PodmanAPIError");
    assert_eq!(client.used().await["containers"], 0);
}
