//! The main process's standard input, where nobody asked for one.

use serde_json::json;

use crate::support::{Client, Site, Story, eventually};

/// Ids that no other story's tenants have: what those do is nobody's here.
fn site() -> Site {
    Site::new().set("engine.first_user_id", 1_610_612_736)
}

/// With user namespaces a container's /dev/null is the host's own, and everybody's.
#[tokio::test]
async fn the_hosts_null_is_no_containers() {
    let Story { client, .. } = &Story::at(site()).await;
    let look = async |when: &str| {
        let command = "stat -c %u:%g /dev/null; chmod 666 /dev/null 2>/dev/null || echo refused";
        assert_eq!(client.exec("c", json!(command)).await, "65534:65534\nrefused\n", "{when}");
    };
    let act = async |what: &str| drop(client.post(&format!("/containers/c/{what}"), json!(null)).await.ok());
    client.create_sleeping("c").await;
    look("after its creation").await;
    look("after a command").await;
    act("stop?timeout=0").await;
    client.get("/containers/c/files?path=/etc").await.ok();
    act("start").await;
    look("after a look at its files, stopped, and a start").await;
    act("restart?timeout=0").await;
    look("after a restart").await;
    client.get("/containers/c/files?path=/etc").await.ok();
    client.post("/containers/c/users", json!({"username": "bob"})).await.ok();
    look("after what else runs in it").await;
    client.create(json!({"image": "alpine", "name": "talked-to", "command": "cat", "stdin": true})).await;
    look("after one with input").await;
}

async fn says(client: &Client, name: &str, times: usize) {
    let said = || async { (client.logs(name, "").await.matches("over").count() == times).then_some(()) };
    eventually(&format!("what it says the {times}. time"), said).await;
}

#[tokio::test]
async fn whoever_reads_finds_the_end() {
    let Story { client, .. } = &Story::begin().await;
    client.create(json!({"image": "alpine", "name": "once", "command": "cat; echo over"})).await;
    client.create(json!({"image": "alpine", "name": "stays", "command": "cat; echo over; sleep 300"})).await;
    client.create(json!({"image": "alpine", "name": "late", "command": "cat; echo over", "start": false})).await;
    for times in 1..=6 {
        if times > 1 {
            client.post("/containers/once/start", json!(null)).await.ok();
            client.post("/containers/stays/restart?timeout=0", json!(null)).await.ok();
        }
        says(client, "once", times).await;
        says(client, "stays", times).await;
        eventually("its end", || async { (client.status("once").await == "exited").then_some(()) }).await;
        assert_eq!(client.get("/containers/once").await.ok()["container"]["exit_code"], 0);
        assert_eq!(client.status("stays").await, "running");
    }
    client.post("/containers/late/start", json!(null)).await.ok();
    says(client, "late", 1).await;
    // Nobody can give it any.
    let mut peer = client.websocket("/containers/stays/attach").await;
    peer.send("\0x").await;
    assert_eq!(peer.closed().await, (1008, "the container was made without stdin".into()));
}

/// What ends before anybody can look is not made ready to run again by whoever ends its input.
#[tokio::test]
async fn what_ends_at_once_stays_ended() {
    let Story { client, .. } = &Story::begin().await;
    client.create(json!({"image": "alpine", "name": "brief", "command": "exit 7; :"})).await;
    for _ in 0..5 {
        eventually("its end", || async { (client.status("brief").await == "exited").then_some(()) }).await;
        assert_eq!(client.get("/containers/brief").await.ok()["container"]["exit_code"], 7);
        client.post("/containers/brief/start", json!(null)).await.ok();
    }
    eventually("that it holds no place", || async { (client.used().await["running"] == 0).then_some(()) }).await;
}
