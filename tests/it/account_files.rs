//! The files by which Podman knows who is who in a container: it reads them whole, however large they are.

use serde_json::{Value, json};

use crate::support::gateway::unique;
use crate::support::{ALPINE, Answer, Client, Site, Story};

/// More than Podman is let read, and little enough to do no harm where it is.
const MUCH: &str = "8M";

#[track_caller]
fn refuses(answer: Answer, path: &str) -> String {
    let said = answer.refused(409, "PodmanAPIError").to_string();
    assert!(said.contains(path), "{said}");
    said
}

async fn command(client: &Client, command: &str) -> Answer {
    client.post("/containers/c/exec", json!({"command": command})).await
}

/// By the files of a container, which need nothing of it.
async fn put(client: &Client, path: &str, content: &str) {
    client.post("/containers/c/files", json!({"dest_path": path, "content": content})).await.ok();
}

async fn verb(client: &Client, verb: &str) -> Answer {
    client.post(&format!("/containers/c/{verb}"), Value::Null).await
}

#[tokio::test]
async fn what_podman_would_read_whole_has_a_size() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let whole = |path| client.exec("c", json!(format!("cat {path}")));
    for path in ["/etc/group", "/etc/passwd"] {
        let good = whole(path).await;
        client.exec("c", json!(format!("truncate -s {MUCH} {path}"))).await;
        refuses(command(client, "true").await, path);
        refuses(client.post_events("/containers/c/exec/stream", json!({"command": "true"})).await.err().unwrap(), path);
        refuses(client.upgrade("/containers/c/terminal", &[]).await.err().unwrap(), path);
        let added = client.post("/containers/c/users", json!({"username": "somebody"})).await;
        assert!(matches!(added.status, 400 | 409), "{}", added.text());
        // What repairs it still works.
        put(client, path, &good).await;
        assert_eq!(whole(path).await, good);

        // Its processes may do it at the last moment.
        client.exec("c", json!(format!("truncate -s {MUCH} {path}"))).await;
        refuses(client.post("/containers/c/restart?timeout=0", Value::Null).await, path);
        refuses(verb(client, "start").await, path);
        assert_eq!(client.listed().await, [("c".into(), "exited".into())]);
        assert_eq!(client.used().await["running"], 0);
        put(client, path, &good).await;
        verb(client, "start").await.ok();
        assert_eq!(whole(path).await, good);
    }
    client.exec("c", json!(format!("truncate -s {MUCH} /etc/group"))).await;
    client.delete("/containers/c?force=true").await.ok();
}

/// Podman follows their links on its own disk, where nothing is mounted over what lies there; so we look there.
#[tokio::test]
async fn links_to_accounts_hide_nothing() {
    let story = Story::begin().await;
    let client = &story.client;
    client.post("/volumes", json!({"name": "v"})).await.ok();
    let made = client.create_with("c", json!({"volumes": {"v": "/data/v"}})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    // Below what is mounted next time lie a long file and a link to one.
    let below = "mv /data /old; mkdir -p /data/v; ln -s /long /data/v/x";
    let long = format!("truncate -s {MUCH} /long /data/v/group");
    client.exec("c", json!(format!("cp /etc/group /etc/passwd /old/v; {below}; {long}"))).await;
    client.post("/containers/c/restart?timeout=0", Value::Null).await.ok();
    client.exec("c", json!("mkdir /real; mv /etc/group /etc/passwd /real; ln -s /real/* /etc")).await;
    // As images have it that are made of links.
    assert_eq!(client.exec("c", json!("id -un")).await, "root\n");
    client.post("/containers/c/restart?timeout=0", Value::Null).await.ok();
    client.exec("c", json!(format!("truncate -s {MUCH} /real/group"))).await;
    refuses(command(client, "true").await, "/etc/group");
    put(client, "/real/group", "root:x:0:\n").await;

    let glob = format!("mkdir '/[x]'; truncate -s {MUCH} '/[x]/group'; ln -sf '/[x]/group' /etc/group");
    let hidden = [
        "ln -sf /data/v/group /etc/group",
        "ln -s /data/v/group /link; ln -sf ../link /etc/group",
        "ln -s /real/group /data/v/x; ln -sf /data/v/x /etc/group",
        "ln -sf /link2 /etc/group; ln -s link2 /link2",
        &glob,
    ];
    for change in hidden {
        command(client, change).await.ok();
        refuses(command(client, "true").await, "/etc/group");
        client.post("/containers/c/stop?timeout=0", Value::Null).await.ok();
        refuses(verb(client, "start").await, "/etc/group");
        // In the link's place.
        story.podman.put(&id, "/etc", "group", b"root:x:0:\n").await;
        verb(client, "start").await.ok();
        assert_eq!(client.exec("c", json!("id -un")).await, "root\n");
    }
    client.delete("/containers/c?force=true").await.ok();
}

/// What was in somebody's hands is looked at before it starts, and an image before the first of it does.
#[tokio::test]
async fn what_an_image_brings_has_a_size_too() {
    let name = format!("localhost/{}:accounts", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}"), &format!("--image={ALPINE}")]).await;
    let client = &story.client;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2 << 20);
    header.set_mode(0o644);
    archive.append_data(&mut header, "etc/group", &*vec![b'x'; 2 << 20]).unwrap();
    story.podman.import(&name, archive.into_inner().unwrap()).await;
    let body = json!({"image": name, "name": "c", "command": ["/app"]});
    refuses(client.post("/containers", body).await, "/etc/group");
    assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
    story.podman.remove_image(&name).await;

    // A device is opened by whoever reads it, as root of the host.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Char);
    header.set_device_major(1).unwrap();
    header.set_device_minor(5).unwrap();
    header.set_size(0);
    header.set_mode(0o644);
    archive.append_data(&mut header, "etc/passwd", std::io::empty()).unwrap();
    story.podman.import(&name, archive.into_inner().unwrap()).await;
    let said = refuses(
        client.post("/containers", json!({"image": name, "name": "c", "command": ["/app"]})).await,
        "/etc/passwd",
    );
    assert!(said.contains("device"), "{said}");
    story.podman.remove_image(&name).await;

    for number in 0..2 {
        client.create_sleeping(&format!("c{number}")).await;
    }
    client.create_with("c", json!({"start": false})).await;
    put(client, "/etc/group", &"x".repeat(2 << 20)).await;
    refuses(verb(client, "start").await, "/etc/group");
    put(client, "/etc/group", "root:x:0:\n").await;
    verb(client, "start").await.ok();
}
