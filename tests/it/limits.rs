//! How fast anybody may ask.

use crate::support::gateway::PASSWORD;
use crate::support::{Answer, Client, Site, Story, eventually};

/// draft-ietf-httpapi-ratelimit-headers: `"name";key=value;…`.
fn budget(answer: &Answer, header: &str) -> (String, Vec<u64>) {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}"));
    let mut parts = value.split(';');
    let name = parts.next().unwrap().trim_matches('"').to_owned();
    (name, parts.map(|part| part.split_once('=').unwrap().1.parse().unwrap()).collect())
}

/// A refusal for asking too fast, and when to come back.
fn is_turned_away(answer: &Answer) {
    answer.refused(429, "RateLimitError");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    let (_, left) = budget(answer, "ratelimit");
    assert_eq!(left, [0, wait]);
}

#[tokio::test]
async fn a_tenant_has_a_budget_of_its_own() {
    let site = Site::new().set("limits.requests_per_second", 1).set("limits.burst", 4);
    let story = Story::at(site).await;
    let (_, theirs) = story.another();
    for left in [3, 2, 1] {
        let answer = story.client.get("/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(budget(&answer, "ratelimit-policy"), ("tenant".into(), vec![4, 4]));
        let (name, now) = budget(&answer, "ratelimit");
        assert_eq!((name.as_str(), now.len()), ("tenant", 2));
        assert!(now[0] == left || now[0] == left + 1, "{now:?}");
    }
    // Errors count, and accounts of one tenant share.
    story.client.get("/containers/never-existed?nope").await;
    story.client.get("/nothing").await;
    story.site.account(&story.tenant.login("second"), "viewer");
    let second = story.gateway.client(&story.site.token(&story.tenant.login("second")));
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(second.get("/metrics").await);
    }
    let refused = answers.iter().find(|answer| answer.status == 429).expect("an end of the budget");
    is_turned_away(refused);
    assert_eq!(theirs.get("/metrics").await.status, 200, "another tenant is not concerned");
    // And after what it was told to wait, it may again.
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_eq!(story.client.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn an_account_leaves_its_neighbours_some() {
    let site = Site::new().set("limits.account_requests_per_second", 1).set("limits.account_burst", 3);
    let story = Story::at(site).await;
    story.site.account(&story.tenant.login("second"), "viewer");
    let second = story.gateway.client(&story.site.token(&story.tenant.login("second")));
    let refused = until_turned_away(|| story.client.get("/metrics")).await;
    is_turned_away(&refused);
    assert_eq!(budget(&refused, "ratelimit-policy"), ("account".into(), vec![3, 3]));
    assert_eq!(second.get("/metrics").await.status, 200, "another account of the tenant is not concerned");
}

/// A site whose addresses may ask five times, and then hardly ever.
fn stingy() -> Site {
    Site::new().set("limits.address_requests_per_second", 1).set("limits.address_burst", 5)
}

async fn until_turned_away(what: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..20 {
        let answer = what().await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("nobody was turned away");
}

#[tokio::test]
async fn an_address_without_a_valid_token_has_a_budget() {
    let story = Story::at(stingy()).await;
    let login = story.tenant.login("operator");
    let guesser = story.client.with_token("junk");
    let refused = until_turned_away(async || guesser.get("/containers").await).await;
    is_turned_away(&refused);
    assert_eq!(budget(&refused, "ratelimit-policy").0, "address");
    // Sign-in, documents and unknown paths come out of the same purse, with whatever token.
    is_turned_away(&story.client.sign_in(&login, PASSWORD).await);
    is_turned_away(&story.client.get("/health").await);
    is_turned_away(&story.client.anonymous().get("/nothing").await);
    // A valid token passes all the same.
    story.client.get("/containers").await.ok();
}

#[tokio::test]
async fn guessing_passwords_is_slow() {
    let story = Story::at(stingy()).await;
    let login = story.tenant.login("operator");
    let refused = until_turned_away(async || story.client.sign_in(&login, "wrong password").await).await;
    is_turned_away(&refused);
    // A valid token buys no guesses.
    let body = serde_json::json!({"username": login, "password": "wrong password"});
    is_turned_away(&story.client.post("/auth/token", body).await);
    story.client.get("/containers").await.ok();
}

/// Of several budgets, the headers tell of the one that turned the request away.
#[tokio::test]
async fn a_spent_budget_is_told_by_its_name() {
    let site = Site::new().set("limits.account_sign_ins_from_address_per_minute", 1);
    let story = Story::at(site.set("limits.account_sign_ins_from_address_burst", 2)).await;
    let login = story.tenant.login("operator");
    let refused = until_turned_away(async || story.client.sign_in(&login, "wrong password").await).await;
    is_turned_away(&refused);
    assert_eq!(budget(&refused, "ratelimit-policy"), ("sign-in".into(), vec![2, 120]));
    assert_eq!(budget(&refused, "ratelimit").0, "sign-in");
}

/// A tenant's record may say other than the configuration, whoever writes it.
#[tokio::test]
async fn a_tenant_may_have_a_rate_of_its_own() {
    let story = Story::begin().await;
    story.site.account("root", "platform");
    let platform = story.gateway.client(&story.site.token("root"));
    let path = format!("/tenants/{}", story.tenant.slug);
    let policy = async || budget(&story.client.get("/metrics").await, "ratelimit-policy");
    let usual = policy().await;
    let limits = serde_json::json!({"limits": {"requests_per_second": 2, "burst": 6}});
    let said = platform.call("PATCH", &path, Some(limits.clone())).await.ok();
    assert_eq!(said["tenant"]["limits"], limits["limits"]);
    eventually("the tenant's own rate", async || (policy().await == ("tenant".into(), vec![6, 3])).then_some(())).await;
    is_turned_away(&until_turned_away(async || story.client.get("/metrics").await).await);
    let (_, theirs) = story.another();
    assert_eq!(budget(&theirs.get("/metrics").await, "ratelimit-policy"), usual);
    // The command line says the same, and what it leaves out is the configuration's again.
    let allow = ["tenant", "allow", &story.tenant.slug, "--limit", "requests_per_second=500", "--limit", "burst=1000"];
    story.site.run(&allow, "").succeeded();
    eventually("more", async || (policy().await == ("tenant".into(), vec![1000, 2])).then_some(())).await;
    let none = serde_json::json!({"limits": {}});
    platform.call("PATCH", &path, Some(none)).await.ok();
    eventually("the usual rate", async || (policy().await == usual).then_some(())).await;
}

async fn from(client: &Client, forwarded: &str) -> Answer {
    let request = client.request("GET", "/containers").header("x-forwarded-for", forwarded);
    client.send(request.body(crate::support::client::whole("")).unwrap()).await
}

#[tokio::test]
async fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
    let story = Story::at(stingy()).await;
    let nobody = story.client.anonymous();
    let mut claimed = (1..).map(|last| format!("192.0.2.{last}"));
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(from(&nobody, &claimed.next().unwrap()).await.status);
    }
    assert!(statuses.contains(&429), "a new claimed address buys nothing: {statuses:?}");
    drop(story);

    let story = Story::at(stingy().set("limits.trusted_proxies", r#"["127.0.0.1", "10.0.0.0/8"]"#)).await;
    let nobody = story.client.anonymous();
    let refused = until_turned_away(async || from(&nobody, "198.51.100.7").await).await;
    is_turned_away(&refused);
    from(&nobody, "198.51.100.8").await.refused(401, "AuthenticationError");
    // Read from the right: what stands left of the first untrusted hop anybody may have written.
    is_turned_away(&from(&nobody, "203.0.113.1, 198.51.100.7").await);
    is_turned_away(&from(&nobody, "203.0.113.2, 198.51.100.7, 10.1.2.3").await);
    // One host owns a whole /64.
    let mut host = (1..).map(|last| format!("2001:db8::{last:x}"));
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(from(&nobody, &host.next().unwrap()).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    from(&nobody, "2001:db8:0:1::1").await.refused(401, "AuthenticationError");
}

/// A probe behind the balancer, or the NAT, of whoever floods must not find a healthy gateway dead.
#[tokio::test]
async fn probes_are_answered_whoever_floods() {
    let story = Story::at(stingy()).await;
    let stranger = story.client.anonymous();
    until_turned_away(|| stranger.get("/nothing")).await;
    for path in ["/livez", "/readyz"] {
        for _ in 0..8 {
            let answer = stranger.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(answer.header("ratelimit"), None);
        }
    }
    is_turned_away(&stranger.get("/nothing").await);
}
