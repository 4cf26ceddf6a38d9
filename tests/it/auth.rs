//! Signing in.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::Story;
use crate::support::gateway::PASSWORD;
use crate::tokens::claims;

#[tokio::test]
async fn a_password_buys_a_token() {
    let story = Story::begin().await;
    let login = story.tenant.login("operator");
    let answer = story.client.sign_in(&login, PASSWORD).await;
    let body = answer.ok();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = body["access_token"].as_str().unwrap();
    story.client.with_token(token).get("/containers").await.ok();
    let claims = claims(token);
    for claim in ["iss", "aud", "sub", "jti"] {
        assert!(claims[claim].as_str().is_some_and(|text| !text.is_empty()), "{claims}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    for secret in ["role", "tenant", "scope", "login"] {
        assert!(claims.get(secret).is_none(), "what an account may do is no claim: {claims}");
    }
    // The scheme's name has no case.
    let request =
        story.client.anonymous().request("GET", "/containers").header("authorization", format!("bEARER {token}"));
    story.client.send(request.body(crate::support::client::whole("")).unwrap()).await.ok();
}

#[tokio::test]
async fn the_oauth_form_speaks_oauth() {
    let story = Story::begin().await;
    let login = story.tenant.login("operator");
    let nobody = story.client.anonymous();
    let good = [("grant_type", "password"), ("username", &*login), ("password", PASSWORD)];
    let signed = nobody.post_form("/auth/token", &good).await;
    assert_eq!((signed.status, &signed.json()["token_type"]), (200, &json!("Bearer")));
    assert_eq!(signed.header("cache-control"), Some("no-store"));
    // What a client sends besides is ignored (RFC 6749, 3.2).
    let more = [&good[..], &[("client_id", "x"), ("scope", "")]].concat();
    assert_eq!(nobody.post_form("/auth/token", &more).await.status, 200);
    // But for what the token may do, which is told.
    let asked = nobody.post_form("/auth/token", &[&good[..], &[("scope", "containers:read")]].concat()).await.ok();
    let me = nobody.with_token(asked["access_token"].as_str().unwrap()).get("/auth/me").await.ok();
    let scopes: Vec<&str> = asked["scope"].as_str().unwrap().split(' ').collect();
    assert_eq!(me["account"]["scopes"], json!(scopes));

    let refusals: &[(&[(&str, &str)], &str)] = &[
        (&[("grant_type", "password"), ("username", &login), ("password", "wrong")], "invalid_grant"),
        (&[("grant_type", "password"), ("username", "nobody/here"), ("password", "wrong")], "invalid_grant"),
        (&[("grant_type", "magic"), ("username", &login), ("password", PASSWORD)], "unsupported_grant_type"),
        (&[("username", &login), ("password", PASSWORD)], "invalid_request"),
        (&[("grant_type", "password"), ("username", &login)], "invalid_request"),
        (&[("grant_type", "password"), ("grant_type", "password"), ("username", &login)], "invalid_request"),
        (&[], "invalid_request"),
    ];
    for (form, error) in refusals {
        let answer = nobody.post_form("/auth/token", form).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn nobody_learns_which_half_was_wrong() {
    let story = Story::begin().await;
    let login = story.tenant.login("operator");
    let mut answers = Vec::new();
    let long = "x".repeat(2000);
    for (username, password) in [
        (&*login, "wrong password"),
        (&*login, ""),
        (&*login, &*long),
        (&*story.tenant.login("nobody"), PASSWORD),
        ("nobody/nobody", PASSWORD),
        ("nobody", PASSWORD),
        ("no such / login", PASSWORD),
        ("", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        (&*login.to_uppercase(), PASSWORD),
    ] {
        let answer = story.client.sign_in(username, password).await;
        let error = answer.refused(401, "AuthenticationError");
        answers.push((error, answer.header("www-authenticate").map(str::to_owned)));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // RFC 6750, 3: no token was shown, so there is nothing wrong with one.
    assert_eq!(answers[0].1.as_deref(), Some("Bearer realm=\"podgate\""));
}

/// RFC 6750, 3.1: what a token lacks is said where clients look for it.
#[tokio::test]
async fn a_missing_scope_is_named_in_the_challenge() {
    let story = Story::begin().await;
    let lacks = |scope: &str| format!("Bearer realm=\"podgate\", error=\"insufficient_scope\", scope=\"{scope}\"");
    for (path, scope) in [("/accounts", "accounts"), ("/audit", "audit"), ("/tenants", "tenants")] {
        let refused = story.client.get(path).await;
        refused.refused(403, "PermissionError");
        assert_eq!(refused.header("www-authenticate"), Some(&*lacks(scope)));
    }
    // Another token would not do what this one may not.
    let refused = story.client.post("/containers", json!({"name": "c", "image": "quay.io/x/y"})).await;
    refused.refused(403, "PermissionError");
    assert_eq!(refused.header("www-authenticate"), None);
}

/// Hashing with what the defaults cost, so that the difference between a hash and none would be plain.
#[tokio::test]
async fn an_unknown_account_costs_as_much_as_a_known_one() {
    let site = crate::support::Site::new().set("auth.hash_memory_kib", 19456).set("auth.hash_passes", 2);
    let story = Story::at(site).await;
    let login = story.tenant.login("operator");
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        for (name, times) in [(&*login, &mut known), ("nobody/nobody", &mut unknown)] {
            let begun = std::time::Instant::now();
            story.client.sign_in(name, "wrong password").await.refused(401, "AuthenticationError");
            times.push(begun.elapsed());
        }
    }
    known.sort_unstable();
    unknown.sort_unstable();
    let (known, unknown) = (known[4], unknown[4]);
    assert!(unknown * 2 > known && known * 2 > unknown, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test]
async fn secrets_stay_where_they_are() {
    let story = Story::at(crate::support::Site::new().set("log.level", "trace")).await;
    let login = story.tenant.login("operator");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&story.site.data("")), 0o700);
    for entry in std::fs::read_dir(story.site.data("")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let signed = story.client.sign_in(&login, PASSWORD).await.ok();
    story.client.sign_in(&login, "a-wrong-password").await;
    let form = [("grant_type", "password"), ("username", &*login), ("password", "another-wrong-one")];
    story.client.post_form("/auth/token", &form).await;
    story.client.get("/containers?access_token=a-leaked-token").await;
    let log = story.gateway.logged("/api/v1/containers").await;
    assert!(log.contains("/api/v1/auth/token"), "requests are logged: {log}");
    let token = signed["access_token"].as_str().unwrap();
    for secret in [PASSWORD, "a-wrong-password", "another-wrong-one", token, "a-leaked-token", "argon2id"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// A bounded number of hashes at once; the rest is told to come back, and everything else goes on.
#[tokio::test]
async fn sign_ins_are_no_bomb() {
    let site = crate::support::Site::new()
        .set("auth.hash_memory_kib", 65536)
        .set("auth.hash_passes", 4)
        .set("auth.hash_threads", 1)
        .set("auth.hash_queue", 1);
    let story = Story::at(site).await;
    let storm: Vec<_> = (0..8)
        .map(|_| {
            let client = story.client.clone();
            tokio::spawn(async move { client.sign_in("nobody/nobody", "wrong password").await })
        })
        .collect();
    story.client.get("/containers").await.ok();
    let mut refused = 0;
    for answer in storm {
        let answer = answer.await.unwrap();
        if answer.status == 429 {
            answer.refused(429, "RateLimitError");
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        } else {
            answer.refused(401, "AuthenticationError");
        }
    }
    assert!((1..=6).contains(&refused), "{refused} of 8 were turned away");
    story.client.sign_in(&story.tenant.login("operator"), PASSWORD).await.ok();
}
