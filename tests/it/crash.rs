//! kill -9 between any two steps, and callers who leave.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::client::sleeping;
use crate::support::{Client, Podman, Site, Story, Tenant, eventually};

/// Ledger and Podman agree, and nothing is on its way; what there is.
pub async fn settled(client: &Client, podman: &Podman, tenant: &Tenant) -> Vec<(String, String)> {
    eventually("ledger and Podman in agreement", || async {
        let listed = client.listed().await;
        let ledger: BTreeSet<String> = listed.iter().map(|(name, _)| format!("{}.{name}", tenant.slug)).collect();
        let made: BTreeSet<String> = podman.containers(&tenant.slug).await.into_iter().map(|(_, name)| name).collect();
        let moving = listed.iter().any(|(_, status)| matches!(status.as_str(), "removing" | "unknown"));
        (ledger == made && !moving).then_some(listed)
    })
    .await
}

/// Every point that the configuration documents, with whether what was being made stays.
pub const CREATE: &[(&str, bool)] = &[
    ("create.reserved", false),
    ("create.created", false),
    ("create.recorded", false),
    ("create.started", false),
    ("create.confirmed", true),
];
pub const REMOVE: &[&str] = &["remove.marked", "remove.removed"];

/// Making a container `web`, and removing it.
pub fn web() -> (&'static str, &'static str, Value) {
    ("POST", "/containers", sleeping("web", json!({})))
}
pub const REMOVE_WEB: (&str, &str, Value) = ("DELETE", "/containers/web?force=true", Value::Null);

#[test]
fn every_fail_point_is_tried() {
    let documented: BTreeSet<String> = podgate::config::DEFAULTS
        .lines()
        .filter(|line| line.starts_with('#'))
        .flat_map(|line| line.split([',', ' ', '#']))
        .filter(|word| word.starts_with("create.") || word.starts_with("remove."))
        .map(str::to_owned)
        .collect();
    let tried = CREATE.iter().map(|(point, _)| *point).chain(REMOVE.iter().copied()).map(str::to_owned).collect();
    assert_eq!(documented, tried);
}

/// The idempotency key of requests that gateways die over.
pub const KEY: &str = "of-the-one-that-died";

/// Starts a gateway that dies at `point` over this request, and one after it.
pub async fn die_at(
    point: &str,
    site: &mut Site,
    tenant: &Tenant,
    (method, path, body): (&str, &str, Value),
) -> (Client, crate::support::Gateway) {
    site.put("fail_point", point);
    let mut doomed = site.start().await;
    let token = site.token(&tenant.login("operator"));
    let client = doomed.client(&token);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Idempotency-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::serve::talk(client.address, request.as_bytes()).await;
    assert_eq!(answer, "", "{point}: it died before it could answer");
    let status = doomed.ended().await;
    assert!(status.signal().is_some(), "{point}: {status}");
    site.unset("fail_point");
    let gateway = site.start().await;
    (gateway.client(&token), gateway)
}

#[tokio::test]
async fn a_crash_in_the_middle_of_create_leaves_no_half() {
    let mut site = Site::new();
    let podman = Podman::of_the_tests();
    for (point, stays) in CREATE {
        let tenant = site.tenant();
        let (client, _gateway) = die_at(point, &mut site, &tenant, web()).await;
        let left = settled(&client, &podman, &tenant).await;
        if *stays {
            assert_eq!(left, [("web".into(), "running".into())], "{point}");
            client.delete("/containers/web?force=true").await.ok();
        } else {
            assert_eq!(left, [], "{point}");
        }
        client.create_sleeping("web").await;
        assert_eq!(settled(&client, &podman, &tenant).await, [("web".into(), "running".into())], "{point}");
    }
}

#[tokio::test]
async fn a_crash_in_the_middle_of_remove_ends_it_later() {
    let mut site = Site::new();
    let podman = Podman::of_the_tests();
    for point in REMOVE {
        let tenant = site.tenant();
        let token = site.token(&tenant.login("operator"));
        let gateway = site.start().await;
        let client = gateway.client(&token);
        client.create_sleeping("web").await;
        client.create_sleeping("other").await;
        drop(gateway);
        let (client, _gateway) = die_at(point, &mut site, &tenant, REMOVE_WEB).await;
        assert_eq!(settled(&client, &podman, &tenant).await, [("other".into(), "running".into())], "{point}");
        client.create_sleeping("web").await;
    }
}

#[tokio::test]
async fn a_caller_who_leaves_leaves_no_half() {
    let story = Story::begin().await;
    let Story { client, podman, tenant, .. } = &story;
    for (round, patience) in [0, 5, 30, 80].into_iter().enumerate() {
        let name = format!("web{round}");
        let body = json!({"image": "alpine", "name": name, "command": "sleep 300"}).to_string();
        let request = format!(
            "POST /api/v1/containers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            client.token.as_ref().unwrap(),
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(client.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // At different moments of the making.
        tokio::time::sleep(Duration::from_millis(patience)).await;
        drop(stream);
    }
    eventually("what was begun to end", || async {
        let listed = settled(client, podman, tenant).await;
        listed.iter().all(|(_, status)| status == "running").then_some(())
    })
    .await;
    // Every name is either whole or free.
    for round in 0..4 {
        let name = format!("web{round}");
        let read = client.get(&format!("/containers/{name}")).await;
        if read.status == 404 {
            client.create_sleeping(&name).await;
        } else {
            assert_eq!(client.exec(&name, json!("echo whole")).await, "whole\n");
        }
    }
    assert_eq!(settled(client, podman, tenant).await.len(), 4);
}

/// What carries our label without a row is not ours to keep; what carries another installation's is not ours at all.
#[tokio::test]
async fn one_installations_containers_are_safe_from_another() {
    let story = Story::begin().await;
    story.client.create_sleeping("web").await;
    let other = Site::new();
    let mut gateway = other.start().await;
    // Its first round of reconciling is over when its next request is answered by Podman and it ends in peace.
    let tenant = other.tenant();
    gateway.client(&other.token(&tenant.login("operator"))).create_sleeping("web").await;
    gateway.terminate();
    gateway.ended().await;
    assert_eq!(story.client.listed().await, [("web".into(), "running".into())]);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
}
