//! Passwords that somebody tries: how often, from where, and that nothing else tells right from wrong.

use std::time::Instant;

use serde_json::json;

use crate::support::client::whole;
use crate::support::gateway::PASSWORD;
use crate::support::{Answer, Client, Site, Story};

/// Hardly ever: three from an address for an account, six for an account, twelve from an address.
fn stingy() -> Site {
    let rates = [("address_sign_ins", 12), ("account_sign_ins_from_address", 3), ("account_sign_ins", 6)];
    let site = Site::new().set("limits.trusted_proxies", r#"["127.0.0.1"]"#);
    rates.into_iter().fold(site, |site, (name, burst)| {
        site.set(&format!("limits.{name}_per_minute"), 1).set(&format!("limits.{name}_burst"), burst)
    })
}

/// A sign-in from another address.
async fn from(address: &str, client: &Client, username: &str, password: &str) -> Answer {
    let request = client.anonymous().request("POST", "/auth/token").header("x-forwarded-for", address);
    let body = json!({"username": username, "password": password}).to_string();
    client.send(request.header("content-type", "application/json").body(whole(body)).unwrap()).await
}

/// Turned away; the words are everybody's.
fn is_turned_away(answer: &Answer) -> String {
    let error = answer.refused(429, "RateLimitError");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    error["message"].as_str().unwrap().replace(&wait.to_string(), "N")
}

#[tokio::test]
async fn right_and_wrong_passwords_run_out_alike() {
    let story = Story::at(stingy()).await;
    let login = story.tenant.login("operator");
    let mut words = Vec::new();
    for (address, username) in
        [("192.0.2.1", &*login), ("192.0.2.2", "nobody/nobody"), ("192.0.2.3", "no such / login")]
    {
        for _ in 0..3 {
            from(address, &story.client, username, "wrong password").await.refused(401, "AuthenticationError");
        }
        for password in [PASSWORD, "wrong password", &"x".repeat(2000)] {
            words.push(is_turned_away(&from(address, &story.client, username, password).await));
        }
    }
    words.dedup();
    assert_eq!(words, ["too many sign-ins; retry in N s"]);
    // Nobody else is concerned: the account from elsewhere, other accounts from there.
    from("192.0.2.4", &story.client, &login, PASSWORD).await.ok();
    from("192.0.2.1", &story.client, &story.tenant.login("other"), PASSWORD).await.refused(401, "AuthenticationError");
    // The other way to sign in, and the other way to try a password, count as well.
    let form = [("grant_type", "password"), ("username", &*login), ("password", PASSWORD)];
    let direct = [story.client.post_form("/auth/token", &form).await, story.client.sign_in(&login, "wrong").await];
    assert_eq!(direct.map(|answer| answer.status), [200, 401]);
    let change = json!({"password": "wrong password", "new_password": "a perfectly good password"});
    story.client.post("/auth/password", change.clone()).await.refused(403, "PermissionError");
    is_turned_away(&story.client.post("/auth/password", change).await);
}

#[tokio::test]
async fn guessing_from_everywhere_does_not_lock_the_owner_out() {
    let story = Story::at(stingy()).await;
    let login = story.tenant.login("operator");
    let home = "2001:db8:1::7";
    from(home, &story.client, &login, PASSWORD).await.ok();
    for host in 0..6 {
        let address = format!("198.51.100.{host}");
        let status = from(&address, &story.client, &login, "wrong password").await.status;
        assert!(status == 401 || host == 5 && status == 429, "{host}: {status}");
    }
    is_turned_away(&from("198.51.100.77", &story.client, &login, PASSWORD).await);
    // From where the account was used before, anywhere in its /64, it still may.
    from("2001:db8:1::8", &story.client, &login, PASSWORD).await.ok();
}

/// What is turned away costs no hash.
#[tokio::test]
async fn what_is_turned_away_is_not_hashed() {
    let story = Story::at(stingy().set("auth.hash_memory_kib", 65536).set("auth.hash_passes", 6)).await;
    let login = story.tenant.login("operator");
    let mut longest = std::time::Duration::ZERO;
    for _ in 0..3 {
        let begun = Instant::now();
        from("192.0.2.1", &story.client, &login, "wrong password").await.refused(401, "AuthenticationError");
        longest = longest.max(begun.elapsed());
    }
    let begun = Instant::now();
    for _ in 0..5 {
        is_turned_away(&from("192.0.2.1", &story.client, &login, "wrong password").await);
    }
    assert!(begun.elapsed() < longest, "five refusals took {:?}, a hash {longest:?}", begun.elapsed());
}
