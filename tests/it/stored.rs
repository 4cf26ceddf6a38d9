//! What a tenant stores, where it is not a container of its own that grows.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::engine_down::{site_at, socket};
use crate::support::files::{BYTES, answer, at};
use crate::support::private::PrivatePodman;
use crate::support::{ALPINE, DEBIAN, Forwarder, Podman, Site, Story, eventually};

#[tokio::test]
async fn who_writes_on_into_a_volume_is_stopped() {
    // One of its own: Podman measures everybody's volumes, and rests the longer the more there are.
    let podman = PrivatePodman::start();
    podman.import_alpine();
    let site = Site::new().set("engine.url", &podman.url);
    let story = Story::with(site, &[&format!("--image={ALPINE}"), "--quota=stored_bytes=20000000"]).await;
    let (client, (_, theirs)) = (&story.client, story.another());
    // Not for ever: should nobody stop it, the disk is everybody's.
    let fill = "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); dd if=/dev/zero of=/data/f$i bs=1M count=1 2>/dev/null; \
                sleep 0.1; done; sleep 300";
    let filling = json!({"command": ["sh", "-c", fill], "volumes": {"data": "/data"}});
    for client in [client, &theirs] {
        client.post("/volumes", json!({"name": "data"})).await.ok();
    }
    client.create_sleeping("good").await;
    theirs.create_with("neighbour", filling.clone()).await;
    client.create_with("bomb", filling).await;
    eventually("the bomb's end", || async { (client.status("bomb").await == "exited").then_some(()) }).await;
    story.gateway.logged("stored_bytes").await;
    assert!(client.used().await["stored_bytes"] > 20_000_000);
    assert_eq!(client.status("good").await, "running");
    assert_eq!(theirs.status("neighbour").await, "running");
    client.post("/containers/bomb/start", json!(null)).await.refused(403, "QuotaError");
    theirs.delete("/containers/neighbour?force=true").await.ok();
    client.delete("/containers/bomb").await.ok();
    client.delete("/volumes/data").await.ok();
    client.create_sleeping("next").await;
}

/// Podman gives up at a path that is longer than 4096 bytes: on the container with it, and on all volumes of the host.
#[tokio::test]
async fn nothing_is_too_deep_to_be_found() {
    let podman = PrivatePodman::start();
    podman.import_alpine();
    let site = Site::new().set("engine.url", &podman.url);
    let story = Story::with(site, &[&format!("--image={ALPINE}"), "--quota=stored_bytes=20000000"]).await;
    let (client, (_, theirs)) = (&story.client, story.another());
    let deep = "n=$(printf %0250d 1); cd $D; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do mkdir $n; cd $n; done; \
                i=0; while [ $i -lt 600 ]; do i=$((i+1)); dd if=/dev/zero of=$D/f$i bs=1M count=1 2>/dev/null; sleep 0.1; \
                done; sleep 300";
    for client in [client, &theirs] {
        client.post("/volumes", json!({"name": "data"})).await.ok();
    }
    theirs.create_with("quiet", json!({"command": ["sleep", "300"], "volumes": {"data": "/data"}})).await;
    for directory in ["/tmp", "/data"] {
        let environment = json!({"D": directory});
        let body = json!({"command": ["sh", "-c", deep], "environment": environment, "volumes": {"data": "/data"}});
        client.create_with("bomb", body).await;
        eventually("the bomb's end", || async { (client.status("bomb").await == "exited").then_some(()) }).await;
        assert!(client.used().await["stored_bytes"] > 20_000_000);
        client.delete("/containers/bomb").await.ok();
    }
    assert_eq!(theirs.status("quiet").await, "running");
}

