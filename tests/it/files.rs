//! Files put into a container.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Client, Site, Story};

async fn put(client: &Client, body: Value) -> crate::support::Answer {
    client.post("/containers/c/files", body).await
}

#[tokio::test]
async fn a_file_comes_back_as_it_was() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;

    let text = "line 1\r\nline 2\n\n'\"$(id)`id`\\ \u{1f980}\nend";
    let written = put(client, json!({"dest_path": "/tmp/a file.txt", "content": text})).await.ok();
    assert_eq!(written["file"], json!({"dest_path": "/tmp/a file.txt", "size": text.len()}));
    assert_eq!(client.exec("c", json!(["cat", "/tmp/a file.txt"])).await, text);
    assert_eq!(
        client.exec("c", json!(["stat", "-c", "%u:%g %a %F", "/tmp/a file.txt"])).await,
        "0:0 644 regular file\n"
    );

    // Every byte, larger than a pipe, and the empty file.
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let body = json!({"dest_path": "/tmp/binary", "content": STANDARD.encode(&bytes), "encoding": "base64"});
    assert_eq!(put(client, body).await.ok()["file"]["size"], bytes.len());
    let back = client.exec("c", json!("base64 /tmp/binary | tr -d '\\n'")).await;
    assert!(STANDARD.decode(back).unwrap() == bytes);
    assert_eq!(put(client, json!({"dest_path": "/tmp/empty", "content": ""})).await.ok()["file"]["size"], 0);
    assert_eq!(client.exec("c", json!("stat -c %s /tmp/empty")).await, "0\n");

    // A file may replace a file, and is replaced whole.
    put(client, json!({"dest_path": "/tmp/binary", "content": "short", "encoding": "utf8"})).await.ok();
    assert_eq!(client.exec("c", json!("cat /tmp/binary")).await, "short");
    // At the root, and through a link.
    put(client, json!({"dest_path": "/top", "content": "x"})).await.ok();
    assert_eq!(client.exec("c", json!("cat /top; ln -s /tmp /link")).await, "x");
    put(client, json!({"dest_path": "/link/through", "content": "y"})).await.ok();
    assert_eq!(client.exec("c", json!("cat /tmp/through")).await, "y");
}

#[tokio::test]
async fn a_file_needs_a_directory_and_is_none() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let before = client.exec("c", json!("ls -a / /tmp /etc | grep -v resolv")).await;

    put(client, json!({"dest_path": "/no/such/dir/file", "content": "x"})).await.refused(404, "PodmanAPIError");
    put(client, json!({"dest_path": "/etc/passwd/file", "content": "x"})).await.refused(404, "PodmanAPIError");
    for directory in ["/etc", "/tmp", "/usr/bin"] {
        put(client, json!({"dest_path": directory, "content": "x"})).await.refused(409, "PodmanAPIError");
    }
    let bad = [
        "",
        "/",
        ".",
        "..",
        "relative",
        "./x",
        "/tmp/",
        "/tmp/.",
        "/tmp/..",
        "/tmp/../etc/x",
        "//tmp/x",
        "/tmp//x",
        "/tmp/a\nb",
        "/tmp/\u{0}",
    ];
    for path in bad {
        put(client, json!({"dest_path": path, "content": "x"})).await.blames(&["dest_path"]);
    }
    put(client, json!({"dest_path": format!("/tmp/{}", "x".repeat(256)), "content": "x"})).await.blames(&["dest_path"]);
    for content in ["?", "YQ", "YQ==\n", "-_"] {
        let body = json!({"dest_path": "/tmp/x", "content": content, "encoding": "base64"});
        put(client, body).await.blames(&["content"]);
    }
    put(client, json!({"dest_path": "/tmp/x", "content": "x", "encoding": "latin1"})).await.blames(&["encoding"]);
    assert_eq!(client.exec("c", json!("ls -a / /tmp /etc | grep -v resolv")).await, before);
}

#[tokio::test]
async fn a_file_may_be_put_into_a_stopped_container() {
    let Story { client, .. } = &Story::begin().await;
    client.create(json!({"image": "alpine", "name": "c", "command": "cat /tmp/x", "start": false})).await;
    put(client, json!({"dest_path": "/tmp/x", "content": "put before it ran\n"})).await.ok();
    client.post("/containers/c/start", json!(null)).await.ok();
    assert_eq!(client.said("c").await, "put before it ran\n");
}

#[tokio::test]
async fn files_have_a_larger_bound_than_other_bodies() {
    let site = Site::new().set("http.max_body_bytes", 1024).set("http.max_file_body_bytes", 10_000);
    let Story { client, .. } = &Story::at(site).await;
    client.create_sleeping("c").await;
    put(client, json!({"dest_path": "/tmp/x", "content": "x".repeat(5000)})).await.ok();
    let refused = put(client, json!({"dest_path": "/tmp/y", "content": "x".repeat(10_000)})).await;
    refused.refused(413, "ValidationError");
    client.post("/containers/c/exec", json!({"command": "x".repeat(2000)})).await.refused(413, "ValidationError");
    assert_eq!(client.exec("c", json!("ls /tmp")).await, "x\n");
}
