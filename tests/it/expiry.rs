//! Containers that go by themselves.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Ledger, PATIENCE, Site, Story, eventually};

async fn gone(client: &Client, name: &str) {
    let path = format!("/containers/{name}");
    eventually(&format!("the end of {name}"), || async { (client.get(&path).await.status == 404).then_some(()) }).await;
}

async fn seconds(count: f64) {
    tokio::time::sleep(Duration::from_secs_f64(count)).await;
}

/// An RFC 3339 time as the answers have it, in seconds from now.
fn from_now(time: &Value) -> f64 {
    let time = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
    let format = &time::format_description::well_known::Rfc3339;
    #[allow(clippy::disallowed_methods)] // what a clock on the wall says
    let now = time::OffsetDateTime::now_utc();
    (time::OffsetDateTime::parse(time, format).unwrap() - now).as_seconds_f64()
}

fn with_profiles(profiles: &str) -> Site {
    Site::new().with(profiles)
}

#[tokio::test]
async fn a_container_goes_when_its_time_has_come() {
    let story = Story::begin().await;
    let client = &story.client;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.create_sleeping("stays").await;
    let begun = Instant::now();
    let more = json!({"expires_in": 10, "ports": {"0": "80"}, "volumes": {"data": "/data"}});
    let made = client.create_with("goes", more).await;
    let left = from_now(&made["expires"]);
    assert!((0.0..=10.0).contains(&left), "{left} s left of {made}");
    client.create_with("idle", json!({"expires_in": 10, "start": false})).await;
    client.exec("goes", json!("echo kept > /data/file")).await;
    let read = client.get("/containers/goes").await.ok()["container"].clone();
    assert_eq!(read["expires"], made["expires"]);
    assert!(client.get("/containers/stays").await.ok()["container"].get("expires").is_none());
    // An operator sees it in Podman.
    let inspected = story.podman.inspect(made["id"].as_str().unwrap()).await;
    assert_eq!(inspected["Config"]["Labels"]["io.podgate.expires"], made["expires"]);

    gone(client, "goes").await;
    gone(client, "idle").await;
    assert!(begun.elapsed() >= Duration::from_secs(10), "too early: {:?}", begun.elapsed());
    assert_eq!(client.listed().await, [("stays".into(), "running".into())]);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
    let used = client.used().await;
    assert_eq!((used["containers"], used["running"], used["pids"], used["volumes"]), (1, 1, 256, 1));
    // Its port and its name are free, the tenant's volume stays as it was.
    let again = client.create_with("goes", json!({"ports": {"0": "80"}, "volumes": {"data": "/data"}})).await;
    assert_eq!(again["ports"], made["ports"]);
    assert!(again.get("expires").is_none());
    assert_eq!(client.exec("goes", json!("cat /data/file")).await, "kept\n");
}

#[tokio::test]
async fn time_passes_while_the_gateway_is_down() {
    let story = Story::begin().await;
    story.client.create_with("stays", json!({"expires_in": 3600})).await;
    // From the request on, so that making it is part of that time.
    story.client.create_with("goes", json!({"expires_in": 8})).await;
    let Story { gateway, site, tenant, podman, client } = story;
    drop(gateway);
    seconds(8.2).await;
    assert_eq!(podman.containers(&tenant.slug).await.len(), 2, "nobody was there to remove it");
    let gateway = site.start().await;
    let client = gateway.client(&client.token.unwrap());
    gone(&client, "goes").await;
    assert_eq!(client.listed().await, [("stays".into(), "running".into())]);
    assert_eq!(podman.containers(&tenant.slug).await.len(), 1);
    assert_eq!(client.used().await["containers"], 1);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_it_ends_it_later() {
    let mut site = Site::new();
    for point in crate::crash::REMOVE {
        let tenant = site.tenant();
        site.put("fail_point", point);
        let mut doomed = site.start().await;
        let client = doomed.client(&site.token(&tenant.login("operator")));
        client.create_with("stays", json!({})).await;
        client.create_with("goes", json!({"expires_in": 4})).await;
        assert!(!doomed.ended().await.success(), "{point}");
        site.unset("fail_point");
        let gateway = site.start().await;
        let client = gateway.client(&client.token.unwrap());
        gone(&client, "goes").await;
        let left = crate::crash::settled(&client, &crate::support::Podman::of_the_tests(), &tenant).await;
        assert_eq!(left, [("stays".into(), "running".into())], "{point}");
        assert_eq!(client.used().await["containers"], 1, "{point}");
    }
}

#[tokio::test]
async fn renewing_puts_it_off() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_with("short", json!({"expires_in": 3600})).await;
    let made = client.create_with("c", json!({"expires_in": 12})).await;
    let renewed = client.post("/containers/c/renew", json!({"expires_in": 3600})).await.ok()["container"].clone();
    assert_eq!(renewed["name"], "c");
    assert!((3590.0..=3600.0).contains(&from_now(&renewed["expires"])), "{renewed}");
    assert_eq!(client.get("/containers/c").await.ok()["container"]["expires"], renewed["expires"]);
    // It may also be earlier than before.
    client.post("/containers/short/renew", json!({"expires_in": 1})).await.ok();
    gone(client, "short").await;
    // A sweep or two behind its first time.
    seconds(from_now(&made["expires"]).max(0.0) + 3.0).await;
    assert_eq!(client.status("c").await, "running");
    // Without a number it is the profile's, which is never.
    let never = client.post("/containers/c/renew", json!({})).await.ok()["container"].clone();
    assert_eq!(never, json!({"name": "c"}));
    for wrong in [0, -1, i64::MAX, i64::MIN, 10 * 365 * 86_400 + 1] {
        client.post("/containers/c/renew", json!({"expires_in": wrong})).await.blames(&["expires_in"]);
        client.try_create("d", json!({"expires_in": wrong})).await.blames(&["expires_in"]);
    }
    client.post("/containers/absent/renew", json!({"expires_in": 5})).await.refused(404, "PodmanAPIError");
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    client.post("/containers/c/renew", json!({"expires_in": 1})).await.ok();
    gone(client, "c").await;
    assert!(client.used().await.values().all(|used| *used == 0));
}

