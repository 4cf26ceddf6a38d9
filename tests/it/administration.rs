//! Accounts and tenants by the API, and who may not.

use serde_json::{Value, json};

use crate::support::gateway::PASSWORD;
use crate::support::{ALPINE, Client, Story, eventually};

const GOOD: &str = "a perfectly good password";

impl Client {
    /// Signed in, with another token.
    async fn as_account(&self, login: &str, password: &str) -> Client {
        let signed = self.sign_in(login, password).await.ok();
        self.with_token(signed["access_token"].as_str().unwrap())
    }
}

fn admin(story: &Story) -> Client {
    story.site.account(&story.tenant.login("admin"), "admin");
    story.gateway.client(&story.site.token(&story.tenant.login("admin")))
}

fn platform(story: &Story) -> Client {
    story.site.account("root", "platform");
    story.gateway.client(&story.site.token("root"))
}

#[tokio::test]
async fn a_tenants_admin_manages_its_accounts() {
    let story = Story::begin().await;
    let admin = admin(&story);
    let made = admin.post("/accounts", json!({"name": "bob", "role": "operator", "password": GOOD})).await.ok();
    assert_eq!(made["account"]["username"], story.tenant.login("bob"));
    let bob = admin.as_account(&story.tenant.login("bob"), GOOD).await;
    bob.create_sleeping("c").await;
    admin.call("PATCH", "/accounts/bob", Some(json!({"role": "viewer"}))).await.ok();
    bob.get("/containers").await.refused(401, "AuthenticationError");
    let bob = admin.as_account(&story.tenant.login("bob"), GOOD).await;
    bob.delete("/containers/c?force=true").await.refused(403, "PermissionError");
    admin.call("PATCH", "/accounts/bob", Some(json!({"disabled": true}))).await.ok();
    bob.get("/containers").await.refused(401, "AuthenticationError");
    let listed = admin.get("/accounts").await.ok();
    let names: Vec<_> = listed["accounts"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["admin", "bob", "operator"]);
    assert!(!listed.to_string().contains("argon2"), "{listed}");
    admin.delete("/accounts/bob").await.ok();
    admin.delete("/accounts/bob").await.refused(404, "PodmanAPIError");

    for (body, field) in [
        (json!({"name": "Bob", "role": "viewer", "password": GOOD}), "name"),
        (json!({"name": "bob", "role": "root", "password": GOOD}), "role"),
        (json!({"name": "bob", "role": "platform", "password": GOOD}), "role"),
        (json!({"name": "bob", "role": "viewer", "password": "short"}), "password"),
        (json!({"name": "bob", "role": "viewer", "password": GOOD, "tenant": "other"}), "tenant"),
        (json!({"name": "bob", "role": "viewer", "password": GOOD, "tenant_id": "x"}), "tenant_id"),
        (json!({"name": "bob", "role": "viewer", "password": GOOD, "scopes": ["tenants"]}), "scopes"),
    ] {
        admin.post("/accounts", body).await.blames(&[field]);
    }
    admin
        .post("/accounts", json!({"name": "operator", "role": "viewer", "password": GOOD}))
        .await
        .refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn nobody_raises_themselves() {
    let story = Story::begin().await;
    let admin = admin(&story);
    let operator = &story.client;
    for role in ["admin", "platform"] {
        let change = Some(json!({"role": role}));
        operator.call("PATCH", "/accounts/operator", change.clone()).await.refused(403, "PermissionError");
        let own = admin.call("PATCH", "/accounts/admin", change).await;
        assert!(matches!(own.status, 400 | 403), "{}", own.text());
    }
    admin.call("PATCH", "/accounts/operator", Some(json!({"role": "platform"}))).await.blames(&["role"]);
    admin.delete("/accounts/admin").await.refused(403, "PermissionError");
    admin.get("/tenants").await.refused(403, "PermissionError");
    // Another tenant's accounts are not there.
    let (neighbour, _) = story.another();
    for name in [neighbour.login("operator"), format!("..%2F{}%2Foperator", neighbour.slug)] {
        let answer = admin.call("PATCH", &format!("/accounts/{name}"), Some(json!({"disabled": true}))).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    // A key with few scopes gives no more than it holds, and takes over nobody who holds more.
    let made = admin.post("/api-keys", json!({"name": "k", "scopes": ["accounts", "containers:read", "status"]})).await;
    let key = admin.with_token(made.ok()["api_key"]["key"].as_str().unwrap());
    let account = |role: &str| json!({"name": "eve", "role": role, "password": GOOD});
    key.post("/accounts", account("admin")).await.refused(403, "PermissionError");
    key.post("/accounts", account("operator")).await.refused(403, "PermissionError");
    key.call("PATCH", "/accounts/operator", Some(json!({"password": GOOD}))).await.refused(403, "PermissionError");
    key.post("/accounts", account("viewer")).await.ok();
    assert_eq!(admin.get("/auth/me").await.ok()["account"]["role"], "admin");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let story = Story::begin().await;
    let login = story.tenant.login("operator");
    let client = story.client.as_account(&login, PASSWORD).await;
    let change = |old: &str, new: &str| json!({"password": old, "new_password": new});
    client.post("/auth/password", change("wrong", GOOD)).await.refused(403, "PermissionError");
    client.post("/auth/password", change(PASSWORD, "short")).await.blames(&["new_password"]);
    client.post("/auth/password", change(PASSWORD, GOOD)).await.ok();
    client.get("/containers").await.refused(401, "AuthenticationError");
    story.client.sign_in(&login, PASSWORD).await.refused(401, "AuthenticationError");
    story.client.sign_in(&login, GOOD).await.ok();
}

#[tokio::test]
async fn the_platform_manages_tenants() {
    let story = Story::begin().await;
    let platform = platform(&story);
    let slug = crate::support::gateway::unique();
    let path = format!("/tenants/{slug}");
    let wanted = json!({
        "slug": slug, "images": [ALPINE], "aliases": {"al": ALPINE}, "quotas": {"containers": 1},
    });
    let made = platform.post("/tenants", wanted.clone()).await.ok()["tenant"].clone();
    assert_eq!((&made["images"], &made["aliases"]), (&json!([ALPINE]), &json!({"al:latest": ALPINE})));
    platform.post("/tenants", wanted).await.refused(409, "PodmanAPIError");
    let account = json!({"name": "boss", "role": "admin", "password": GOOD});
    platform.post(&format!("{path}/accounts"), account).await.ok();
    let boss = platform.as_account(&format!("{slug}/boss"), GOOD).await;
    boss.create(json!({"name": "one", "image": "al", "command": "sleep 300"})).await;
    boss.post("/containers", json!({"name": "two", "image": "al"})).await.refused(403, "QuotaError");
    // What is named is replaced, the rest stays.
    let changed = platform.call("PATCH", &path, Some(json!({"quotas": {"volumes": 1}, "images": []}))).await.ok();
    assert_eq!(changed["tenant"]["images"], json!([]));
    let limit = |name: &str| {
        let usage = changed["tenant"]["usage"].as_array().unwrap();
        usage.iter().find(|one| one["resource"] == name).unwrap()["limit"].clone()
    };
    assert_eq!((limit("containers"), limit("volumes")), (json!(20), json!(1)));
    boss.post("/containers", json!({"name": "two", "image": "al"})).await.refused(403, "PermissionError");
    for (body, field) in [
        (json!({"images": ["alpine"]}), "images"),
        (json!({"profiles": ["nosuch"]}), "profiles"),
        (json!({"quotas": {"money": 1}}), "quotas"),
        (json!({"quotas": {"volumes": -1}}), "quotas"),
        (json!({"aliases": {"al": "al"}}), "aliases"),
        (json!({"slug": "other"}), "slug"),
    ] {
        platform.call("PATCH", &path, Some(body)).await.blames(&[field]);
    }
    let listed = platform.get("/tenants").await.ok();
    assert!(listed["tenants"].as_array().unwrap().contains(&json!({"slug": slug, "deleting": false})), "{listed}");
    platform.get("/tenants/nosuch").await.refused(404, "PodmanAPIError");
    // It goes with everything, and says how far it is.
    let deleted = platform.delete(&path).await.ok()["tenant"].clone();
    assert_eq!(deleted["deleting"], true);
    boss.get("/containers").await.refused(401, "AuthenticationError");
    eventually("its end", || async { (platform.get(&path).await.status == 404).then_some(()) }).await;
    assert!(story.podman.containers(&slug).await.is_empty());
}

#[tokio::test]
async fn platform_administrators_manage_each_other() {
    let story = Story::begin().await;
    let root = platform(&story);
    root.post("/accounts", json!({"name": "deputy", "role": "admin", "password": GOOD})).await.blames(&["role"]);
    root.post("/accounts", json!({"name": "deputy", "role": "platform", "password": GOOD})).await.ok();
    let deputy = root.as_account("deputy", GOOD).await;
    deputy.call("PATCH", "/accounts/root", Some(json!({"disabled": true}))).await.ok();
    root.get("/tenants").await.refused(401, "AuthenticationError");
    deputy.delete("/accounts/deputy").await.refused(403, "PermissionError");
    assert_eq!(deputy.get("/accounts").await.ok()["accounts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_class_is_imported_whole_or_not_at_all() {
    let story = Story::begin().await;
    let (one, two) = (crate::support::gateway::unique(), crate::support::gateway::unique());
    let file = story.site.dir.join("class.csv");
    let import = |text: &str| {
        std::fs::write(&file, text).unwrap();
        story.site.run(&["class", "import", file.to_str().unwrap(), "--image", ALPINE], "")
    };
    let lines = format!("tenant,account,role\n# first year\n{one},ann\n{two},bob,viewer\n{one},tutor,admin\n");
    let wrong = import(&format!("{lines}{one},ann\nx\n{two},Eve\n{two},eve,platform\n"));
    assert_eq!(wrong.code, 1);
    for line in ["line 6", "line 7", "line 8", "line 9"] {
        assert!(wrong.stderr.contains(line), "{line}: {}", wrong.stderr);
    }
    assert_eq!(story.site.run(&["tenant", "show", &one], "").code, 1, "nothing was made");
    let printed = import(&lines).succeeded();
    let credentials: Vec<(&str, &str)> = printed.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    let names: Vec<_> = credentials.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [format!("{one}/ann"), format!("{two}/bob"), format!("{one}/tutor")]);
    for (name, password) in &credentials {
        let me = story.client.as_account(name, password).await.get("/auth/me").await.ok();
        assert_ne!(me["account"]["role"], Value::Null);
    }
    let again = import(&lines);
    assert!(again.code == 1 && again.stderr.contains(&format!("{two}/bob")), "{}", again.stderr);
    for slug in [&one, &two] {
        story.site.run(&["tenant", "delete", slug], "").succeeded();
    }
}
