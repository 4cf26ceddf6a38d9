//! Requests that are sent again: with a key they create once, whatever happened to the first.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::crash::{CREATE, KEY, die_at, settled, web};
use crate::support::client::sleeping;
use crate::support::gateway::unique;
use crate::support::{Answer, Client, Ledger, Podman, Site, Story, eventually};

const GOOD: &str = "a perfectly good password";

/// The same answer as before, and marked so.
#[track_caller]
fn replays(answer: &Answer, first: &Value) {
    assert_eq!(&answer.ok(), first);
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
}

/// An answer of its own.
#[track_caller]
fn fresh(answer: &Answer) -> Value {
    assert_eq!(answer.header("idempotency-replayed"), None);
    answer.ok()
}

fn account(story: &Story, name: &str, role: &str) -> Client {
    story.site.account(name, role);
    story.gateway.client(&story.site.token(name))
}

#[tokio::test]
async fn whatever_creates_does_so_once() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("box").await;
    let admin = account(&story, &story.tenant.login("admin"), "admin");
    let platform = account(&story, "root", "platform");
    let slug = unique();
    let file = json!({"dest_path": "/tmp/f", "content": "x".repeat(2_000_000)});
    let user = json!({"username": "student", "password": "secret word"});
    let person = |name: &str| json!({"name": name, "role": "viewer", "password": GOOD});
    let in_tenant = format!("/tenants/{}/accounts", story.tenant.slug);
    let all = [
        (client, "/containers", sleeping("web", json!({"ports": {"0": "80"}}))),
        (client, "/containers/box/users", user),
        (client, "/containers/box/files", file),
        (client, "/containers/box/files/directories", json!({"path": "/tmp/d"})),
        (client, "/volumes", json!({"name": "data"})),
        (client, "/api-keys", json!({"name": "ci"})),
        (&admin, "/accounts", person("ann")),
        (&platform, in_tenant.as_str(), person("bob")),
        (&platform, "/tenants", json!({"slug": slug, "quotas": {"containers": 1}})),
    ];
    let document = client.anonymous().get("/openapi.json").await.json();
    assert_eq!(all.len(), taking_keys(&document).len(), "every operation that takes a key is tried");
    for (client, path, body) in &all {
        let mut first = fresh(&client.post_keyed(path, "k", body.clone()).await);
        if let Some(key) = first.get_mut("api_key") {
            assert!(key.as_object_mut().unwrap().remove("key").unwrap().is_string());
        }
        for _ in 0..2 {
            replays(&client.post_keyed(path, "k", body.clone()).await, &first);
        }
        // Without the key it is another request, and with another body no request at all.
        let again = client.post(path, body.clone()).await;
        assert!(again.status == 409 || path.ends_with("/files"), "{path}: {}", again.text());
        let mut other = body.clone();
        other.as_object_mut().unwrap().insert("unknown".into(), json!(1));
        client.post_keyed(path, "k", other).await.refused(422, "ValidationError");
    }
    assert_eq!(client.listed().await.len(), 2);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 2);
    platform.delete(&format!("/tenants/{slug}")).await.ok();
}