#[tokio::test]
async fn a_profile_has_a_default_and_a_bound() {
    let story = Story::at(with_profiles("[profiles.default]\nexpires_seconds = 60\nmax_expires_seconds = 100")).await;
    let client = &story.client;
    let made = client.create_with("c", json!({})).await;
    assert!((50.0..=60.0).contains(&from_now(&made["expires"])), "{made}");
    client.try_create("d", json!({"expires_in": 101})).await.blames(&["expires_in"]);
    client.create_with("d", json!({"expires_in": 100})).await;
    client.post("/containers/c/renew", json!({"expires_in": 101})).await.blames(&["expires_in"]);
    let renewed = client.post("/containers/d/renew", json!({})).await.ok()["container"].clone();
    assert!((50.0..=60.0).contains(&from_now(&renewed["expires"])), "{renewed}");
}

/// A bound without a default bounds what says nothing as well.
#[tokio::test]
async fn saying_nothing_is_no_way_around_the_bound() {
    let story = Story::at(with_profiles("[profiles.default]\nmax_expires_seconds = 100")).await;
    let made = story.client.create_with("c", json!({})).await;
    assert!(made.get("expires").is_some_and(|expires| from_now(expires) <= 100.0), "for ever, above the bound: {made}");
    let renewed = story.client.post("/containers/c/renew", json!({})).await.ok()["container"].clone();
    assert!(renewed.get("expires").is_some_and(|expires| from_now(expires) <= 100.0), "{renewed}");
}

/// Whatever the profile says.
#[tokio::test]
async fn a_tenant_has_a_default_and_a_bound_of_its_own() {
    let story = Story::at(with_profiles("[profiles.long]\nexpires_seconds = 7200")).await;
    let Story { client, site, tenant, .. } = &story;
    let (_, theirs) = story.another();
    let limit = |limit: &str| site.run(&["tenant", "allow", &tenant.slug, "--limit", limit], "");
    site.run(&["tenant", "allow", &tenant.slug, "--profile", "long"], "").succeeded();
    limit("expires_seconds=60").succeeded();
    limit("max_expires_seconds=100").succeeded();
    limit("container_pids=20").succeeded();
    let shown = site.run(&["tenant", "show", &tenant.slug], "").succeeded();
    assert!(
        shown.contains("limit expires_seconds=60\n") && shown.contains("limit max_expires_seconds=100\n"),
        "{shown}"
    );
    for (name, profile) in [("c", "default"), ("d", "long")] {
        let made = client.create_with(name, json!({"profile": profile, "start": false})).await;
        assert!((50.0..=60.0).contains(&from_now(&made["expires"])), "{made}");
        client.try_create("e", json!({"profile": profile, "expires_in": 101})).await.blames(&["expires_in"]);
        client.post(&format!("/containers/{name}/renew"), json!({"expires_in": 101})).await.blames(&["expires_in"]);
    }
    client.try_create("e", json!({"limits": {"pids": 21}})).await.blames(&["limits.pids"]);
    assert_eq!(client.get("/containers/c").await.ok()["container"]["limits"]["pids"], 20);
    let made = theirs.create_with("c", json!({"start": false})).await;
    assert!(made.get("expires").is_none(), "{made}");
    for wrong in ["expires_seconds", "expires_seconds=0", "nonsense=1", "container_pids=x", "burst=0"] {
        assert_eq!(limit(wrong).code, 2, "{wrong}");
    }
}

