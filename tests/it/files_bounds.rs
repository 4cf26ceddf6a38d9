//! What bounds transfers, and what is left when one fails in the middle.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::files::{BYTES, TAR, answer, at, content, tar};
use crate::support::{Client, Ledger, PATIENCE, Site, Story, eventually};

/// In the container `c` stands this file and nothing beside it.
async fn is_as_it_was(client: &Client) {
    assert_eq!(client.read_file("/srv/x", &[]).await.text(), "old");
    assert_eq!(client.names("/srv").await, ["x"]);
}

async fn begin(site: Site, start: bool) -> Story {
    let story = Story::at(site).await;
    let body = json!({"image": "alpine", "name": "c", "command": "sleep 300", "start": start});
    story.client.create(body).await;
    story.client.post("/containers/c/files/directories", json!({"path": "/srv"})).await.ok();
    story.client.write_file("/srv/x", &[], "old").await.ok();
    story
}

#[tokio::test]
async fn a_cut_upload_leaves_what_was_there() {
    for start in [true, false] {
        let Story { client, .. } = &begin(Site::new(), start).await;
        let archive = tar(&[(b'0', "x", "", &[7; 200_000]), (b'0', "y", "", b"y")]);
        for (operation, media, bytes) in [("/content", BYTES, content(300_000)), ("/archive", TAR, archive)] {
            let path = at(operation, if operation == "/content" { "/srv/x" } else { "/srv" });
            for (framing, sent) in [("content-length: 300000", 1000), ("content-length: 300000", 150_000)] {
                let mut upload = client.begin_upload(&path, media, framing).await;
                upload.write_all(&bytes[..sent]).await.unwrap();
                drop(upload);
            }
            let mut upload = client.begin_upload(&path, media, "transfer-encoding: chunked").await;
            upload.write_all(b"10000\r\n").await.unwrap();
            upload.write_all(&bytes[..65_536]).await.unwrap();
            upload.write_all(b"\r\n").await.unwrap();
            drop(upload);
            // Nothing is to be waited for but that all three are over.
            eventually("no upload holds anything", || async {
                let names = client.names("/srv").await;
                (names == ["x"]).then_some(())
            })
            .await;
            is_as_it_was(client).await;
        }
        // The container goes in the middle.
        let mut upload = client.begin_upload(&at("/content", "/srv/x"), BYTES, "content-length: 10000000").await;
        upload.write_all(&content(100_000)).await.unwrap();
        client.delete("/containers/c?force=true").await.ok();
        let mut buffer = [0; 4096];
        let told = async {
            while let Ok(()) = upload.write_all(&[0; 65_536]).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            upload.read(&mut buffer).await
        };
        let _ = tokio::time::timeout(PATIENCE, told).await.expect("an end");
    }
}

#[tokio::test]
async fn a_stalled_upload_ends_and_a_steady_one_does_not() {
    let site = Site::new().set("http.transfer_idle_seconds", 4).set("http.body_deadline_seconds", 1);
    let Story { client, .. } = &begin(site, true).await;
    let path = at("/content", "/srv/x");
    let mut stalled = client.begin_upload(&path, BYTES, "content-length: 100").await;
    stalled.write_all(b"some").await.unwrap();
    let told = answer(stalled).await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("ValidationError"), "{told}");
    is_as_it_was(client).await;
    let mut steady = client.begin_upload(&at("/content", "/srv/slow"), BYTES, "content-length: 5").await;
    for byte in b"slow!" {
        steady.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut told = [0; 12];
    steady.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 200");
    assert_eq!(client.read_file("/srv/slow", &[]).await.text(), "slow!");
}

#[tokio::test]
async fn a_transfer_has_a_largest_size() {
    let site = Site::new().set("http.max_transfer_bytes", 100_000).set("http.max_body_bytes", 1024);
    let Story { client, .. } = &begin(site, true).await;
    client.write_file("/srv/x", &[], content(100_001)).await.refused(413, "ValidationError");
    is_as_it_was(client).await;
    let mut endless = client.begin_upload(&at("/content", "/srv/x"), BYTES, "transfer-encoding: chunked").await;
    let chunk = [b"8000\r\n".to_vec(), vec![7; 0x8000], b"\r\n".to_vec()].concat();
    for _ in 0..4 {
        endless.write_all(&chunk).await.unwrap();
    }
    let told = answer(endless).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    is_as_it_was(client).await;
    client.write_file("/srv/x", &[], content(100_000)).await.ok();
}

