//! WebSockets: who may open one, and what ends it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::PASSWORD;
use crate::support::websocket::streams;
use crate::support::{Answer, Client, Ledger, Peer, Site, Story, eventually};

const PATH: &str = "/containers/web/attach";

/// A container to attach to.
async fn web(client: &Client) {
    client.create_sleeping("web").await;
}

async fn with_ticket(client: &Client, path: &str, ticket: &str) -> Result<Peer, Answer> {
    client.anonymous().upgrade(&format!("{path}?ticket={ticket}"), &[]).await
}

async fn refused(opened: Result<Peer, Answer>) {
    opened.err().expect("it must not open").refused(401, "AuthenticationError");
}

#[tokio::test]
async fn a_ticket_opens_one_websocket_once() {
    let story = Story::begin().await;
    let client = &story.client;
    web(client).await;
    client.create_sleeping("other").await;
    let ledger = Ledger::of(&story.site).await;

    let ticket = client.ticket(PATH).await;
    let peer = with_ticket(client, PATH, &ticket).await.expect("it opens");
    refused(with_ticket(client, PATH, &ticket).await).await;
    peer.leave().await;
    refused(with_ticket(client, PATH, &ticket).await).await;

    // On its route, and no other; trying another one uses it up.
    let ticket = client.ticket(PATH).await;
    refused(with_ticket(client, "/containers/other/attach", &ticket).await).await;
    refused(with_ticket(client, PATH, &ticket).await).await;

    // In its time.
    let ticket = client.ticket(PATH).await;
    ledger.execute("UPDATE tickets SET expires_ms = expires_ms - 30000").await;
    refused(with_ticket(client, PATH, &ticket).await).await;

    // One of many who try at once.
    let ticket = client.ticket(PATH).await;
    let tries = futures_util::future::join_all((0..8).map(|_| with_ticket(client, PATH, &ticket))).await;
    assert_eq!(tries.iter().filter(|opened| opened.is_ok()).count(), 1);

    for nonsense in ["", "pgt_", "x", &"x".repeat(5000), &format!("pgt_{}", "A".repeat(43))] {
        refused(with_ticket(client, PATH, nonsense).await).await;
    }
    // It is no token, and no token is a ticket.
    let ticket = client.ticket(PATH).await;
    client.with_token(&*ticket).get("/containers").await.refused(401, "AuthenticationError");
    client.anonymous().get(&format!("/containers?ticket={ticket}")).await.refused(401, "AuthenticationError");
    client.get(&format!("/containers?ticket={ticket}")).await.blames(&["ticket"]);
    refused(client.upgrade(&format!("{PATH}?ticket={ticket}"), &[]).await).await;
    refused(with_ticket(client, PATH, client.token.as_ref().unwrap()).await).await;
    // Only handshakes use one up.
    client.anonymous().get(&format!("{PATH}?ticket={ticket}")).await.refused(401, "AuthenticationError");
    assert!(with_ticket(client, PATH, &ticket).await.is_ok());
    assert_eq!(ledger.count("tickets").await, 1, "the one that expired is forgotten later");
    let log = story.gateway.log();
    assert!(!log.contains("pgt_") && !log.contains("ticket="), "tickets are not logged");

    for path in ["/containers", "/containers/web", "/api/v1/containers/web/attach", "containers/web/attach", "", "/x"] {
        client.post("/auth/tickets", json!({"path": path})).await.blames(&["path"]);
    }
    client.post("/auth/tickets", json!({"path": PATH, "method": "POST"})).await.blames(&["method"]);
}

