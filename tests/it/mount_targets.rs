//! What is mounted lies where it was asked to lie, and stays there: over the account files nobody may put anything, for Podman
//! reads what is below.

use serde_json::{Value, json};

use crate::hostile::image;
use crate::support::files::at;
use crate::support::gateway::unique;
use crate::support::{Client, Site, Story};

async fn with_volumes(client: &Client, volumes: Value) {
    for name in volumes.as_object().unwrap().keys() {
        client.post("/volumes", json!({"name": name})).await.ok();
    }
    client.create_with("c", json!({"volumes": volumes})).await;
}

async fn verb(client: &Client, verb: &str) -> crate::support::Answer {
    client.post(&format!("/containers/c/{verb}"), Value::Null).await
}

/// Does it while the container runs, and starts it anew.
async fn starts_after(client: &Client, change: &str) -> Result<(), String> {
    client.exec("c", json!(change)).await;
    verb(client, "stop?timeout=0").await.ok();
    let answer = verb(client, "start").await;
    if answer.status == 200 {
        return Ok(());
    }
    Err(answer.refused(409, "PodmanAPIError").to_string())
}

#[tokio::test]
async fn nothing_is_mounted_behind_a_link() {
    let Story { client, .. } = &Story::begin().await;
    with_volumes(client, json!({"v": "/v/data"})).await;
    let said = starts_after(client, "mv /v /old; mkdir -p /v /w/x; ln -s /w/x /v/data").await.unwrap_err();
    assert!(said.contains("/v/data is a link"), "{said}");
    assert_eq!(client.used().await["running"], 0);
    client.delete("/containers/c?force=true").await.ok();

    client.create_with("c", json!({"volumes": {"v": "/v/data"}})).await;
    client.exec("c", json!("echo hello > /v/data/x")).await;
    // A link above is the directory that it leads to.
    assert_eq!(starts_after(client, "mv /v /other; ln -s /other /v").await, Ok(()));
    assert_eq!(client.exec("c", json!("cat /other/data/x")).await, "hello\n");
    client.delete("/containers/c?force=true").await.ok();
}

#[tokio::test]
async fn nothing_is_mounted_where_nothing_may_be() {
    let Story { client, .. } = &Story::begin().await;
    with_volumes(client, json!({"v": "/a/etc"})).await;
    let said = starts_after(client, "mv /a /b; ln -s / /a").await.unwrap_err();
    assert!(said.contains("/a/etc would be mounted elsewhere"), "{said}");
    client.delete("/containers/c?force=true").await.ok();
}

/// What is mounted first has links of its own.
#[tokio::test]
async fn nothing_is_mounted_by_a_link_in_a_volume() {
    let Story { client, .. } = &Story::begin().await;
    with_volumes(client, json!({"a": "/a", "b": "/x/b"})).await;
    let said = starts_after(client, "ln -s /etc /a/b; mv /x /y; ln -s /a /x").await.unwrap_err();
    assert!(said.contains("/x/b is a link"), "{said}");
    client.delete("/containers/c?force=true").await.ok();

    with_volumes(client, json!({"outer": "/n", "inner": "/n/m/i"})).await;
    assert_eq!(starts_after(client, "echo hello > /n/m/i/x").await, Ok(()));
    assert_eq!(client.exec("c", json!("cat /n/m/i/x")).await, "hello\n");
    let said = starts_after(client, "mkdir /n/p; mv /n/m /n/q; ln -s /etc /n/p/i; ln -s p /n/m").await.unwrap_err();
    assert!(said.contains("/n/m/i is a link"), "{said}");
    client.delete("/containers/c?force=true").await.ok();
}

/// An image may have links from the beginning.
#[tokio::test]
async fn nothing_is_mounted_behind_an_images_link() {
    let name = format!("localhost/{}:linked", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    let client = &story.client;
    story.podman.load(image(&name, "/", &json!({"Cmd": ["/app", "sleep"]}))).await;
    client.post("/volumes", json!({"name": "v"})).await.ok();
    for (target, starts) in [("/way", false), ("/way/etc", false), ("/way/data", true), ("/data", true)] {
        let body = json!({"image": name, "name": "c", "volumes": {"v": target}});
        let answer = client.post("/containers", body).await;
        if starts {
            answer.ok();
            client.delete("/containers/c?force=true").await.ok();
        } else {
            answer.refused(409, "PodmanAPIError");
            assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
        }
    }
    story.podman.remove_image(&name).await;
}

/// From inside, the kernel does not let it be moved; from beside, it would.
#[tokio::test]
async fn what_is_mounted_is_not_moved_while_it_is() {
    let Story { client, .. } = &Story::begin().await;
    with_volumes(client, json!({"v": "/v/data"})).await;
    let moved = json!({"source": "/v/data", "destination": "/v/other"});
    client.post("/containers/c/files/move", moved.clone()).await.refused(409, "PodmanAPIError");
    client.delete(&at("", "/v/data")).await.refused(409, "PodmanAPIError");
    client.write_file("/v/data/x", &[], "x").await.ok();
    verb(client, "pause").await.ok();
    let other = json!({"source": "/tmp", "destination": "/tmp2"});
    for answer in [
        client.post("/containers/c/files/move", moved).await,
        client.post("/containers/c/files/move", other.clone()).await,
        client.delete(&at("", "/v/data/x")).await,
    ] {
        let said = answer.refused(409, "PodmanAPIError").to_string();
        assert!(said.contains("paused; unpause it first"), "{said}");
    }
    assert_eq!(client.read_file("/v/data/x", &[]).await.text(), "x");
    client.write_file("/v/data/x", &[], "y").await.ok();
    verb(client, "unpause").await.ok();
    client.post("/containers/c/files/move", other).await.ok();
    assert_eq!(client.exec("c", json!("cat /v/data/x")).await, "y");
}
