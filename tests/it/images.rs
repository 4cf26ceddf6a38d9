//! Images: what a tenant may use, and getting them from a real registry.

use serde_json::{Value, json};

use crate::support::client::sleeping;
use crate::support::registry::Registry;
use crate::support::{Answer, Client, Podman, Site, Story};

pub const ALPINE: &str = "docker.io/library/alpine:latest";

/// The events of a pull: their names, and the data of the last.
fn events(answer: &Answer) -> (Vec<String>, Value) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
    let text = answer.text();
    let names = text.lines().filter_map(|line| line.strip_prefix("event: ").or(line.strip_prefix("event:")));
    let mut data = text.lines().filter_map(|line| line.strip_prefix("data: ").or(line.strip_prefix("data:")));
    (names.map(|name| name.trim().to_owned()).collect(), serde_json::from_str(data.next_back().unwrap()).unwrap())
}

async fn pull(client: &Client, image: &str) -> (Vec<String>, Value) {
    events(&client.post("/images/pull", json!({"image": image})).await)
}

async fn present(client: &Client) -> Vec<(String, bool)> {
    let images = client.get("/images").await.ok()["images"].clone();
    let item = |one: &Value| (one["reference"].as_str().unwrap().to_owned(), one["present"].as_bool().unwrap());
    images.as_array().unwrap().iter().map(item).collect()
}

/// Takes an image away that a story pulls, when it begins and when it is over.
async fn forget(podman: &Podman, reference: &str) {
    podman.call("DELETE", &format!("/images/{}?force=true", reference.replace('/', "%2F").replace(':', "%3A"))).await;
}

#[tokio::test]
async fn an_image_is_pulled_and_used() {
    let registry = Registry::start(5101).await;
    let podman = Podman::of_the_tests();
    registry.push(&podman, ALPINE, "acme/web:1").await;
    let site = Site::new();
    let pattern = format!("--image={}", registry.reference("acme/*"));
    let story = Story::with(site, &[&pattern, "--alias", &format!("web={}", registry.reference("acme/web:1"))]).await;
    let client = &story.client;
    let reference = registry.reference("acme/web:1");
    forget(&podman, &reference).await;
    assert_eq!(present(client).await, []);

    let (names, last) = pull(client, "web").await;
    assert_eq!((last["status"].as_str(), last["reference"].as_str()), (Some("done"), Some(reference.as_str())));
    assert!(names.len() > 1 && names.last().is_some_and(|name| name == "done"), "{names:?}");
    assert_eq!(present(client).await, [(reference.clone(), true)]);
    client.create(json!({"image": "web", "name": "c", "command": "sleep 300", "pull": "never"})).await;
    assert_eq!(client.exec("c", json!("echo hi")).await, "hi\n");

    // Its name, its registry and the way there fail alike.
    let mut failures = Vec::new();
    for image in ["acme/absent:1", "acme/web:absent"] {
        let (_, last) = pull(client, &registry.reference(image)).await;
        failures.push((last["status"].clone(), last["message"].clone()));
    }
    client.delete("/containers/c?force=true").await.ok();
    drop(registry);
    let (_, last) = pull(client, "web").await;
    failures.push((last["status"].clone(), last["message"].clone()));
    failures.dedup();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].0, "failed");
    forget(&podman, &reference).await;
}

#[tokio::test]
async fn a_create_gets_its_image_as_the_policy_says() {
    let registry = Registry::start(5102).await;
    let podman = Podman::of_the_tests();
    registry.push(&podman, ALPINE, "acme/db:1").await;
    let reference = registry.reference("acme/db:1");
    forget(&podman, &reference).await;
    let story = Story::with(Site::new(), &[&format!("--image={reference}")]).await;
    let client = &story.client;
    let create = |name: &str, pull: Value| {
        let body = sleeping(name, json!({"image": reference, "pull": pull}));
        async { client.post("/containers", body).await }
    };
    create("a", json!("never")).await.refused(404, "PodmanAPIError");
    // To pull so is to ask whether it is there.
    let never = json!({"image": reference, "policy": "never"});
    client.post("/images/pull", never.clone()).await.refused(404, "PodmanAPIError");
    create("a", json!("sometimes")).await.blames(&["pull"]);
    assert_eq!(client.used().await["containers"], 0);
    create("a", Value::Null).await.ok();
    let image_of = async |name: &str| {
        let all = podman.containers(&story.tenant.slug).await;
        let (id, _) = all.iter().find(|(_, full)| full.ends_with(&format!(".{name}"))).unwrap();
        podman.inspect(id).await["Image"].clone()
    };
    assert_eq!(events(&client.post("/images/pull", never).await).1["status"], "done");
    let first = image_of("a").await;

    // The tag is moved: what is there stays until somebody pulls.
    registry.push(&podman, "docker.io/library/debian:latest", "acme/db:1").await;
    create("b", json!("missing")).await.ok();
    assert_eq!(image_of("b").await, first);
    create("c", json!("always")).await.ok();
    assert_ne!(image_of("c").await, first);
    drop(registry);
    create("d", json!("always")).await.refused(404, "PodmanAPIError");
    create("d", json!("missing")).await.ok();
    for name in ["a", "b", "c", "d"] {
        client.delete(&format!("/containers/{name}?force=true")).await.ok();
    }
    forget(&podman, &reference).await;
}

