//! SQLite and PostgreSQL are the same to whoever uses Podgate, and several gateways over one PostgreSQL are one.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use podgate::config;
use podgate::domain::World;
use podgate::store::Store;
use serde_json::json;

use crate::support::gateway::{PASSWORD, unique};
use crate::support::{Ledger, Site, Story, eventually};

/// Everything that writes to the store, once.
async fn conforms(site: Site) {
    let story = Story::at(site.set("quotas.containers", 3)).await;
    let client = &story.client;
    let login = story.tenant.login("operator");
    // Accounts and tenants.
    let again = story.site.run(&["account", "create", &login, "--role", "viewer", "--password-stdin"], PASSWORD);
    assert!(again.code == 1 && again.stderr.contains("already"), "{}", again.stderr);
    assert_eq!(story.site.run(&["tenant", "create", &story.tenant.slug], "").code, 1);
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "volumes=1"], "").succeeded();
    client.sign_in(&login, PASSWORD).await.ok();
    client.sign_in(&login, "wrong password").await.refused(401, "AuthenticationError");
    // Volumes, ports, names, quotas.
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.post("/volumes", json!({"name": "more"})).await.refused(403, "QuotaError");
    let whole = json!({"ports": {"0": "80"}, "volumes": {"data": "/data"}, "expires_in": 3600});
    let made = client.create_with("web", whole).await;
    assert_eq!(made["ports"].as_object().unwrap().len(), 1);
    client.try_create("web", json!({})).await.refused(409, "PodmanAPIError");
    client.delete("/volumes/data").await.refused(409, "PodmanAPIError");
    client.create_sleeping("two").await;
    client.create_with("three", json!({"start": false})).await;
    client.try_create("four", json!({})).await.refused(403, "QuotaError");
    assert_eq!(client.listed().await.len(), 3);
    let id = made["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/containers/{id}")).await.ok()["container"]["name"], "web");
    client.post("/containers/web/renew", json!({"expires_in": 60})).await.ok();
    assert_eq!(client.exec("web", json!("touch /data/x; echo hi")).await, "hi\n");
    client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    let used = client.used().await;
    assert_eq!((used["containers"], used["running"], used["volumes"]), (3, 1, 1));
    for name in ["web", "two", "three"] {
        client.delete(&format!("/containers/{name}?force=true")).await.ok();
    }
    client.delete("/volumes/data").await.ok();
    let used = client.used().await;
    assert!(used.values().all(|used| *used == 0), "{used:?}");

    // A crash in the middle, and the next start.
    client.create_sleeping("kept").await;
    let Story { gateway, site, tenant, podman, .. } = story;
    drop(gateway);
    let site = site.set("fail_point", "create.created");
    let mut doomed = site.start().await;
    let client = doomed.client(&site.token(&login));
    let lost = tokio::spawn(async move { client.try_create("lost", json!({})).await });
    doomed.ended().await;
    assert!(lost.await.is_err(), "the gateway died under it");
    let mut site = site;
    site.unset("fail_point");
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&login));
    eventually("that it is taken back", || async {
        (podman.containers(&tenant.slug).await.len() == 1 && client.used().await["containers"] == 1).then_some(())
    })
    .await;
    // The end of a tenant.
    site.run(&["tenant", "delete", &tenant.slug], "").succeeded();
    client.get("/containers").await.refused(401, "AuthenticationError");
    assert!(podman.containers(&tenant.slug).await.is_empty());
    assert_eq!(Ledger::of(&site).await.count("quotas").await, 0);
}

#[tokio::test]
async fn sqlite_conforms() {
    conforms(Site::new()).await;
}

#[tokio::test]
async fn postgresql_conforms() {
    conforms(Site::on_postgres().await).await;
}

/// Rows of the schema before this one.
async fn upgrades(site: Site) {
    std::fs::create_dir_all(site.data("")).unwrap();
    if !site.database().starts_with("postgres") {
        std::fs::write(site.data("podgate.db"), "").unwrap();
    }
    let ledger = Ledger::of(&site).await;
    let mut before = sqlx::migrate!("src/store/migrations");
    before.migrations = Cow::Owned(before.migrations.iter().take(5).cloned().collect());
    before.run(&ledger.0).await.unwrap();
    let old = [
        "INSERT INTO installation VALUES (1, 'anoldone', 1)",
        "INSERT INTO tenants (id, slug, created_ms) VALUES ('t1', 'acme', 1)",
        "INSERT INTO tenant_images VALUES ('t1', 'docker.io/library/alpine:latest')",
        "INSERT INTO quotas VALUES ('t1', 'containers', 7, 1)",
        "INSERT INTO containers (id, tenant_id, name, engine_id, state, image, image_id, created_by, created_ms)
         VALUES ('c1', 't1', 'web', 'a', 'ready', 'alpine', 'i', 'acme/alice', 1)",
        "INSERT INTO volumes (id, tenant_id, name, state, created_ms) VALUES ('v1', 't1', 'data', 'ready', 1)",
    ];
    for statement in old {
        ledger.execute(statement).await;
    }
    let id = "a".repeat(64);
    ledger.change("UPDATE containers SET engine_id = $1", &id).await;
    site.run(&["migrate"], "").succeeded();
    site.account("acme/alice", "operator");
    let gateway = site.start().await;
    let client = gateway.client(&site.token("acme/alice"));
    assert_eq!(client.listed().await, [("web".into(), "unknown".into())]);
    assert_eq!(client.used().await["containers"], 1);
    let read = client.get("/containers/web").await.ok()["container"].clone();
    assert_eq!((&read["labels"], &read["profile"]), (&json!({}), &json!("default")));
    assert_eq!(client.get("/containers?label=a=b").await.ok()["containers"], json!([]));
    client.delete("/containers/web?force=true").await.ok();
    client.delete("/volumes/data").await.ok();
    assert_eq!(client.used().await["containers"], 0);
}

