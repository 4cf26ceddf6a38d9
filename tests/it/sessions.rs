//! How long what was issued is good: refresh tokens, signing out, changed accounts, new keys.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::gateway::PASSWORD;
use crate::support::{Client, Site, Story, eventually};

async fn refresh(client: &Client, token: &str) -> (u16, Value) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let answer = client.anonymous().post_form("/auth/token", &form).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    (answer.status, answer.json())
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}"))
}

#[tokio::test]
async fn a_session_goes_on_and_a_copied_token_ends_it() {
    let story = Story::begin().await;
    let signed = story.client.sign_in(&story.tenant.login("operator"), PASSWORD).await.ok();
    let (status, second) = refresh(&story.client, text(&signed, "refresh_token")).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(text(&signed, "refresh_token"), text(&second, "refresh_token"));
    let client = story.client.with_token(text(&second, "access_token"));
    client.get("/containers").await.ok();
    let (_, third) = refresh(&client, text(&second, "refresh_token")).await;

    // Somebody has a copy of the first.
    for replayed in [&signed, &second] {
        let (status, refused) = refresh(&client, text(replayed, "refresh_token")).await;
        assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    }
    assert_eq!(refresh(&client, text(&third, "refresh_token")).await.0, 400);
    client.get("/containers").await.refused(401, "AuthenticationError");
    story.gateway.logged("used twice").await;
    // Other sessions go on.
    story.client.get("/containers").await.ok();

    for nonsense in ["", "pgr_", "x", &"x".repeat(10_000), text(&third, "access_token")] {
        assert_eq!(refresh(&client, nonsense).await.0, 400, "{nonsense:.20}");
    }
}

#[tokio::test]
async fn signing_out_ends_what_was_issued() {
    let story = Story::begin().await;
    let login = story.tenant.login("operator");
    let signed = [story.client.sign_in(&login, PASSWORD).await.ok(), story.client.sign_in(&login, PASSWORD).await.ok()];
    let clients = signed.each_ref().map(|signed| story.client.with_token(text(signed, "access_token")));
    clients[0].post("/auth/logout", json!(null)).await.ok();
    clients[0].get("/containers").await.refused(401, "AuthenticationError");
    clients[0].post("/auth/logout", json!(null)).await.refused(401, "AuthenticationError");
    assert_eq!(refresh(&clients[0], text(&signed[0], "refresh_token")).await.0, 400);
    clients[1].get("/containers").await.ok();

    clients[1].post("/auth/logout?everywhere=true", json!(null)).await.ok();
    for client in [&clients[1], &story.client] {
        client.get("/containers").await.refused(401, "AuthenticationError");
    }
    assert_eq!(refresh(&clients[1], text(&signed[1], "refresh_token")).await.0, 400);
    story.client.sign_in(&login, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_session_has_an_end() {
    let story = Story::at(Site::new().set("auth.session_seconds", 60)).await;
    let signed = story.client.sign_in(&story.tenant.login("operator"), PASSWORD).await.ok();
    let ledger = crate::support::Ledger::of(&story.site).await;
    ledger.execute("UPDATE sessions SET expires_ms = expires_ms - 60000").await;
    assert_eq!(refresh(&story.client, text(&signed, "refresh_token")).await.0, 400);
    let client = story.client.with_token(text(&signed, "access_token"));
    client.get("/containers").await.refused(401, "AuthenticationError");
}

/// What the command line changes is so within a second, and old tokens do not come back with an account.
#[tokio::test]
async fn changed_accounts_start_anew() {
    let story = Story::begin().await;
    let login = story.tenant.login("operator");
    let account = |arguments: &[&str], stdin: &str| {
        let words = [&["account", arguments[0], &login], &arguments[1..]].concat();
        story.site.run(&words, stdin).succeeded()
    };
    let signed = story.client.sign_in(&login, PASSWORD).await.ok();
    let client = story.client.with_token(text(&signed, "access_token"));
    client.get("/containers").await.ok();
    account(&["disable"], "");
    client.get("/containers").await.refused(401, "AuthenticationError");
    story.client.sign_in(&login, PASSWORD).await.refused(401, "AuthenticationError");
    account(&["enable"], "");
    client.get("/containers").await.refused(401, "AuthenticationError");
    assert_eq!(refresh(&client, text(&signed, "refresh_token")).await.0, 400);

    let signed = story.client.sign_in(&login, PASSWORD).await.ok();
    account(&["role", "--role", "viewer"], "");
    story.client.with_token(text(&signed, "access_token")).get("/containers").await.refused(401, "AuthenticationError");
    let viewer = story.client.with_token(text(&story.client.sign_in(&login, PASSWORD).await.ok(), "access_token"));
    viewer.try_create("c", json!({})).await.refused(403, "PermissionError");
    assert_eq!(viewer.get("/auth/me").await.ok()["account"]["scopes"], json!(["containers:read", "status"]));

    account(&["password", "--password-stdin"], "another good password\n");
    story.client.sign_in(&login, PASSWORD).await.refused(401, "AuthenticationError");
    story.client.sign_in(&login, "another good password").await.ok();
    account(&["delete"], "");
    story.client.sign_in(&login, "another good password").await.refused(401, "AuthenticationError");
    let gone = story.site.run(&["account", "enable", &login], "");
    assert!(gone.code == 1 && gone.stderr.contains("no account"), "{}", gone.stderr);
}

#[tokio::test]
async fn somebody_runs_the_installation() {
    let story = Story::begin().await;
    for name in ["root", "deputy"] {
        story.site.account(name, "platform");
    }
    story.site.run(&["account", "disable", "root"], "").succeeded();
    for last in [&["account", "disable", "deputy"][..], &["account", "delete", "deputy"]] {
        let refused = story.site.run(last, "");
        assert!(refused.code == 1 && refused.stderr.contains("last platform"), "{}", refused.stderr);
    }
    for role in ["viewer", "admin"] {
        assert_eq!(story.site.run(&["account", "role", "deputy", "--role", role], "").code, 1);
    }
    let operator = story.tenant.login("operator");
    assert_eq!(story.site.run(&["account", "role", &operator, "--role", "platform"], "").code, 1);
    let me = story.gateway.client(&story.site.token("deputy")).get("/auth/me").await.ok()["account"].clone();
    assert_eq!((&me["role"], &me["tenant"]), (&json!("platform"), &Value::Null));
}

#[tokio::test]
async fn keys_change_and_tokens_stay() {
    let story = Story::begin().await;
    let nobody = story.client.anonymous();
    let published = async || nobody.get("/.well-known/jwks.json").await.json()["keys"].as_array().unwrap().clone();
    let first = published().await;
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0]["kty"], &first[0]["alg"]), (&json!("OKP"), &json!("EdDSA")));
    assert!(first[0].get("d").is_none(), "the private half is not published");
    assert!(story.site.run(&["key", "rotate"], "").succeeded().contains("from now on"));
    let begun = Instant::now();
    let both = eventually("both keys", || async { Some(published().await).filter(|keys| keys.len() == 2) }).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    story.client.get("/containers").await.ok();
    let signed = nobody.sign_in(&story.tenant.login("operator"), PASSWORD).await.ok();
    let header = text(&signed, "access_token").split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(header["kid"], both[0]["kid"]);
    assert_ne!(header["kid"], first[0]["kid"]);
    story.client.with_token(text(&signed, "access_token")).get("/containers").await.ok();
    // Once the old key is retired, what it signed is nothing.
    let ledger = crate::support::Ledger::of(&story.site).await;
    ledger.execute("UPDATE signing_keys SET retires_ms = 1 WHERE retires_ms IS NOT NULL").await;
    eventually("one key", || async { (published().await.len() == 1).then_some(()) }).await;
    story.client.get("/containers").await.refused(401, "AuthenticationError");
}

