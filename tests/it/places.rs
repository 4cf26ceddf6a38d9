//! Places among the running: nobody who only looks takes one away.

use serde_json::{Value, json};

use crate::engine_down::{site_at, socket};
use crate::support::{Client, Forwarder, Ledger, Podman, Site, Story, eventually};

const FIVE: &[&str] = &["--image=docker.io/library/alpine:latest", "--quota=running=5"];

/// Starts twenty at once while somebody looks on through `onlooker`; how many run then.
async fn start_many(client: &Client, onlooker: &Client) -> usize {
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for name in &names {
        let little = json!({"memory_bytes": 20_000_000, "cpus": 0.5, "pids": 20});
        client.create_with(name, json!({"start": false, "limits": little})).await;
    }
    let looking: Vec<_> = (0..4)
        .map(|_| {
            let onlooker = onlooker.clone();
            tokio::spawn(async move {
                loop {
                    onlooker.listed().await;
                }
            })
        })
        .collect();
    let starts = names.iter().map(|name| {
        let (client, path) = (client.clone(), format!("/containers/{name}/start"));
        tokio::spawn(async move { client.post(&path, json!(null)).await })
    });
    let mut started = 0;
    for start in starts.collect::<Vec<_>>() {
        let answer = start.await.unwrap();
        match answer.status {
            200 => started += 1,
            // A tenant starts only so many at once.
            429 => drop(answer.refused(429, "RateLimitError")),
            _ => drop(answer.refused(403, "QuotaError")),
        }
    }
    looking.iter().for_each(|one| one.abort());
    let running = client.listed().await.into_iter().filter(|(_, status)| status == "running").count();
    assert_eq!(running, started);
    running
}

#[tokio::test]
async fn who_looks_on_takes_no_place_away() {
    let story = Story::with(Site::new(), FIVE).await;
    assert_eq!(start_many(&story.client, &story.client).await, 5);
    assert_eq!(story.client.used().await["running"], 5);
    assert_eq!(Ledger::of(&story.site).await.count("events WHERE kind = 'died'").await, 0);
}

/// Nor does who asks another gateway.
#[tokio::test]
async fn who_looks_on_elsewhere_takes_no_place_away() {
    let first = Site::on_postgres().await;
    let second = first.beside();
    let story = Story::with(first, FIVE).await;
    let other = second.start().await;
    let there = other.client(story.client.token.as_ref().unwrap());
    assert_eq!(start_many(&story.client, &there).await, 5);
    assert_eq!(story.client.used().await["running"], 5);
    assert_eq!(Ledger::of(&story.site).await.count("events WHERE kind = 'died'").await, 0);
    for (name, _) in there.listed().await.iter().filter(|(_, status)| status == "running").take(2) {
        there.post(&format!("/containers/{name}/stop?timeout=0"), json!(null)).await.ok();
    }
    assert_eq!(story.client.used().await["running"], 3);
}

/// What an operator starts runs, so it counts.
#[tokio::test]
async fn what_somebody_else_starts_counts_beyond_the_quota() {
    let story = Story::with(Site::new(), &[FIVE[0], "--quota=running=1"]).await;
    let client = &story.client;
    client.create_sleeping("first").await;
    let second = client.create_with("second", json!({"start": false})).await;
    let id = second["id"].as_str().unwrap();
    assert_eq!(story.podman.call("POST", &format!("/containers/{id}/start")).await.status, 204);
    eventually("that it counts", || async { (client.used().await["running"] == 2).then_some(()) }).await;
    client.create_with("third", json!({"start": false})).await;
    client.post("/containers/third/start", json!(null)).await.refused(403, "QuotaError");
    client.post("/containers/second/stop?timeout=0", json!(null)).await.ok();
    assert_eq!(client.used().await["running"], 1);
}

/// Podman failing for one container is no reason to say nothing of the others, and its host's faults are not the caller's.
#[tokio::test]
async fn a_fault_of_the_host_is_told_as_one() {
    let (socket, podman) = (socket(), Podman::of_the_tests());
    let way = Forwarder::start(&socket, &podman.socket);
    let Story { gateway, client, site, tenant, .. } = Story::at(site_at(&socket)).await;
    let broken = client.create_sleeping("broken").await;
    client.create_sleeping("whole").await;
    drop(gateway);
    let cause = "readlink /var/lib/containers/storage/overlay/l/X: no such file or directory";
    way.fail(&broken, cause);
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    let both = [("broken".to_owned(), "unknown".to_owned()), ("whole".to_owned(), "running".to_owned())];
    assert_eq!(client.listed().await, both);
    for (path, body) in [("/containers/broken/stop", Value::Null), ("/containers/broken/start", Value::Null)] {
        client.post(path, body).await.refused(500, "PodmanAPIError");
    }
    way.fail("/containers/create", cause);
    client.try_create("new", json!({})).await.refused(500, "PodmanAPIError");
    way.pass("/containers/create");
    way.pass(&broken);
    client.create_sleeping("new").await;
    eventually("that it is seen again", || async { (client.status("broken").await == "running").then_some(()) }).await;
    assert_eq!(client.used().await["containers"], 3);
}