#[tokio::test]
async fn sqlite_upgrades() {
    upgrades(Site::new()).await;
}

#[tokio::test]
async fn postgresql_upgrades() {
    upgrades(Site::on_postgres().await).await;
}

#[tokio::test]
async fn two_gateways_are_one() {
    let first = Site::on_postgres().await.set("quotas.containers", 10);
    let second = first.beside().set("quotas.containers", 10);
    let story = Story::at(first).await;
    let (client, other) = (&story.client, second.start().await);
    let there = other.client(client.token.as_ref().unwrap());
    // What one signed, made or was told, the other knows.
    client.create_sleeping("web").await;
    assert_eq!(there.exec("web", json!("echo hi")).await, "hi\n");
    there.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    let begun = Instant::now();
    eventually("that it is seen", || async { (client.status("web").await == "exited").then_some(()) }).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    client.delete("/containers/web").await.ok();
    there.get("/containers/web").await.refused(404, "PodmanAPIError");

    // Together they keep to the quota.
    let creates: Vec<_> = (0..40)
        .map(|number| {
            let client = if number % 2 == 0 { client.clone() } else { there.clone() };
            tokio::spawn(async move { client.try_create(&format!("c{number}"), json!({"start": false})).await.status })
        })
        .collect();
    let mut made = 0;
    for create in creates {
        match create.await.unwrap() {
            200 => made += 1,
            status => assert!(matches!(status, 403 | 429), "{status}"),
        }
    }
    assert_eq!((made, client.used().await["containers"]), (10, 10));

    // Access goes at once, everywhere.
    let ledger = Ledger::of(&story.site).await;
    ledger.change("UPDATE accounts SET disabled = 1 WHERE login = $1", &story.tenant.login("operator")).await;
    for client in [client, &there] {
        client.get("/containers").await.refused(401, "AuthenticationError");
    }
}

/// What a living gateway is in the middle of, no other one takes for what a crash left.
#[tokio::test]
async fn a_gateway_that_starts_leaves_the_others_work_alone() {
    let site = Site::on_postgres().await;
    let beside = site.beside();
    let story = Story::at(site).await;
    story.client.create_sleeping("web").await;
    let ledger = Ledger::of(&story.site).await;
    ledger.execute("UPDATE containers SET state = 'creating'").await;
    let other = beside.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ledger.count("containers").await, 1, "{}", other.log());
    // Once its gateway is dead for long, it is what a crash left.
    drop(story.gateway);
    ledger.execute("UPDATE gateways SET seen_ms = seen_ms - 60000").await;
    drop(other);
    let _other = beside.start().await;
    eventually("that it is taken back", || async { (ledger.count("containers").await == 0).then_some(()) }).await;
}

/// Hosts have clocks of their own: one that is ahead takes a living gateway for no dead one, and its own beats do not keep it
/// alive in the future.
#[tokio::test]
async fn gateways_whose_clocks_differ_leave_each_others_work_alone() {
    let story = Story::at(Site::on_postgres().await).await;
    story.client.create_sleeping("web").await;
    let ledger = Ledger::of(&story.site).await;
    ledger.execute("UPDATE containers SET state = 'creating'").await;
    #[allow(clippy::disallowed_methods)]
    let ahead = World { now: || time::OffsetDateTime::now_utc() + time::Duration::seconds(25), new_id: unique };
    #[allow(clippy::disallowed_methods)]
    let behind = World { now: || time::OffsetDateTime::now_utc() - time::Duration::seconds(25), new_id: unique };
    for (gateway, world) in [("ahead", ahead), ("behind", behind)] {
        let place = config::Store::Postgres(story.site.database().into());
        let metrics = podgate::metrics::Metrics::new();
        let store = Store::open(&place, gateway.into(), Default::default(), metrics, world).await.unwrap();
        store.beat().await.unwrap();
        assert_eq!(store.unsettled_containers().await.unwrap().len(), 0, "{gateway}");
        assert!(store.gateway_lives(&std::fs::read_to_string(story.site.data("gateway-id")).unwrap()).await.unwrap());
        let seen = "SELECT seen_ms FROM gateways WHERE id = $1";
        let seen: i64 = sqlx::query_scalar(seen).bind(gateway).fetch_one(&ledger.0).await.unwrap();
        let apart = (podgate::app::world().now_ms() - seen).abs();
        assert!(apart < 20_000, "{gateway} was heard {apart} ms from now");
    }
    ledger.execute("UPDATE containers SET state = 'ready'").await;
}