#[tokio::test]
async fn a_key_is_its_callers_own() {
    let story = Story::begin().await;
    let client = &story.client;
    let (_, theirs) = story.another();
    story.site.account(&story.tenant.login("colleague"), "operator");
    let colleague = story.gateway.client(&story.site.token(&story.tenant.login("colleague")));
    fresh(&client.post_keyed("/volumes", "k", json!({"name": "data"})).await);
    fresh(&theirs.post_keyed("/volumes", "k", json!({"name": "data"})).await);
    colleague.post_keyed("/volumes", "k", json!({"name": "data"})).await.refused(409, "PodmanAPIError");
    fresh(&colleague.post_keyed("/volumes", "k", json!({"name": "more"})).await);
    // It goes with the account, not with the token, and is another one for another operation.
    let token = story.site.token(&story.tenant.login("operator"));
    let first = client.get("/volumes").await.ok()["volumes"][0].clone();
    let again = client.with_token(token).post_keyed("/volumes", "k", json!({"name": "data"})).await;
    replays(&again, &json!({"success": true, "volume": first}));
    fresh(&client.post_keyed("/containers", "k", sleeping("web", json!({}))).await);
    // Other objects of one operation are another request.
    client.create_sleeping("other").await;
    let file = json!({"dest_path": "/tmp/f", "content": "x"});
    fresh(&client.post_keyed("/containers/web/files", "f", file.clone()).await);
    client.post_keyed("/containers/other/files", "f", file).await.refused(422, "ValidationError");
    // Who may no longer do it, is not told how it went.
    story.site.run(&["account", "role", &story.tenant.login("operator"), "--role", "viewer"], "").succeeded();
    let demoted = client.with_token(story.site.token(&story.tenant.login("operator")));
    demoted.post_keyed("/volumes", "k", json!({"name": "data"})).await.refused(403, "PermissionError");
    client.post_keyed("/volumes", "k", json!({"name": "data"})).await.refused(401, "AuthenticationError");
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again() {
    let story = Story::at(Site::new().set("quotas.volumes", 1)).await;
    let client = &story.client;
    client.post("/volumes", json!({"name": "full"})).await.ok();
    let again = async || client.post_keyed("/volumes", "k", json!({"name": "data"})).await;
    for _ in 0..2 {
        again().await.refused(403, "QuotaError");
    }
    // With another body, too: nothing was done under this key.
    client.post_keyed("/volumes", "k", json!({"name": "/"})).await.refused(400, "ValidationError");
    client.delete("/volumes/full").await.ok();
    let made = fresh(&again().await);
    replays(&again().await, &made);
}

#[tokio::test]
async fn keys_have_a_form_and_a_place() {
    let story = Story::begin().await;
    let client = &story.client;
    for bad in ["", "two words", "t\u{e4}g", &"x".repeat(256)] {
        client.post_keyed("/volumes", bad, json!({"name": "data"})).await.blames(&["Idempotency-Key"]);
    }
    let twice = client.request("POST", "/volumes").header("idempotency-key", "a").header("idempotency-key", "b");
    let twice = twice.header("content-type", "application/json");
    client
        .send(twice.body(crate::support::client::whole(r#"{"name":"data"}"#)).unwrap())
        .await
        .blames(&["Idempotency-Key"]);
    assert_eq!(client.get("/volumes").await.ok()["volumes"], json!([]));
    // Where it would be an empty promise it is refused; where it is not needed it does not matter.
    client.create_sleeping("web").await;
    client.post_keyed("/containers/web/exec", "k", json!({"command": "true"})).await.blames(&["Idempotency-Key"]);
    let get = client.request("GET", "/containers").header("idempotency-key", "k");
    client.send(get.body(crate::support::client::whole("")).unwrap()).await.ok();
    let anonymous = client.anonymous().post_keyed("/volumes", "two words", json!({})).await;
    anonymous.refused(401, "AuthenticationError");
}

async fn twenty_at_once(clients: &[Client]) {
    let tries: Vec<_> = (0..20)
        .map(|number| {
            let client = clients[number % clients.len()].clone();
            tokio::spawn(async move { client.post_keyed("/containers", "k", sleeping("web", json!({}))).await })
        })
        .collect();
    let (mut made, mut replayed) = (Vec::new(), Vec::new());
    for answer in tries {
        let answer = answer.await.unwrap();
        match (answer.status, answer.header("idempotency-replayed")) {
            (200, None) => made.push(answer.ok()),
            (200, Some(_)) => replayed.push(answer.ok()),
            _ => {
                answer.refused(409, "PodmanAPIError");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
        }
    }
    assert_eq!(made.len(), 1);
    assert!(replayed.iter().all(|answer| *answer == made[0]), "{made:?} {replayed:?}");
    for client in clients {
        replays(&client.post_keyed("/containers", "k", sleeping("web", json!({}))).await, &made[0]);
        assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    }
}

#[tokio::test]
async fn of_twenty_at_once_one_runs() {
    let story = Story::begin().await;
    twenty_at_once(std::slice::from_ref(&story.client)).await;
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
}

#[tokio::test]
async fn of_twenty_on_two_gateways_one_runs() {
    let first = Site::on_postgres().await;
    let second = first.beside();
    let story = Story::at(first).await;
    let other = second.start().await;
    twenty_at_once(&[story.client.clone(), other.client(story.client.token.as_ref().unwrap())]).await;
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
}

/// What a client does that does not hear: it asks again with the same key.
async fn until_it_is_made(client: &Client, path: &str, body: &Value) -> Answer {
    eventually("that it is made", || async {
        let answer = client.post_keyed(path, KEY, body.clone()).await;
        if answer.status != 200 {
            answer.refused(409, "PodmanAPIError");
            return None;
        }
        Some(answer)
    })
    .await
}

#[tokio::test]
async fn who_leaves_and_comes_back_finds_it_made() {
    let story = Story::begin().await;
    let client = &story.client;
    for (round, patience) in [0, 10, 40, 120].into_iter().enumerate() {
        let body = sleeping(&format!("web{round}"), json!({}));
        let key = format!("key{round}");
        let text = body.to_string();
        let request = format!(
            "POST /api/v1/containers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            client.token.as_ref().unwrap(),
            text.len()
        );
        let mut stream = tokio::net::TcpStream::connect(client.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(patience)).await;
        drop(stream);
        let answer = eventually("that it is made", || async {
            let answer = client.post_keyed("/containers", &key, body.clone()).await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!(answer.ok()["container"]["status"], "running");
    }
    assert_eq!(settled(client, &story.podman, &story.tenant).await.len(), 4);
}

/// Sends again what a gateway died over; whether it had been made.
async fn made_after_a_crash(client: &Client, path: &str, body: &Value) -> bool {
    let answer = until_it_is_made(client, path, body).await;
    let was_made = answer.header("idempotency-replayed").is_some();
    replays(&until_it_is_made(client, path, body).await, &answer.ok());
    client.post(path, body.clone()).await.refused(409, "PodmanAPIError");
    was_made
}

async fn a_crash_makes_nothing_twice(mut site: Site) {
    let podman = Podman::of_the_tests();
    for (point, stays) in CREATE {
        let tenant = site.tenant();
        let (client, _gateway) = die_at(point, &mut site, &tenant, web()).await;
        assert_eq!(made_after_a_crash(&client, "/containers", &web().2).await, *stays, "{point}");
        assert_eq!(settled(&client, &podman, &tenant).await, [("web".into(), "running".into())], "{point}");
        assert_eq!(client.used().await["containers"], 1);
    }
    for point in ["volume.reserved", "volume.created"] {
        let tenant = site.tenant();
        let body = json!({"name": "data"});
        let (client, _gateway) = die_at(point, &mut site, &tenant, ("POST", "/volumes", body.clone())).await;
        assert!(!made_after_a_crash(&client, "/volumes", &body).await, "{point}");
        assert_eq!(client.used().await["volumes"], 1);
    }
}

#[tokio::test]
async fn a_crash_makes_nothing_twice_on_sqlite() {
    a_crash_makes_nothing_twice(Site::new()).await;
}

#[tokio::test]
async fn a_crash_makes_nothing_twice_on_postgresql() {
    a_crash_makes_nothing_twice(Site::on_postgres().await).await;
}

/// What was made and not noted: as if the store had gone away between the two.
#[tokio::test]
async fn what_was_made_is_found_though_nobody_noted_it() {
    let story = Story::begin().await;
    let admin = account(&story, &story.tenant.login("admin"), "admin");
    let platform = account(&story, "root", "platform");
    let slug = unique();
    let ledger = Ledger::of(&story.site).await;
    let person = json!({"name": "ann", "role": "viewer", "password": GOOD});
    for (client, path, body) in [
        (&story.client, "/containers", sleeping("web", json!({}))),
        (&story.client, "/volumes", json!({"name": "data"})),
        (&story.client, "/api-keys", json!({"name": "ci"})),
        (&admin, "/accounts", person),
        (&platform, "/tenants", json!({"slug": slug})),
    ] {
        let mut first = fresh(&client.post_keyed(path, "k", body.clone()).await);
        if let Some(key) = first.get_mut("api_key") {
            assert!(key.as_object_mut().unwrap().remove("key").unwrap().is_string());
        }
        ledger.execute("UPDATE idempotency_keys SET answer = NULL, status = NULL").await;
        let again = client.post_keyed(path, "k", body.clone()).await;
        replays(&again, &first);
        ledger.execute("DELETE FROM idempotency_keys").await;
    }
    platform.delete(&format!("/tenants/{slug}")).await.ok();
}

/// Another gateway takes a request over once the one that ran it is dead, and not before.
#[tokio::test]
async fn a_dead_gateways_request_is_taken_over() {
    let site = Site::on_postgres().await;
    let beside = site.beside();
    let story = Story::at(site).await;
    let other = beside.start().await;
    let there = other.client(story.client.token.as_ref().unwrap());
    let ledger = Ledger::of(&story.site).await;
    let first = fresh(&story.client.post_keyed("/volumes", "k", json!({"name": "data"})).await);
    ledger.execute("UPDATE idempotency_keys SET answer = NULL, status = NULL").await;
    let waiting = there.post_keyed("/volumes", "k", json!({"name": "data"})).await;
    waiting.refused(409, "PodmanAPIError");
    drop(story.gateway);
    ledger.execute("UPDATE gateways SET seen_ms = seen_ms - 60000").await;
    let answer = eventually("the other's turn", || async {
        let answer = there.post_keyed("/volumes", "k", json!({"name": "data"})).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    replays(&answer, &first);
}

#[tokio::test]
async fn keys_are_forgotten() {
    let site = Site::new().set("idempotency.kept_seconds", 1).set("idempotency.keys_per_tenant", 3);
    let story = Story::at(site).await;
    let client = &story.client;
    fresh(&client.post_keyed("/volumes", "k", json!({"name": "data"})).await);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.post_keyed("/volumes", "k", json!({"name": "data"})).await.refused(409, "PodmanAPIError");

    let Story { gateway, mut site, client, .. } = story;
    drop(gateway);
    site.put("idempotency.kept_seconds", 3600);
    let gateway = site.start().await;
    let client = gateway.client(client.token.as_ref().unwrap());
    for number in 0..5 {
        fresh(&client.post_keyed("/volumes", &format!("k{number}"), json!({"name": format!("v{number}")})).await);
    }
    drop(gateway);
    // The oldest go when the gateway looks after its store, which it does at the start.
    let gateway = site.start().await;
    let ledger = Ledger::of(&site).await;
    eventually("three are left", || async { (ledger.count("idempotency_keys").await == 3).then_some(()) }).await;
    let client = gateway.client(client.token.as_ref().unwrap());
    for (number, status) in [(0, 409), (4, 200)] {
        let body = json!({"name": format!("v{number}")});
        assert_eq!(client.post_keyed("/volumes", &format!("k{number}"), body).await.status, status);
    }
}

/// Neither are there more of those that ended nobody knows how: while Podman is away, each of them.
#[tokio::test]
async fn keys_that_came_to_nothing_are_forgotten_too() {
    let site = Site::new().set("idempotency.keys_per_tenant", 3).set("engine.url", "unix:///nonexistent/podman.sock");
    let story = Story::at(site).await;
    let body = json!({"image": "alpine", "name": "box"});
    for number in 0..6 {
        let key = format!("k{number}");
        story.client.post_keyed("/containers", &key, body.clone()).await.refused(503, "PodmanAPIError");
    }
    let ledger = Ledger::of(&story.site).await;
    assert_eq!(ledger.count("idempotency_keys").await, 6);
    let Story { gateway, site, .. } = story;
    drop(gateway);
    let _gateway = site.start().await;
    eventually("three are left", || async { (ledger.count("idempotency_keys").await == 3).then_some(()) }).await;
}

/// Whoever reads the store learns neither what was asked for nor what was answered in confidence.
#[tokio::test]
async fn no_secret_is_kept() {
    let story = Story::begin().await;
    story.client.create_sleeping("box").await;
    let admin = account(&story, &story.tenant.login("admin"), "admin");
    let made = fresh(&story.client.post_keyed("/api-keys", "keyforapikeys", json!({"name": "ci"})).await);
    let key = made["api_key"]["key"].as_str().unwrap();
    let person = json!({"name": "ann", "role": "viewer", "password": GOOD});
    fresh(&admin.post_keyed("/accounts", "keyforaccounts", person).await);
    let user = json!({"username": "student", "password": "secret word"});
    fresh(&story.client.post_keyed("/containers/box/users", "keyforusers", user).await);
    let file = json!({"dest_path": "/tmp/f", "content": "confidential content"});
    fresh(&story.client.post_keyed("/containers/box/files", "keyforfiles", file).await);
    let mut stored = Vec::new();
    for name in ["podgate.db", "podgate.db-wal"] {
        stored.extend(std::fs::read(story.site.data(name)).unwrap());
    }
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("student") && holds(made["api_key"]["id"].as_str().unwrap()), "it is the right file");
    for secret in [key, GOOD, "secret word", "confidential content", "keyforapikeys", "keyforaccounts", "keyforusers"] {
        assert!(!holds(secret), "{secret}");
    }
}

/// The operations that take a key: method and path.
fn taking_keys(document: &Value) -> BTreeMap<String, &Value> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations
        .filter(|(_, operation)| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            parameters.into_iter().any(|parameter| parameter["name"] == "Idempotency-Key")
        })
        .collect()
}

/// A new operation that creates cannot be forgotten.
#[test]
fn the_document_says_what_takes_a_key() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/podgate-v1.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let taking = taking_keys(&document);
    for (at, operation) in &taking {
        assert!(operation["responses"]["422"].is_object() && operation["responses"]["409"].is_object(), "{at}");
        assert!(operation["responses"]["200"]["headers"]["Idempotency-Replayed"].is_object(), "{at}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            // Signing in makes nothing that lasts, and no secret is given twice.
            let secret = matches!(id, "createToken" | "createTicket");
            let makes = (id.starts_with("create") || id.starts_with("add")) && !secret;
            let creates = method == "post" && makes;
            assert_eq!(taking.contains_key(&format!("{method} {path}")), creates, "{id}");
        }
    }
}