/// Anybody can name keys that do not exist; that keeps nobody from one that has just been made.
#[tokio::test]
async fn a_new_key_is_known_among_many_that_are_not() {
    let story = Story::begin().await;
    let storm: Vec<_> = (0..4)
        .map(|_| {
            let client = story.client.clone();
            tokio::spawn(async move {
                loop {
                    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": crate::support::gateway::unique()});
                    let header = URL_SAFE_NO_PAD.encode(header.to_string());
                    let forged = client.with_token(format!("{header}.e30.c2lnbmF0dXJl"));
                    forged.get("/containers").await.refused(401, "AuthenticationError");
                }
            })
        })
        .collect();
    for _ in 0..3 {
        story.site.run(&["key", "rotate"], "").succeeded();
        let token = story.site.token(&story.tenant.login("operator"));
        story.client.with_token(token).get("/containers").await.ok();
    }
    storm.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn a_secret_of_the_operators_can_sign() {
    let site = Site::new();
    let (tenant, file) = (site.tenant(), site.dir.join("secret"));
    let site = site.set("auth.hs256_secret_file", file.display());
    for short in [&b"too short\n"[..], &[0xff; 31], b""] {
        std::fs::write(&file, short).unwrap();
        let refused = site.run(&["check-config"], "");
        assert!(refused.code == 64 && refused.stderr.contains("auth.hs256_secret_file"), "{}", refused.stderr);
    }
    // Any bytes, whatever they mean as text; the end of a line is one of them only where it has to be.
    let random: Vec<u8> = (0..32).map(|_| rand::random()).chain([0xff, 0]).collect();
    let text = "0123456789abcdef0123456789abcdef";
    let ended = format!("{text}\r\n");
    let cases = [
        (random.as_slice(), random.as_slice()),
        (&[b'\n'; 32], &[b'\n'; 32]),
        (b"0123456789abcdef0123456789abcde\n", b"0123456789abcdef0123456789abcde\n"),
        (ended.as_bytes(), text.as_bytes()),
    ];
    for (content, secret) in cases {
        std::fs::write(&file, content).unwrap();
        let mut expected = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        expected.set_audience(&["podgate"]);
        let key = jsonwebtoken::DecodingKey::from_secret(secret);
        let verified = jsonwebtoken::decode::<Value>(&site.token(&tenant.login("operator")), &key, &expected);
        assert!(verified.is_ok(), "{content:?}: {verified:?}");
    }
    for content in [&random, text.as_bytes()] {
        std::fs::write(&file, content).unwrap();
        let gateway = site.start().await;
        let client = gateway.client(&site.token(&tenant.login("operator")));
        client.get("/containers").await.ok();
        let published = client.anonymous().get("/.well-known/jwks.json").await;
        assert_eq!(published.json(), json!({"keys": []}));
        // Another key would sign nothing.
        let refused = site.run(&["key", "rotate"], "");
        assert!(refused.code == 1 && refused.stderr.contains("auth.hs256_secret_file"), "{}", refused.stderr);
    }
}
