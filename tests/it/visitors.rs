//! What is sent to a container's files does not stay, whatever it is by then: a link in the container may have put a program
//! of the tenant's in its place. Here it is frozen, which no program of ours is.

use serde_json::json;

use crate::support::files::{BYTES, at};
use crate::support::{Ledger, Podman, Site, Story, eventually};

/// A container that does not run, and a visitor to its files that will not end by itself.
async fn stuck() -> (Story, String) {
    let story = Story::at(Site::new().set("engine.request_timeout_seconds", 20)).await;
    // It has run: what never did is surveyed once, by a visitor too.
    story.client.create_sleeping("c").await;
    story.client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    let upload = story.client.begin_upload(&at("/content", "/tmp/x"), BYTES, "content-length: 5").await;
    let installation = Ledger::at(&story.site.database()).await.unwrap().installation().await.unwrap();
    let name = eventually("a visitor", || async { running(&story.podman, &installation).await }).await;
    let paused = story.podman.call("POST", &format!("/containers/{name}/pause")).await;
    assert!(matches!(paused.status, 200 | 204), "{}", paused.text());
    drop(upload);
    (story, installation)
}

/// The visitor, once it runs.
async fn running(podman: &Podman, installation: &str) -> Option<String> {
    let name = podman.visitors(installation).await.pop()?;
    (podman.inspect(&name).await["State"]["Status"] == "running").then_some(name)
}

async fn gone(podman: &Podman, installation: &str) {
    eventually("the visitor's end", || async { podman.visitors(installation).await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn whoever_sent_it_removes_it() {
    let (story, installation) = stuck().await;
    gone(&story.podman, &installation).await;
}

#[tokio::test]
async fn what_a_killed_gateway_left_is_removed_by_its_successor() {
    let (Story { gateway, podman, site, .. }, installation) = stuck().await;
    drop(gateway);
    assert_eq!(podman.visitors(&installation).await.len(), 1);
    let _gateway = site.start().await;
    gone(&podman, &installation).await;
}

/// Its user ids are somebody else's next.
#[tokio::test]
async fn none_outlives_its_tenant() {
    let (Story { gateway, podman, site, tenant, .. }, installation) = stuck().await;
    drop(gateway);
    site.run(&["tenant", "delete", &tenant.slug, "--no-wait"], "").succeeded();
    let _gateway = site.start().await;
    eventually("the tenant's end", || async {
        (site.run(&["tenant", "show", &tenant.slug], "").code == 1).then_some(())
    })
    .await;
    assert!(podman.visitors(&installation).await.is_empty());
}
