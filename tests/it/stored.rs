//! What a tenant stores, where it is not a container of its own that grows.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::images::ALPINE;
use crate::support::files::{BYTES, answer, at};
use crate::support::{Site, Story, eventually};

#[tokio::test]
async fn who_writes_on_into_a_volume_is_stopped() {
    let story = Story::with(Site::new(), &[&format!("--image={ALPINE}"), "--quota=stored_bytes=20000000"]).await;
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