#[tokio::test]
async fn many_who_want_one_image_pull_it_once() {
    let registry = Registry::start(5103).await;
    let podman = Podman::of_the_tests();
    registry.push(&podman, "docker.io/library/debian:latest", "acme/big:1").await;
    let reference = registry.reference("acme/big:1");
    // Podman would not copy layers that it has.
    let story = Story::with(Site::new(), &[&format!("--image={reference}")]).await;
    let other = story.site.tenant_with(&[&format!("--image={reference}")]);
    let theirs = story.gateway.client(&story.site.token(&other.login("operator")));
    let clients = [&story.client, &theirs].into_iter().cycle().take(12);
    let pulls = clients.map(|client| pull(client, &reference));
    let ends = futures_util::future::join_all(pulls).await;
    assert!(ends.iter().all(|(_, last)| last["status"] == "done"), "{ends:?}");
    let asked = registry.end().await;
    let manifests = asked.lines().filter(|line| line.contains("GET /v2/acme/big/manifests/1 ")).count();
    assert!((1..=2).contains(&manifests), "{manifests} times: {asked}");
    forget(&podman, &reference).await;
}

#[tokio::test]
async fn only_what_is_allowed_is_pulled() {
    let story =
        Story::with(Site::new(), &["--image=127.0.0.1:5104/acme/*", "--image=docker.io/library/alpine:3*"]).await;
    let client = &story.client;
    for image in [
        "127.0.0.1:5104/other/web",
        "127.0.0.1:22/acme/web",
        "127.0.0.1:5104/acme/a/b",
        "alpine",
        "169.254.169.254/acme/x",
    ] {
        client.post("/images/pull", json!({"image": image})).await.refused(403, "PermissionError");
        client.post("/containers", json!({"image": image, "name": "c"})).await.refused(403, "PermissionError");
    }
    for (body, field) in [
        (json!({"image": "docker-archive:/etc/shadow"}), "image"),
        (json!({"image": "alpine", "policy": "maybe"}), "policy"),
        (json!({"image": "alpine", "policy": ""}), "policy"),
        (json!({}), "image"),
        (json!({"image": "alpine", "tls_verify": false}), "tls_verify"),
    ] {
        client.post("/images/pull", body).await.blames(&[field]);
    }
    story.site.account(&story.tenant.login("viewer"), "viewer");
    let viewer = story.gateway.client(&story.site.token(&story.tenant.login("viewer")));
    viewer.post("/images/pull", json!({"image": "alpine"})).await.refused(403, "PermissionError");
}

#[tokio::test]
async fn an_installation_that_does_not_pull_says_so() {
    let story = Story::with(Site::new().set("images.pull", "never"), &["--image=127.0.0.1:5104/acme/web"]).await;
    let image = "127.0.0.1:5104/acme/web";
    story.client.post("/images/pull", json!({"image": image})).await.refused(403, "PermissionError");
    let create = |pull: Value| story.client.post("/containers", json!({"image": image, "name": "c", "pull": pull}));
    create(json!("always")).await.refused(403, "PermissionError");
    create(json!("never")).await.refused(404, "PodmanAPIError");
    create(Value::Null).await.refused(404, "PodmanAPIError");
}

/// Images count for no tenant, and would fill the disk for all.
#[tokio::test]
async fn no_image_is_pulled_into_the_last_of_the_room() {
    let site = Site::new().set("images.keep_free_bytes", 1_i64 << 50);
    let story = Story::with(site, &["--image=127.0.0.1:5104/acme/web", &format!("--image={ALPINE}")]).await;
    let client = &story.client;
    let create = |image: &str, pull: &str| {
        let body = sleeping("c", json!({"image": image, "pull": pull}));
        async { client.post("/containers", body).await }
    };
    let image = "127.0.0.1:5104/acme/web";
    let refusal = client.post("/images/pull", json!({"image": image})).await;
    refusal.refused(503, "PodmanAPIError");
    assert!(refusal.text().contains("no room"), "{}", refusal.text());
    create(image, "missing").await.refused(503, "PodmanAPIError");
    create(ALPINE, "always").await.refused(503, "PodmanAPIError");
    assert_eq!(client.used().await["containers"], 0);
    // What is there is used.
    create(ALPINE, "missing").await.ok();
}

/// A registry that takes the connection and says nothing.
#[tokio::test]
async fn a_pull_that_hangs_ends_and_holds_up_nobody() {
    let podman = Podman::of_the_tests();
    let _silent = podman.occupy_silently(5105).await;
    let site = Site::new().set("images.pull_seconds", 8).set("engine.request_timeout_seconds", 6);
    let story = Story::with(site, &["--image=127.0.0.1:5105/acme/*", &format!("--image={ALPINE}")]).await;
    let client = &story.client;
    let begun = std::time::Instant::now();
    let hanging: Vec<_> = (0..3)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { pull(&client, &format!("127.0.0.1:5105/acme/web{number}")).await.1 })
        })
        .collect();
    let waits = client.post("/containers", json!({"image": "127.0.0.1:5105/acme/web0", "name": "late"})).await;
    waits.refused(408, "PodmanAPIError");
    client.create_sleeping("web").await;
    assert_eq!(client.used().await["containers"], 1);
    for pull in hanging {
        assert_eq!(pull.await.unwrap()["status"], "failed");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}
