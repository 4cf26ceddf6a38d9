//! What an image's own configuration may not bring about.

use serde_json::json;

use crate::hostile::image;
use crate::support::gateway::unique;
use crate::support::{Site, Story};

/// A check that Podman ran by itself would be no command of anybody's, with no quota, deadline or entry.
#[tokio::test]
async fn an_image_has_nothing_run_but_its_command() {
    let name = format!("localhost/{}:checked", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    let check = json!({"Test": ["CMD", "/app", "check"], "Interval": 1_000_000_000, "Timeout": 1_000_000_000});
    let config = json!({"Cmd": ["/app", "sleep"], "Healthcheck": check});
    story.podman.load(image(&name, "/nowhere", &config)).await;
    let id = story.client.create(json!({"image": name, "name": "c"})).await;
    let inspected = story.podman.inspect(&id).await;
    let check = &inspected["Config"]["Healthcheck"];
    assert!(check.is_null() || check["Test"] == json!(["NONE"]), "{check}");
    story.client.delete("/containers/c?force=true").await.ok();
    story.podman.remove_image(&name).await;
}

#[tokio::test]
async fn a_stop_signal_that_is_none_is_the_images_fault() {
    let name = format!("localhost/{}:odd", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    story.podman.load(image(&name, "/nowhere", &json!({"Cmd": ["/app", "sleep"], "StopSignal": "99"}))).await;
    let refused = story.client.post("/containers", json!({"image": name, "name": "c"})).await;
    let error = refused.refused(400, "ValidationError");
    assert!(error.to_string().contains("STOPSIGNAL"), "{error}");
    story.podman.remove_image(&name).await;
}

/// For what it takes for init, Podman mounts the control groups, writable.
#[tokio::test]
async fn a_command_called_init_is_a_command() {
    let story = Story::begin().await;
    for (name, command) in [("init", "/sbin/init"), ("systemd", "/usr/lib/systemd/systemd")] {
        let made = story.client.create_with(name, json!({"command": [command], "start": false})).await;
        let inspected = story.podman.inspect(made["id"].as_str().unwrap()).await;
        assert_eq!(inspected["Config"]["Cmd"], json!([command]));
        assert!(inspected["Config"]["SystemdMode"] != true, "{}", inspected["Config"]);
    }
}