#[tokio::test]
async fn what_a_tenant_stores_is_bounded() {
    let story = begin(Site::new(), true).await;
    let client = &story.client;
    let used = || async { client.used().await["stored_bytes"] };
    let limit = used().await + 20_000_000;
    story
        .site
        .run(&["tenant", "allow", &story.tenant.slug, "--quota", &format!("stored_bytes={limit}")], "")
        .succeeded();

    // What says that it is too large is refused before it is sent.
    for (operation, media, path) in [("/content", BYTES, "/srv/x"), ("/archive", TAR, "/srv")] {
        let upload = client.begin_upload(&at(operation, path), media, "content-length: 30000000").await;
        let told = answer(upload).await;
        assert!(told.starts_with("HTTP/1.1 403") && told.contains("QuotaError"), "{told}");
    }
    // What does not say it is cut.
    let mut upload = client.begin_upload(&at("/content", "/srv/x"), BYTES, "transfer-encoding: chunked").await;
    let chunk = [b"100000\r\n".to_vec(), vec![7; 0x10_0000], b"\r\n".to_vec()].concat();
    for _ in 0..30 {
        if upload.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let told = answer(upload).await;
    assert!(told.starts_with("HTTP/1.1 403") && told.contains("stored_bytes"), "{told}");
    is_as_it_was(client).await;
    // Nothing of it counts, and what was stored does at once.
    eventually("what was not stored is given back", || async { (used().await < limit - 19_000_000).then_some(()) })
        .await;
    client.write_file("/srv/large", &[], content(12_000_000)).await.ok();
    assert!(used().await > limit - 9_000_000);
    client.write_file("/srv/larger", &[], content(12_000_000)).await.refused(403, "QuotaError");
    client
        .post("/containers/c/files", json!({"dest_path": "/srv/y", "content": "x".repeat(9_000_000)}))
        .await
        .refused(403, "QuotaError");
    // Who stores too much can still remove.
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "stored_bytes=1"], "").succeeded();
    client.write_file("/srv/x", &[], "").await.refused(403, "QuotaError");
    client.delete(&at("", "/srv/large")).await.ok();
    is_as_it_was(client).await;
}

#[tokio::test]
async fn transfers_at_once_are_bounded() {
    let site = Site::new().set("engine.transfers_per_tenant", 2).set("engine.request_timeout_seconds", 5);
    let story = begin(site, true).await;
    let client = &story.client;
    // More than fits between a gateway and somebody who takes nothing.
    client.write_file("/srv/large", &[], content(60_000_000)).await.ok();
    // Two who take nothing, for a moment: whoever comes now waits in vain, another tenant does not.
    let path = at("/content", "/srv/large");
    let slow = [client.begin_download(&path).await, client.begin_download(&path).await];
    client.get(&at("/info", "/srv/x")).await.refused(429, "RateLimitError");
    let (_, theirs) = story.another();
    theirs.create_sleeping("c").await;
    theirs.write_file("/tmp/x", &[], "not theirs to wait").await.ok();
    drop(slow);
    // Nothing is left of any of them.
    let installation = Ledger::at(&story.site.database()).await.unwrap().installation().await.unwrap();
    eventually("a place", || async { (client.get(&at("/info", "/srv/x")).await.status == 200).then_some(()) }).await;
    eventually("visitors are gone", || async { story.podman.visitors(&installation).await.is_empty().then_some(()) })
        .await;
}

#[tokio::test]
async fn a_file_in_json_has_mode_and_owner_too() {
    for start in [true, false] {
        let Story { client, .. } = &begin(Site::new(), start).await;
        let put = async |more: Value| {
            let mut body = json!({"dest_path": "/srv/x", "content": "new"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            client.post("/containers/c/files", body).await
        };
        put(json!({"mode": "0751", "owner": "1000:50"})).await.ok();
        let info = client.file_info("/srv/x").await;
        assert_eq!((&info["mode"], &info["uid"], &info["gid"]), (&json!("0751"), &json!(1000), &json!(50)));
        put(json!({})).await.ok();
        let info = client.file_info("/srv/x").await;
        assert_eq!((&info["mode"], &info["uid"], &info["gid"]), (&json!("0644"), &json!(0), &json!(0)));
        put(json!({"mode": "rwx", "owner": "me"})).await.blames(&["mode", "owner"]);
        assert_eq!(client.names("/srv").await, ["x"]);
    }
}