/// What counts is what the records say when it is used.
#[tokio::test]
async fn a_ticket_is_no_better_than_who_got_it() {
    let story = Story::begin().await;
    web(&story.client).await;
    let login = story.tenant.login("operator");
    let signed_in = async || {
        let signed = story.client.sign_in(&login, PASSWORD).await.ok();
        story.client.with_token(signed["access_token"].as_str().unwrap())
    };
    // The session is over.
    let client = signed_in().await;
    let ticket = client.ticket(PATH).await;
    client.post("/auth/logout", json!(null)).await.ok();
    refused(with_ticket(&client, PATH, &ticket).await).await;
    // The key is revoked.
    let made = story.client.post("/api-keys", json!({"name": "k", "scopes": ["exec"]})).await.ok()["api_key"].clone();
    let key = story.client.with_token(made["key"].as_str().unwrap());
    let tickets = [key.ticket(PATH).await, key.ticket(PATH).await];
    assert!(with_ticket(&key, PATH, &tickets[0]).await.is_ok());
    story.client.delete(&format!("/api-keys/{}", made["id"].as_str().unwrap())).await.ok();
    refused(with_ticket(&key, PATH, &tickets[1]).await).await;
    // The scope is missing: told, as to anybody who has a token.
    story.site.account(&story.tenant.login("viewer"), "viewer");
    let viewer = story.gateway.client(&story.site.token(&story.tenant.login("viewer")));
    let ticket = viewer.ticket(PATH).await;
    with_ticket(&viewer, PATH, &ticket).await.err().unwrap().refused(403, "PermissionError");
    // The account is disabled, and it is no use to enable it again.
    let client = signed_in().await;
    let tickets = [client.ticket(PATH).await, client.ticket(PATH).await];
    story.site.run(&["account", "disable", &login], "").succeeded();
    refused(with_ticket(&client, PATH, &tickets[0]).await).await;
    story.site.run(&["account", "enable", &login], "").succeeded();
    refused(with_ticket(&client, PATH, &tickets[1]).await).await;
    // Another tenant's container is as absent as ever.
    let (_, stranger) = story.another();
    let ticket = stranger.ticket(PATH).await;
    with_ticket(&stranger, PATH, &ticket).await.err().unwrap().refused(404, "PodmanAPIError");
}

#[tokio::test]
async fn pages_of_strangers_open_nothing() {
    let site = Site::new().set("http.cors_origins", "[\"https://app.example.org\"]");
    let story = Story::at(site).await;
    let client = &story.client;
    web(client).await;
    let own = format!("http://{}", client.address);
    for origin in ["https://app.example.org", &own, ""] {
        assert!(client.upgrade(PATH, &[("origin", origin)]).await.is_ok(), "{origin}");
    }
    let ticket = client.ticket(PATH).await;
    for origin in
        ["https://evil.example", "null", "http://app.example.org", &format!("{own}0"), "https://app.example.org."]
    {
        let opened = client.upgrade(PATH, &[("origin", origin)]).await;
        opened.err().unwrap_or_else(|| panic!("{origin}")).refused(403, "PermissionError");
    }
    let anonymous = client.anonymous();
    let path = format!("{PATH}?ticket={ticket}");
    let stolen = anonymous.upgrade(&path, &[("origin", "https://evil.example")]).await;
    stolen.err().unwrap().refused(403, "PermissionError");
    // A ticket that a strange page had is worth nothing.
    refused(anonymous.upgrade(&path, &[]).await).await;
}

#[tokio::test]
async fn only_handshakes_reach_a_websocket() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    let plain = client.get(PATH).await;
    plain.refused(426, "ValidationError");
    for (header, value) in [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")] {
        assert_eq!(plain.header(header), Some(value));
    }
    for (name, value) in
        [("upgrade", ""), ("upgrade", "h2c"), ("connection", "keep-alive"), ("sec-websocket-version", "8")]
    {
        client.upgrade(PATH, &[(name, value)]).await.err().unwrap().refused(426, "ValidationError");
    }
    for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ==="] {
        let opened = client.upgrade(PATH, &[("sec-websocket-key", key)]).await;
        opened.err().unwrap().blames(&["Sec-WebSocket-Key"]);
    }
    client.upgrade(&format!("{PATH}?x=1"), &[]).await.err().unwrap().blames(&["x"]);
    client.post(PATH, json!(null)).await.refused(405, "ValidationError");
    assert!(client.upgrade(PATH, &[("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")]).await.is_ok());
}

#[tokio::test]
async fn guesses_are_counted() {
    let site = Site::new().set("limits.address_requests_per_second", 1).set("limits.address_burst", 5);
    let story = Story::at(site).await;
    web(&story.client).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(with_ticket(&story.client, PATH, "pgt_guess").await.err().unwrap().status);
    }
    assert!(answers[..5].iter().all(|status| *status == 401) && answers.contains(&429), "{answers:?}");
    // Who has a ticket is not turned away for it.
    let ticket = story.client.ticket(PATH).await;
    assert!(with_ticket(&story.client, PATH, &ticket).await.is_ok());
}

