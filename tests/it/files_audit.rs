//! Who changed which file, and who may not.

use serde_json::json;

use crate::support::files::{TAR, at, tar};
use crate::support::{Audited, Ledger, Story};

#[tokio::test]
async fn every_change_is_told_and_no_look() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let ledger = Ledger::of(&story.site).await;
    let seen = ledger.audited(0).await.len();

    client.post("/containers/c/files/directories", json!({"path": "/srv/d", "parents": true})).await.ok();
    client.write_file("/srv/d/x", &[], "hidden-in-a-file").await.ok();
    client.post("/containers/c/files", json!({"dest_path": "/srv/d/y", "content": "y"})).await.ok();
    client.unpack("/srv/d", tar(&[(b'0', "z", "", b"z")])).await.ok();
    client.unpack("/srv/d", tar(&[(b'6', "pipe", "", b"")])).await.refused(400, "ValidationError");
    client.post("/containers/c/files/move", json!({"source": "/srv/d/x", "destination": "/srv/x"})).await.ok();
    client.delete(&at("", "/srv/d")).await.refused(409, "PodmanAPIError");
    client.delete(&format!("{}&recursive=true", at("", "/srv/d"))).await.ok();
    // Looks leave nothing, and neither does what is not understood.
    client.names("/srv").await;
    client.file_info("/srv/x").await;
    client.read_file("/srv/x", &[]).await.text();
    client.get(&at("/archive", "/srv")).await;
    client.write_file("/srv/../x", &[], "x").await.blames(&["path"]);

    let entries = ledger.audited(seen).await;
    let brief: Vec<_> = entries.iter().map(Audited::brief).collect();
    let operator = story.tenant.login("operator");
    let told = |verb, outcome| [operator.as_str(), verb, "c", outcome];
    assert_eq!(
        brief,
        [
            told("createContainerDirectory", "success"),
            told("putContainerFileContent", "success"),
            told("addContainerFile", "success"),
            told("putContainerArchive", "success"),
            told("putContainerArchive", "ValidationError"),
            told("moveContainerFile", "success"),
            told("removeContainerFile", "PodmanAPIError"),
            told("removeContainerFile", "success"),
        ]
    );
    let rows = format!("{:?}", ledger.audit_rows().await);
    for path in ["directory /srv/d", "file /srv/d/x", "file /srv/d/y", "archive into /srv/d", "/srv/d/x to /srv/x"] {
        assert!(rows.contains(path), "{path} is not in {rows}");
    }
    assert!(!rows.contains("hidden-in"), "{rows}");
}

#[tokio::test]
async fn who_may_not_changes_nothing() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    client.write_file("/tmp/x", &[], "old").await.ok();
    story.site.account(&story.tenant.login("viewer"), "viewer");
    let viewer = story.gateway.client(&story.site.token(&story.tenant.login("viewer")));
    let (_, theirs) = story.another();
    let archive = tar(&[(b'0', "x", "", b"new")]);
    for (stranger, status, kind) in [(&viewer, 403, "PermissionError"), (&theirs, 404, "PodmanAPIError")] {
        for looked in ["", "/info", "/content", "/archive"] {
            stranger.get(&at(looked, "/tmp/x")).await.refused(status, kind);
        }
        stranger.write_file("/tmp/x", &[], "new").await.refused(status, kind);
        stranger.put(&at("/archive", "/tmp"), TAR, archive.clone()).await.refused(status, kind);
        stranger.delete(&at("", "/tmp/x")).await.refused(status, kind);
        for (operation, body) in [
            ("", json!({"dest_path": "/tmp/x", "content": "new"})),
            ("/directories", json!({"path": "/tmp/d"})),
            ("/move", json!({"source": "/tmp/x", "destination": "/tmp/y"})),
        ] {
            stranger.post(&format!("/containers/c/files{operation}"), body).await.refused(status, kind);
        }
    }
    assert_eq!(client.names("/tmp").await, ["x"]);
    assert_eq!(client.read_file("/tmp/x", &[]).await.text(), "old");
}
