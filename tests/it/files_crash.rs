//! Whoever dies in the middle of a transfer leaves what was there, and nothing else.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::files::{BYTES, TAR, at, content, tar};
use crate::support::processes::with_word_in;
use crate::support::{Audited, Ledger, Story, eventually};

/// What was announced and has no outcome.
async fn open(ledger: &Ledger) -> Vec<String> {
    let rows = ledger.audit_rows().await;
    let ended = |sequence| rows.iter().any(|row| row.intent == Some(sequence));
    let open = rows.iter().filter(|row| row.phase == "intent" && !ended(row.sequence));
    let mut verbs: Vec<String> = open.filter_map(|row| row.verb.clone()).collect();
    verbs.sort_unstable();
    verbs
}

#[tokio::test]
async fn a_gateway_that_dies_leaves_the_old_file_and_no_visitor() {
    for start in [true, false] {
        let Story { client, gateway, site, tenant, podman, .. } = Story::begin().await;
        client.create(json!({"image": "alpine", "name": "c", "command": "sleep 300", "start": start})).await;
        client.post("/containers/c/files/directories", json!({"path": "/srv"})).await.ok();
        client.write_file("/srv/x", &[], "old").await.ok();
        let length = "content-length: 3000000";
        let mut file = client.begin_upload(&at("/content", "/srv/x"), BYTES, length).await;
        file.write_all(&content(2_000_000)).await.unwrap();
        let archive = tar(&[(b'0', "x", "", b"new"), (b'0', "y", "", &content(2_999_000))]);
        let mut tree = client.begin_upload(&at("/archive", "/srv"), TAR, length).await;
        tree.write_all(&archive[..2_000_000]).await.unwrap();
        // It is at it: what is unpacked lies beside.
        eventually("a transfer", || async { (client.names("/srv").await.len() > 1).then_some(()) }).await;
        let ledger = Ledger::of(&site).await;
        eventually("both are announced", || async { (open(&ledger).await.len() == 2).then_some(()) }).await;
        drop(gateway);

        let gateway = site.start().await;
        let client = gateway.client(client.token.as_deref().unwrap());
        let installation = ledger.installation().await.unwrap();
        eventually("all of it is taken back", || async { (client.names("/srv").await == ["x"]).then_some(()) }).await;
        assert_eq!(client.read_file("/srv/x", &[]).await.text(), "old");
        eventually("visitors are gone", || async { podman.visitors(&installation).await.is_empty().then_some(()) })
            .await;
        assert_eq!(
            open(&ledger).await,
            ["putContainerArchive", "putContainerFileContent"],
            "nobody knows how they ended"
        );
        // What has no use for a visitor any more can be removed.
        client.delete("/containers/c?force=true").await.ok();
        assert!(podman.containers(&tenant.slug).await.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_told_of() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    client.write_file("/tmp/x", &[], "old").await.ok();
    let ledger = Ledger::of(&story.site).await;
    let seen = ledger.audited(0).await.len();
    let mut upload = client.begin_upload(&at("/content", "/tmp/x"), BYTES, "content-length: 3000000").await;
    upload.write_all(&content(2_000_000)).await.unwrap();
    eventually("it is announced", || async { (!open(&ledger).await.is_empty()).then_some(()) }).await;
    drop(upload);
    let entries = ledger.audited(seen).await;
    let told: Vec<_> = entries.iter().map(Audited::brief).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_ne!(told[0][3], "success");
    assert_eq!(client.read_file("/tmp/x", &[]).await.text(), "old");
    assert_eq!(client.names("/tmp").await, ["x"]);
}

/// Whoever reads a file to a gateway that is no more hears no end of it: it notices that nobody says that it hears.
#[tokio::test]
async fn a_gateway_that_dies_in_a_download_leaves_nobody() {
    for stop in [false, true] {
        let Story { client, gateway, site, tenant, podman, .. } = Story::begin().await;
        client.create_sleeping("c").await;
        // It takes a while, whoever takes it, and is less than the tenant may store.
        client.exec("c", json!("truncate -s 10000000000 /tmp/large")).await;
        if stop {
            client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
        }
        let (id, _) = podman.containers(&tenant.slug).await.remove(0);
        let installation = Ledger::of(&site).await.installation().await.unwrap();
        let at_work = async || with_word_in("files", &id).len() + podman.visitors(&installation).await.len();
        let mut piece = vec![0; 3 << 20];
        let mut downloads = Vec::new();
        for path in [at("/content", "/tmp/large"), at("/archive", "/tmp")] {
            let mut download = client.begin_download(&path).await;
            download.read_exact(&mut piece).await.unwrap();
            downloads.push(download);
        }
        assert_eq!(at_work().await, 2);
        // In the middle of it, and not while it waits for whoever takes it.
        let taking = downloads.into_iter().map(|mut download| {
            tokio::spawn(async move { tokio::io::copy(&mut download, &mut tokio::io::sink()).await })
        });
        let taking: Vec<_> = taking.collect();
        drop(gateway);
        let begun = std::time::Instant::now();
        eventually("nobody is left", || async { (at_work().await == 0).then_some(()) }).await;
        println!("gone after {:?}", begun.elapsed());
        drop(taking);
    }
}
