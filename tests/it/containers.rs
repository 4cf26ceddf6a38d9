//! Making, running, looking at and removing containers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::ports_of_its_own;
use crate::support::{Site, Story, eventually};

#[tokio::test]
async fn a_container_is_made_as_it_was_asked_for() {
    let story = Story::begin().await;
    let client = &story.client;
    let id = client
        .create(json!({
            "image": "alpine", "name": "all", "command": ["sh", "-c", "echo \"$GREETING\" in $(pwd) as $(id -u):$(id -g)"],
            "environment": {"GREETING": "hello * there"}, "workdir": "/tmp", "user": "1000:1001",
            "labels": {"course": "intro"},
        }))
        .await;
    assert_eq!(client.said("all").await, "hello * there in /tmp as 1000:1001\n");
    eventually("its end", || async { (client.status("all").await == "exited").then_some(()) }).await;
    let read = client.get("/containers/all").await.ok()["container"].clone();
    assert_eq!((&read["exit_code"], &read["name"], &read["ports"]), (&json!(0), &json!("all"), &json!({})));
    assert!(read["started_at"].is_string() && read["finished_at"].is_string() && read["created"].is_string(), "{read}");

    let (full_id, engine_name) = story.podman.containers(&story.tenant.slug).await.remove(0);
    assert!(full_id.starts_with(&id));
    assert_eq!(engine_name, format!("{}.all", story.tenant.slug));
    let inspected = story.podman.inspect(&full_id).await;
    let labels = &inspected["Config"]["Labels"];
    assert_eq!((&labels["course"], &labels["io.podgate.tenant"]), (&json!(null), &json!(story.tenant.slug)));
    assert_eq!(read["labels"], json!({"course": "intro"}));
    assert_eq!(inspected["Config"]["Hostname"], "all");
}

#[tokio::test]
async fn a_command_is_words_or_a_line_for_the_shell() {
    let story = Story::begin().await;
    let cases = [
        ("words", json!({"command": ["echo", "$HOME", "a  b"]}), "$HOME a  b\n"),
        ("plain", json!({"command": "echo  one two"}), "one two\n"),
        ("shell", json!({"command": "echo $((1+1)); echo 'a  b'"}), "2\na  b\n"),
        ("entrypoint", json!({"entrypoint": ["/bin/echo", "one"], "command": ["two three"]}), "one two three\n"),
    ];
    for (name, mut body, output) in cases {
        body["image"] = json!("alpine");
        body["name"] = json!(name);
        story.client.create(body).await;
        assert_eq!(story.client.said(name).await, output, "{name}");
    }
}

#[tokio::test]
async fn a_container_need_not_start_at_once() {
    let Story { client, .. } = &Story::begin().await;
    let body = json!({"image": "alpine", "name": "later", "command": "sleep 300", "start": false});
    assert_eq!(client.post("/containers", body).await.ok()["container"]["status"], "created");
    assert_eq!(client.status("later").await, "created");
    client.post("/containers/later/exec", json!({"command": "true"})).await.refused(409, "PodmanAPIError");
    let started = client.post("/containers/later/start", json!(null)).await.ok();
    assert_eq!(started, json!({"success": true, "container": {"name": "later", "status": "started"}}));
    assert_eq!(client.status("later").await, "running");
}

