//! The fourteen steps of the demo that Podgate grew out of, on every kind of image.

use serde_json::json;

use crate::support::client::keys;
use crate::support::{ALPINE, BUSYBOX, Client, DEBIAN, Site, Story};

#[tokio::test]
async fn the_seeds_workflow_on_alpine() {
    the_seeds_workflow(ALPINE).await;
}

#[tokio::test]
async fn the_seeds_workflow_on_debian() {
    the_seeds_workflow(DEBIAN).await;
}

/// A shell, but neither useradd nor adduser nor chpasswd.
#[tokio::test]
async fn the_seeds_workflow_on_an_image_without_account_tools() {
    the_seeds_workflow(BUSYBOX).await;
}

async fn the_seeds_workflow(image: &str) {
    let site = Site::new();
    let tenant = site.tenant_with(&[&format!("--image={image}"), &format!("--alias=alpine={image}")]);
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));

    // 1. The gateway is healthy.
    let health = client.anonymous().get("/health").await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(keys(&health), ["podman", "status", "timestamp"].into());
    assert_eq!((&health["status"], &health["podman"]), (&json!("healthy"), &json!("connected")));

    // 2. Create a container.
    let body = json!({"image": "alpine:latest", "name": "test-container", "command": "sleep 300"});
    let created = client.post("/containers", body).await.ok();
    let id = created["container"]["id"].as_str().unwrap();
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let container = json!({"id": id, "name": "test-container", "status": "running"});
    assert_eq!(created, json!({"success": true, "container": container}));

    // 3. It is listed.
    let list = client.get("/containers").await.ok();
    let listed = &list["containers"][0];
    assert_eq!(list["containers"].as_array().unwrap().len(), 1);
    assert_eq!(keys(listed), ["created", "id", "image", "name", "status"].into());
    assert_eq!((listed["id"].as_str(), listed["image"].as_str()), (Some(id), Some(image)));
    assert_eq!((&listed["name"], &listed["status"]), (&json!("test-container"), &json!("running")));

    // 4. Add a user.
    let user = json!({"username": "testuser", "password": "testpass", "shell": "/bin/sh"});
    let added = client.post("/containers/test-container/users", user).await.ok();
    assert_eq!(added, json!({"success": true, "user": {"username": "testuser", "created": true}}));

    // 5. It is there.
    let found = exec(&client, json!({"command": "grep testuser /etc/passwd"})).await;
    assert!(found.starts_with("testuser:") && found.ends_with(":/home/testuser:/bin/sh\n"), "{found}");

    // 6. Add a file.
    let content = "Hello from the API\nThis is line 2\n\n\t\"quoted\" $HOME `id` ünïcödé\nno newline at the end";
    let file = json!({"dest_path": "/tmp/test-file.txt", "content": content});
    let added = client.post("/containers/test-container/files", file).await.ok();
    assert_eq!(added, json!({"success": true, "file": {"dest_path": "/tmp/test-file.txt", "size": content.len()}}));

    // 7. Read it back.
    assert_eq!(exec(&client, json!({"command": "cat /tmp/test-file.txt"})).await, content);

    // 8. Run a command as the user.
    assert_eq!(exec(&client, json!({"command": "whoami", "user": "testuser"})).await, "testuser\n");

    // 9. Read the log.
    let logs = client.get("/containers/test-container/logs?tail=10").await.ok();
    assert_eq!(logs, json!({"success": true, "container": {"logs": ""}}));

    // 10. Stop it.
    let stopped = client.post("/containers/test-container/stop", json!(null)).await.ok();
    assert_eq!(stopped, json!({"success": true, "container": {"name": "test-container", "status": "stopped"}}));

    // 11. It has stopped.
    assert_eq!(client.listed().await, [("test-container".into(), "exited".into())]);
    let read = client.get("/containers/test-container").await.ok();
    assert_eq!(read["container"]["status"], "exited");

    // 12. Remove it.
    let removed = client.delete("/containers/test-container?force=true").await.ok();
    assert_eq!(removed, json!({"success": true, "container": {"name": "test-container", "removed": true}}));

    // 13. It is gone.
    assert_eq!(client.listed().await, []);
    client.get("/containers/test-container").await.refused(404, "PodmanAPIError");

    // 14. Read the metrics.
    let metrics = client.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let metrics = metrics.json();
    let fields = ["active_threads", "max_workers", "timestamp", "uptime_human", "uptime_seconds"];
    assert_eq!(keys(&metrics), fields.into());
    assert_eq!(metrics["max_workers"], 10);
    assert!(metrics["uptime_seconds"].is_u64() && metrics["active_threads"].is_u64(), "{metrics}");
}

async fn exec(client: &Client, body: serde_json::Value) -> String {
    let done = client.post("/containers/test-container/exec", body).await.ok();
    let execution = &done["execution"];
    assert_eq!((&execution["exit_code"], &execution["success"]), (&json!(0), &json!(true)), "{done}");
    execution["output"].as_str().unwrap().to_owned()
}

/// What of it applies where there is no shell and no account file.
#[tokio::test]
async fn the_workflow_on_an_image_with_one_static_binary() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create(json!({"image": "static", "name": "tiny"})).await;
    assert_eq!(client.listed().await, [("tiny".into(), "running".into())]);

    let user = json!({"username": "testuser", "password": "testpass", "shell": "/bin/sh"});
    client.post("/containers/tiny/users", user).await.ok();
    let accounts = client.exec("tiny", json!("/app cat /etc/passwd")).await;
    let testuser = accounts.lines().find(|line| line.starts_with("testuser:"));
    assert_eq!(testuser, Some("testuser:x:1000:1000::/home/testuser:/bin/sh"), "{accounts}");
    assert!(client.exec("tiny", json!("/app cat /etc/group")).await.contains("testuser:x:1000:"));
    assert!(client.exec("tiny", json!("/app cat /etc/shadow")).await.contains("testuser:$6$"));
    let as_user = json!({"command": ["/app", "echo", "it is me"], "user": "testuser"});
    assert_eq!(client.post("/containers/tiny/exec", as_user).await.ok()["execution"]["output"], "it is me\n");

    let file = json!({"dest_path": "/note.txt", "content": "one\ntwo\n"});
    client.post("/containers/tiny/files", file).await.ok();
    assert_eq!(client.exec("tiny", json!("/app cat /note.txt")).await, "one\ntwo\n");

    // Words are split where there is no shell; what needs one is refused.
    assert_eq!(client.exec("tiny", json!(" /app  echo a\tb ")).await, "a b\n");
    for needs_a_shell in ["/app echo a; /app echo b", "/app echo $HOME", "/app echo 'a b'", "X=1 /app"] {
        let refused = client.post("/containers/tiny/exec", json!({"command": needs_a_shell})).await;
        refused.refused(400, "ValidationError");
    }
    let failed = client.post("/containers/tiny/exec", json!({"command": "/app exit 3"})).await.ok();
    assert_eq!((&failed["execution"]["exit_code"], &failed["execution"]["success"]), (&json!(3), &json!(false)));

    client.post("/containers/tiny/stop", json!(null)).await.ok();
    assert_eq!(client.listed().await, [("tiny".into(), "exited".into())]);
    client.delete("/containers/tiny?force=true").await.ok();

    client.create(json!({"image": "static", "name": "speaker", "command": "/app echo hello world"})).await;
    assert_eq!(client.said("speaker").await, "hello world\n");
}
