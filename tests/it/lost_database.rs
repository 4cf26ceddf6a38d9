//! Connections to the database that are lost without a word: no end, no reset, no answer, as after a failover behind an
//! address or behind a router that forgot them.

use std::time::Duration;

use serde_json::json;

use crate::support::between::Between;
use crate::support::client::whole;
use crate::support::{Client, Ledger, Site, Story, eventually};

/// On threads of their own: the way to the database must go on while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_go_on_without_the_connections_that_were_lost() {
    let mut site = Site::on_postgres().await;
    let between = Between::start(&site.database()).await;
    site.put("store.url", &between.url);
    let story = Story::at(site).await;
    let (client, ledger) = (&story.client, Ledger::of(&story.site).await);
    client.create_sleeping("web").await;
    // So that more of them stand than the log's own.
    let asked: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { client.get("/usage").await.ok() }
            })
        })
        .collect();
    for one in asked {
        one.await.unwrap();
    }
    between.freeze_what_stands();

    let heard =
        async || -> i64 { sqlx::query_scalar("SELECT MAX(seen_ms) FROM gateways").fetch_one(&ledger.0).await.unwrap() };
    let before = heard().await;
    let work = async {
        while client.post("/containers/web/exec", json!({"command": "touch /there"})).await.status != 200 {}
        while client.post("/containers/web/stop?timeout=0", json!(null)).await.status != 200 {}
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("changes are possible again");
    eventually("that the gateway is heard again", || async { (heard().await > before + 1000).then_some(()) }).await;
    let client = story.gateway.client(&story.site.token(&story.tenant.login("operator")));
    client.delete("/containers/web").await.ok();
    assert_eq!(client.listed().await.len(), 0);
    // What was done has its entry and its outcome, and the chain is whole.
    let told = ledger.audited(0).await;
    for verb in ["execInContainer", "stopContainer", "removeContainer"] {
        assert!(told.iter().any(|one| one.brief()[1] == verb && one.brief()[3] == "success"), "{verb}: {told:?}");
    }
    story.site.run(&["audit", "verify"], "").succeeded();
}

/// A store that takes nothing for a while: as soon as it does again, the log counts as written, without anybody's asking.
#[tokio::test]
async fn the_log_is_writable_as_soon_as_the_store_is() {
    let site = Site::new().set("operator.listen", "127.0.0.1:0");
    let story = Story::at(site).await;
    let operator = Client { address: story.gateway.operator(), token: None };
    let is_writable = async || {
        let request = hyper::Request::builder().uri("/metrics").header("host", "x").body(whole("")).unwrap();
        operator.send(request).await.text().lines().any(|line| line == "podgate_audit_writable 1")
    };
    assert!(is_writable().await);
    let ledger = Ledger::of(&story.site).await;
    let mut held = ledger.0.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *held).await.unwrap();
    story.client.post("/volumes", json!({"name": "data"})).await.refused(503, "PodmanAPIError");
    assert!(!is_writable().await);
    sqlx::query("ROLLBACK").execute(&mut *held).await.unwrap();
    eventually("that it is written", || async { is_writable().await.then_some(()) }).await;
}

/// A connection may be lost in the middle of a question, too: whatever the gateway asks by itself is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_without_an_answer_is_asked_again() {
    let mut site = Site::on_postgres().await;
    let direct = Ledger::at(&site.database()).await.unwrap();
    let between = Between::start(&site.database()).await;
    site.put("store.url", &between.url);
    let story = Story::at(site).await;
    let mut held = direct.0.begin().await.unwrap();
    sqlx::query("LOCK TABLE tenant_limits IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM tenant_limits%'";
    eventually("a question about rates", || async {
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&direct.0).await.unwrap();
        (waiting > 0).then_some(())
    })
    .await;
    between.freeze_what_stands();
    held.rollback().await.unwrap();
    let limits = ["--limit", "requests_per_second=1", "--limit", "burst=4"];
    story.site.run(&[&["tenant", "allow", &story.tenant.slug][..], &limits].concat(), "").succeeded();
    eventually("that the tenant is slower", || async {
        for _ in 0..8 {
            if story.client.get("/volumes").await.status == 429 {
                return Some(());
            }
        }
        None
    })
    .await;
}