/// Directories that somebody moves to and fro all the time lead no survey astray.
#[tokio::test]
async fn what_is_moved_about_is_no_shelter() {
    let podman = PrivatePodman::start();
    podman.import_alpine();
    let site = Site::new().set("engine.url", &podman.url).set("engine.survey_seconds", 1);
    let story = Story::with(site, &[&format!("--image={ALPINE}"), "--quota=stored_bytes=40000000"]).await;
    let client = &story.client;
    let bomb = "n=$(printf %0250d 1); mkdir /m; cd /m; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do mkdir $n; cd $n; done; \
                for k in 1 2 3 4; do mkdir -p /m/a$k/t /m/b$k; (cd /m/a$k/t; seq 500 | xargs mkdir); \
                (while mv /m/a$k/t /m/b$k/t && mv /m/b$k/t /m/a$k/t; do :; done) & done; \
                mkdir -p /0/data; i=0; while [ $i -lt 600 ]; do i=$((i+1)); dd if=/dev/zero of=/0/data/f$i bs=1M count=1 2>/dev/null; \
                sleep 0.1; done; sleep 300";
    client.create_with("bomb", json!({"command": ["sh", "-c", bomb]})).await;
    eventually("the bomb's end", || async { (client.status("bomb").await == "exited").then_some(()) }).await;
    assert!(client.used().await["stored_bytes"] > 40_000_000);
    client.delete("/containers/bomb").await.ok();
}

/// Room that a file holds beyond its end is none of its size.
#[tokio::test]
async fn what_is_held_beyond_the_end_is_found() {
    let site = Site::new().set("engine.survey_seconds", 1);
    let story = Story::with(site, &[&format!("--image={DEBIAN}"), "--quota=stored_bytes=20000000"]).await;
    let client = &story.client;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    let hold =
        "i=0; while [ $i -lt 600 ]; do i=$((i+1)); : > $D/f$i; fallocate -n -l 1M $D/f$i; sleep 0.1; done; sleep 300";
    for directory in ["/srv", "/data"] {
        let environment = json!({"D": directory});
        let body = json!({
            "image": DEBIAN, "command": ["sh", "-c", hold], "environment": environment, "volumes": {"data": "/data"},
        });
        client.create_with("held", body).await;
        eventually("its end", || async { (client.status("held").await == "exited").then_some(()) }).await;
        client.delete("/containers/held").await.ok();
        client.delete("/volumes/data").await.ok();
        client.post("/volumes", json!({"name": "data"})).await.ok();
    }
}

/// Podman walks over every file of a container to measure it. Who has many waits for it alone.
#[tokio::test]
async fn who_is_slow_to_measure_is_nobody_elses_shelter() {
    let (socket, podman) = (socket(), Podman::of_the_tests());
    let way = Forwarder::start(&socket, &podman.socket);
    let story = Story::with(site_at(&socket), &[&format!("--image={ALPINE}"), "--quota=stored_bytes=20000000"]).await;
    let (client, (_, theirs)) = (&story.client, story.another());
    for name in ["slow", "slower"] {
        let id = theirs.create_sleeping(name).await;
        let id = podman.inspect(&id).await["Id"].as_str().unwrap().to_owned();
        way.hold(&format!("{id}/json?size=true"));
    }
    // It has been their turn.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let fill = "i=0; while [ $i -lt 600 ]; do i=$((i+1)); dd if=/dev/zero of=/f$i bs=1M count=1 2>/dev/null; \
                sleep 0.1; done; sleep 300";
    client.create_with("bomb", json!({"command": ["sh", "-c", fill]})).await;
    eventually("the bomb's end", || async { (client.status("bomb").await == "exited").then_some(()) }).await;
    assert!(client.used().await["stored_bytes"] > 20_000_000);
    assert_eq!(theirs.status("slow").await, "running");
}

/// A container that goes in the middle of an upload takes with it what the upload was to store.
#[tokio::test]
async fn an_upload_into_what_is_gone_counts_for_nothing() {
    for start in [true, false] {
        let story = Story::begin().await;
        let client = &story.client;
        client.create_with("c", json!({"start": start})).await;
        let mut upload = client.begin_upload(&at("/content", "/srv"), BYTES, "transfer-encoding: chunked").await;
        // Nobody tells that an upload has begun of which nothing came yet.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        client.delete("/containers/c?force=true").await.ok();
        upload.write_all(b"5\r\nhello\r\n0\r\n\r\n").await.unwrap();
        let told = answer(upload).await;
        assert!(!told.starts_with("HTTP/1.1 2"), "{told}");
        eventually("that nothing counts", || async { (client.used().await["stored_bytes"] == 0).then_some(()) }).await;
    }
}