#[tokio::test]
async fn ports_are_published_on_loopback_and_once() {
    let story = Story::begin().await;
    let client = &story.client;
    let port = ports_of_its_own();
    let serving = "echo it works > /tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    let body = |name: &str, port: u16| json!({"image": "alpine", "name": name, "command": serving, "ports": {port.to_string(): "8080"}});
    let id = client.create(body("web", port)).await;
    assert_eq!(client.get("/containers/web").await.ok()["container"]["ports"], json!({port.to_string(): "8080"}));
    let inspected = story.podman.inspect(&id).await;
    let bindings = &inspected["HostConfig"]["PortBindings"]["8080/tcp"];
    assert_eq!(bindings, &json!([{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]));
    eventually("the published port", || async { (story.podman.fetch(port).await == "it works\n").then_some(()) }).await;

    // Another container's and another tenant's.
    client.post("/containers", body("web2", port)).await.refused(409, "PodmanAPIError");
    let (neighbour, theirs) = story.another();
    theirs.post("/containers", body("web", port)).await.refused(409, "PodmanAPIError");
    // One that a container of nobody's has: Podman's own word.
    let other = port + 1;
    let _outsider = story.podman.occupy(other).await;
    client.post("/containers", body("web3", other)).await.refused(409, "PodmanAPIError");
    assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
    assert_eq!(story.podman.containers(&neighbour.slug).await, []);

    // A removed container's port is free again.
    client.delete("/containers/web?force=true").await.ok();
    client.create(body("web", port)).await;
}

#[tokio::test]
async fn what_cannot_be_made_leaves_nothing() {
    let site = Site::new();
    let tenant = site.tenant_with(&["--image=docker.io/library/alpine:latest", "--image=docker.io/library/absent:1"]);
    let gateway = site.start().await;
    let client = &gateway.client(&site.token(&tenant.login("operator")));
    let podman = crate::support::Podman::of_the_tests();
    let cases = [
        (json!({"image": "docker.io/library/absent:1"}), 404, "PodmanAPIError"),
        (json!({"image": "docker.io/library/debian:latest"}), 403, "PermissionError"),
        (json!({"image": "debian"}), 403, "PermissionError"),
        (json!({"image": "nobody-knows"}), 403, "PermissionError"),
        (json!({"image": "docker-archive:/etc/passwd"}), 400, "ValidationError"),
        (json!({"image": ""}), 400, "ValidationError"),
        (json!({"user": "nobodyhere"}), 400, "ValidationError"),
        (json!({"user": "root:nogrouphere"}), 400, "ValidationError"),
        (json!({"user": "a b"}), 400, "ValidationError"),
        (json!({"workdir": "/no/such/directory"}), 400, "ValidationError"),
        (json!({"workdir": "relative"}), 400, "ValidationError"),
        (json!({"command": ["/no/such/program"]}), 400, "ValidationError"),
        (json!({"command": "nosuchprogram 1"}), 400, "ValidationError"),
        (json!({"command": ["/etc/passwd"]}), 400, "ValidationError"),
        (json!({"command": "  "}), 400, "ValidationError"),
        (json!({"command": []}), 400, "ValidationError"),
        (json!({"entrypoint": ["/no/such/program"]}), 400, "ValidationError"),
        (json!({"name": "../up"}), 400, "ValidationError"),
        (json!({"name": "-x"}), 400, "ValidationError"),
        (json!({"name": "x".repeat(64)}), 400, "ValidationError"),
        (json!({"environment": {"A=B": "x"}}), 400, "ValidationError"),
        (json!({"environment": {"*": "x"}}), 400, "ValidationError"),
        (json!({"environment": {"A": "x\u{0}y"}}), 400, "ValidationError"),
        (json!({"ports": {"80": "80"}}), 400, "ValidationError"),
        (json!({"ports": {"70000": "80"}}), 400, "ValidationError"),
        (json!({"ports": {"8080": "x"}}), 400, "ValidationError"),
        (json!({"volumes": {"/etc": "/mnt"}}), 403, "PermissionError"),
        (json!({"labels": {"io.podgate.tenant": "other"}}), 400, "ValidationError"),
        (json!({"labels": {"IO.Podman.x": "y"}}), 400, "ValidationError"),
    ];
    for (change, status, kind) in cases {
        let mut body = json!({"image": "alpine", "name": "doomed", "command": "sleep 300"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = client.post("/containers", body).await;
        assert_eq!(answer.status, status, "{change}: {}", answer.text());
        answer.refused(status, kind);
        assert_eq!(client.listed().await, [], "{change} left a row");
        assert_eq!(podman.containers(&tenant.slug).await, [], "{change} left a container");
    }
    client.create_sleeping("doomed").await;
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("web").await;
    let again = json!({"image": "alpine", "name": "web", "command": "sleep 300"});
    client.post("/containers", again.clone()).await.refused(409, "PodmanAPIError");
    assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    client.delete("/containers/web?force=1").await.ok();
    client.post("/containers", again).await.ok();
}

#[tokio::test]
async fn start_and_stop_may_be_repeated() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    for _ in 0..2 {
        let started = client.post("/containers/c/start", json!(null)).await.ok();
        assert_eq!(started["container"], json!({"name": "c", "status": "started"}));
    }
    for _ in 0..2 {
        let stopped = client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
        assert_eq!(stopped["container"], json!({"name": "c", "status": "stopped"}));
    }
    client.post("/containers/c/start", json!(null)).await.ok();
    assert_eq!(client.status("c").await, "running");
    client.post("/containers/c/stop?timeout=301", json!(null)).await.blames(&["timeout"]);
    client.post("/containers/c/stop?timeout=-1", json!(null)).await.blames(&["timeout"]);
}

#[tokio::test]
async fn removing_a_running_container_takes_force() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    for gentle in ["", "?force=false", "?force=FALSE", "?force=0"] {
        client.delete(&format!("/containers/c{gentle}")).await.refused(409, "PodmanAPIError");
    }
    for junk in ["yes", "2", "", "tru", "true%20"] {
        client.delete(&format!("/containers/c?force={junk}")).await.blames(&["force"]);
    }
    assert_eq!(client.status("c").await, "running");

    // Although `sleep` as process 1 ignores SIGTERM.
    let begun = Instant::now();
    client.delete("/containers/c?force=TRUE").await.ok();
    // Podman would wait ten seconds for it.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    client.delete("/containers/c?force=true").await.refused(404, "PodmanAPIError");

    client.create(json!({"image": "alpine", "name": "done", "command": "true"})).await;
    eventually("its end", || async { (client.status("done").await == "exited").then_some(()) }).await;
    client.delete("/containers/done").await.ok();
    assert_eq!(client.listed().await, []);
}

/// A caller may give a container longer to end than an operation usually takes.
#[tokio::test]
async fn a_stop_waits_as_long_as_it_was_told() {
    let Story { client, gateway, mut site, .. } = Story::begin().await;
    client.create_sleeping("c").await;
    drop(gateway);
    site.put("engine.request_timeout_seconds", 2);
    let gateway = site.start().await;
    let client = gateway.client(&client.token.unwrap());
    let begun = Instant::now();
    client.post("/containers/c/stop?timeout=3", json!(null)).await.ok();
    assert!(begun.elapsed() >= Duration::from_secs(3), "`sleep` as process 1 ignores SIGTERM");
    eventually("its end", || async { (client.status("c").await == "exited").then_some(()) }).await;
}

#[tokio::test]
async fn names_may_be_long_and_odd() {
    let Story { client, .. } = &Story::begin().await;
    let longest = "x".repeat(63);
    for name in ["A_b.c-d", "0", "start", "a..b", &longest] {
        client.create_sleeping(name).await;
        assert_eq!(client.exec(name, json!("hostname")).await, format!("{name}\n"));
        client.delete(&format!("/containers/{name}?force=true")).await.ok();
    }
}