#[tokio::test]
async fn what_nobody_uses_goes() {
    let story = Story::at(with_profiles("[profiles.default]\nidle_seconds = 12")).await;
    let client = &story.client;
    for name in ["used", "written", "looked-at", "renewed"] {
        client.create_sleeping(name).await;
    }
    let told = client.get("/containers/used").await.ok()["container"].clone();
    assert!(told["idle_until"].as_str().unwrap() > told["created"].as_str().unwrap(), "{told}");
    let begun = Instant::now();
    let is_there = async |name: &str| client.get(&format!("/containers/{name}")).await.status == 200;
    while begun.elapsed() < Duration::from_secs(15) || is_there("looked-at").await && begun.elapsed() < PATIENCE {
        client.exec("used", json!("true")).await;
        let file = json!({"dest_path": "/tmp/x", "content": "x"});
        client.post("/containers/written/files", file).await.ok();
        client.post("/containers/renewed/renew", json!({})).await.ok();
        // Looking is no use of it.
        client.get("/containers/looked-at").await;
        client.get("/containers/looked-at/logs").await;
        seconds(0.5).await;
    }
    let left: Vec<_> = client.listed().await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["used", "written", "renewed"]);
    for name in ["used", "written", "renewed"] {
        gone(client, name).await;
    }
    assert!(client.used().await.values().all(|used| *used == 0));
}

/// A command that runs longer than the idle time is a use of the container all the while.
#[tokio::test]
async fn a_long_command_is_use() {
    let story = Story::at(with_profiles("[profiles.default]\nidle_seconds = 4")).await;
    story.client.create_sleeping("c").await;
    let done = story.client.post("/containers/c/exec", json!({"command": "sleep 10; echo done"})).await.ok();
    assert_eq!(done["execution"]["output"], "done\n", "{done}");
    gone(&story.client, "c").await;
}

/// Nor does another gateway end it, or the next start after a crash.
#[tokio::test]
async fn what_is_used_elsewhere_is_in_use() {
    let profiles = "[profiles.default]\nidle_seconds = 6";
    let first = Site::on_postgres().await.with(profiles);
    let second = first.beside().with(profiles);
    let Story { gateway, client, site, tenant, .. } = Story::at(first).await;
    let other = second.start().await;
    client.create_sleeping("c").await;
    let done = client.post("/containers/c/exec", json!({"command": "sleep 12; echo done"})).await.ok();
    assert_eq!(done["execution"]["output"], "done\n", "{done}");
    // The log that somebody follows, and what it uses for somebody who watches.
    for stream in ["/containers/c/logs?follow=true", "/containers/c/stats?stream=true"] {
        let held = client.events(stream).await;
        seconds(8.0).await;
        assert_eq!(client.status("c").await, "running", "{stream}");
        drop(held);
    }
    let held = client.events("/containers/c/logs?follow=true").await;
    seconds(8.0).await;
    drop(other);
    drop(gateway);
    drop(held);
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    assert_eq!(client.status("c").await, "running", "it was in use a moment ago");
    gone(&client, "c").await;
}

/// One that a sweep has on its list is renewed or removed, and not both.
#[tokio::test]
async fn what_is_renewed_stays() {
    let story = Story::begin().await;
    let client = &story.client;
    let names: Vec<String> = (0..12).map(|number| format!("c{number:02}")).collect();
    for name in &names {
        client.create_with(name, json!({"start": false})).await;
    }
    let ledger = Ledger::of(&story.site).await;
    ledger.execute("UPDATE containers SET expires_ms = 1").await;
    eventually("that some went", || async { (client.listed().await.len() < 12).then_some(()) }).await;
    let mut renewed = Vec::new();
    for name in names.iter().rev() {
        let answer = client.post(&format!("/containers/{name}/renew"), json!({"expires_in": 3600})).await;
        match answer.status {
            200 => renewed.push(name.clone()),
            404 | 409 => {}
            _ => panic!("{}", answer.text()),
        }
    }
    assert!(!renewed.is_empty());
    eventually("the sweep's end", || async { (client.listed().await.len() == renewed.len()).then_some(()) }).await;
    seconds(2.5).await;
    let mut left: Vec<String> = client.listed().await.into_iter().map(|(name, _)| name).collect();
    left.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(left, renewed);
}