#[tokio::test]
async fn a_revocation_ends_what_is_open() {
    let story = Story::begin().await;
    web(&story.client).await;
    let login = story.tenant.login("operator");
    let admin = story.tenant.login("admin");
    story.site.account(&admin, "admin");
    let boss = story.gateway.client(&story.site.token(&admin));
    let mut stays = boss.websocket(PATH).await;
    let made = boss.post("/api-keys", json!({"name": "k"})).await.ok()["api_key"].clone();
    let key = boss.with_token(made["key"].as_str().unwrap());
    let signed_in = async || {
        let signed = story.client.sign_in(&login, PASSWORD).await.ok();
        story.client.with_token(signed["access_token"].as_str().unwrap())
    };
    let command = |words: &[&str]| {
        story.site.run(words, "").succeeded();
    };
    for way in ["logout", "disable", "role", "key", "key's scope"] {
        let client = if way.starts_with("key") { key.clone() } else { signed_in().await };
        let mut peer = client.websocket(PATH).await;
        let begun = Instant::now();
        match way {
            "logout" => drop(client.post("/auth/logout", json!(null)).await.ok()),
            "disable" => command(&["account", "disable", &login]),
            "role" => command(&["account", "role", &login, "--role", "viewer"]),
            // Its owner is demoted: the key stays, with less.
            "key's scope" => command(&["account", "role", &admin, "--role", "viewer"]),
            _ => {
                let id = made["id"].as_str().unwrap();
                boss.delete(&format!("/api-keys/{id}")).await.ok();
            }
        }
        let (code, reason) = peer.closed().await;
        assert!(code == 1008 && reason.starts_with("revoked"), "{way}: {code} {reason}");
        println!("{way}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{way}: {:?}", begun.elapsed());
        match way {
            "disable" => command(&["account", "enable", &login]),
            "role" => command(&["account", "role", &login, "--role", "operator"]),
            "key" => break,
            _ => {}
        }
    }
    // Others go on until it is their turn.
    assert_eq!(boss.used().await["streams"], 1);
    command(&["tenant", "delete", &story.tenant.slug]);
    let (code, _) = stays.closed().await;
    assert!(matches!(code, 1000 | 1008), "its container or its account is gone: {code}");
}

#[tokio::test]
async fn a_demoted_owners_key_loses_what_it_had_open() {
    let story = Story::begin().await;
    web(&story.client).await;
    let admin = story.tenant.login("admin");
    story.site.account(&admin, "admin");
    let boss = story.gateway.client(&story.site.token(&admin));
    let made = boss.post("/api-keys", json!({"name": "k"})).await.ok()["api_key"].clone();
    let key = boss.with_token(made["key"].as_str().unwrap());
    let mut peer = key.websocket(PATH).await;
    story.site.run(&["account", "role", &admin, "--role", "viewer"], "").succeeded();
    assert_eq!(peer.closed().await.0, 1008);
    key.get("/containers").await.ok();
}

#[tokio::test]
async fn a_drain_says_goodbye() {
    let mut story = Story::begin().await;
    web(&story.client).await;
    let mut peer = story.client.websocket(PATH).await;
    let mut deaf = story.client.websocket(PATH).await;
    let begun = Instant::now();
    story.gateway.terminate();
    let (code, reason) = peer.closed().await;
    assert!(code == 1001 && reason.starts_with("draining"), "{code} {reason}");
    // Even who does not answer holds it up no longer than the handshake may take.
    assert!(story.gateway.ended().await.success());
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert_eq!(deaf.closed().await.0, 1001);
}

#[tokio::test]
async fn a_tenant_has_so_many_streams() {
    let story = Story::begin().await;
    let client = &story.client;
    web(client).await;
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "streams=2"], "").succeeded();
    let [first, _second] = [client.websocket(PATH).await, client.websocket(PATH).await];
    let third = client.upgrade(PATH, &[]).await.err().unwrap();
    let message = third.refused(403, "QuotaError")["message"].clone();
    assert!(message.as_str().unwrap().contains("streams: 2 of 2"), "{message}");
    // A client that vanishes without a word gives its place back, too.
    drop(first);
    streams(client, 1).await;
    let _again = client.websocket(PATH).await;
}

#[tokio::test]
async fn tickets_and_revocations_know_no_gateways() {
    let site = Site::on_postgres().await;
    let beside = site.beside();
    let (here, there) = (Story::at(site).await, beside.start().await);
    web(&here.client).await;
    let elsewhere = Client { address: there.addresses[0], token: here.client.token.clone() };
    let ticket = here.client.ticket(PATH).await;
    let mut peer = with_ticket(&elsewhere, PATH, &ticket).await.expect("it opens at the other one");
    refused(with_ticket(&here.client, PATH, &ticket).await).await;
    here.client.post("/auth/logout?everywhere=true", json!(null)).await.ok();
    assert_eq!(peer.closed().await.0, 1008);
    eventually("nothing is open", || async { there.log().contains("a stream ended").then_some(()) }).await;
}
