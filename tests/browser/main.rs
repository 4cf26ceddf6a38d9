//! The documentation page in a real browser (`make test-browser`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, dead_code, unused_imports)]

#[path = "../support/mod.rs"]
mod support;

use serde_json::json;

use support::gateway::PASSWORD;
use support::{Site, Story};

/// Where `scripts/browser` put what Node needs.
const NODE_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/browser");

#[tokio::test]
async fn a_person_signs_in_and_runs_a_command() {
    let story = Story::at(Site::new()).await;
    let key = json!({"name": "page", "scopes": ["containers:read"]});
    let key = story.client.post("/api-keys", key).await.ok()["api_key"].clone();
    let url = format!("http://{}", story.client.address);
    let screenshot = format!("{NODE_DIR}/docs.png");
    let (id, secret) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    let done = tokio::process::Command::new("node")
        .args(["page.mjs", &url, &story.tenant.login("operator"), PASSWORD, id, secret, &screenshot])
        .current_dir(NODE_DIR)
        .output()
        .await
        .expect("node");
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{complained}");
    assert_eq!(story.client.listed().await.len(), 1);
}
