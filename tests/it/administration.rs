//! Accounts and tenants by the API, and who may not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::PASSWORD;
use crate::support::gateway::program;
use crate::support::{ALPINE, Client, Ledger, Site, Story, eventually};

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
        "limits": {"expires_seconds": 3600, "container_pids": 50},
    });
    let made = platform.post("/tenants", wanted.clone()).await.ok()["tenant"].clone();
    assert_eq!((&made["images"], &made["aliases"]), (&json!([ALPINE]), &json!({"al:latest": ALPINE})));
    assert_eq!(made["limits"], json!({"expires_seconds": 3600, "container_pids": 50}));
    assert_eq!(made["quotas"], json!({"containers": 1}));
    platform.post("/tenants", wanted).await.refused(409, "PodmanAPIError");
    let account = json!({"name": "boss", "role": "admin", "password": GOOD});
    platform.post(&format!("{path}/accounts"), account).await.ok();
    let boss = platform.as_account(&format!("{slug}/boss"), GOOD).await;
    boss.create(json!({"name": "one", "image": "al", "command": "sleep 300"})).await;
    boss.post("/containers", json!({"name": "two", "image": "al"})).await.refused(403, "QuotaError");
    // What is named is replaced, the rest stays.
    let changed = platform.call("PATCH", &path, Some(json!({"quotas": {"volumes": 1}, "images": []}))).await.ok();
    assert_eq!(changed["tenant"]["images"], json!([]));
    assert_eq!(changed["tenant"]["limits"], made["limits"]);
    let limit = |name: &str| {
        let usage = changed["tenant"]["usage"].as_array().unwrap();
        usage.iter().find(|one| one["resource"] == name).unwrap()["limit"].clone()
    };
    assert_eq!((limit("containers"), limit("volumes")), (json!(20), json!(1)));
    assert_eq!(changed["tenant"]["quotas"], json!({"volumes": 1}));
    // Also what is of this moment, as the tenant itself sees it.
    let quotas = json!({"volumes": 1, "execs": 5, "streams": 7});
    let changed = platform.call("PATCH", &path, Some(json!({"quotas": quotas}))).await.ok();
    assert_eq!(platform.get(&path).await.ok()["tenant"]["quotas"], quotas);
    assert_eq!(changed["tenant"]["usage"], boss.get("/usage").await.ok()["usage"]);
    boss.post("/containers", json!({"name": "two", "image": "al"})).await.refused(403, "PermissionError");
    for (body, field) in [
        (json!({"images": ["alpine"]}), "images"),
        (json!({"profiles": ["nosuch"]}), "profiles"),
        (json!({"quotas": {"money": 1}}), "quotas.money"),
        (json!({"quotas": {"volumes": -1}}), "quotas.volumes"),
        (json!({"quotas": {"volumes": 1e30}}), "quotas.volumes"),
        (json!({"quotas": {"volumes": 9_223_372_036_854_775_808_u64}}), "quotas.volumes"),
        (json!({"limits": {"nonsense": 1}}), "limits.nonsense"),
        (json!({"limits": {"expires_seconds": 0}}), "limits.expires_seconds"),
        (json!({"limits": {"burst": 0}}), "limits.burst"),
        (json!({"aliases": {"al": "al"}}), "aliases"),
        (json!({"slug": "other"}), "slug"),
    ] {
        platform.call("PATCH", &path, Some(body)).await.blames(&[field]);
    }
    let both = json!({"quotas": {"volumes": -1, "money": 1}, "limits": {"burst": 0}});
    platform.call("PATCH", &path, Some(both)).await.blames(&["quotas.volumes", "quotas.money", "limits.burst"]);
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
    let wrong = import(&format!("{lines}{one},ann\nx\n{two},Eve\n{two},eve,platform\n{two},eve,boss\n"));
    assert_eq!(wrong.code, 1);
    for line in ["line 6", "line 7", "line 8", "line 9", "line 10: a role is one of viewer, operator, admin\n"] {
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
    // The tenant's administrator reads who made its accounts.
    let (_, password) = credentials.iter().find(|(name, _)| name.ends_with("/tutor")).unwrap();
    let tutor = story.client.as_account(&format!("{one}/tutor"), password).await;
    let told = tutor.get("/audit?verb=createAccount").await.ok();
    let mut told: Vec<_> = told["entries"].as_array().unwrap().iter().map(|entry| &entry["object"]["name"]).collect();
    told.sort_by_key(|name| name.to_string());
    assert_eq!(told, [&json!(format!("{one}/ann")), &json!(format!("{one}/tutor"))]);
    // As a spreadsheet writes it, for those who came later.
    let late = import(&format!("\u{feff}# second term\r\n\"Tenant\",\"Account\",\"Role\"\r\n\"{one}\",\"late\",\r\n"));
    assert!(late.stderr.contains("stay as they are") && late.stderr.contains(one.as_str()), "{}", late.stderr);
    let late = late.succeeded();
    assert!(late.lines().nth(1).unwrap().starts_with(&format!("{one}/late,")), "{late}");
    let again = import(&lines);
    assert!(again.code == 1 && again.stderr.contains(&format!("{two}/bob")), "{}", again.stderr);
    for slug in [&one, &two] {
        story.site.run(&["tenant", "delete", slug], "").succeeded();
    }
}

/// An account is made only after its password was printed.
#[tokio::test]
async fn a_class_that_nobody_would_see_is_not_made() {
    let story = Story::begin().await;
    let slug = crate::support::gateway::unique();
    let file = story.site.dir.join("class.csv");
    std::fs::write(&file, format!("{slug},ann\n")).unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut import = program();
    import.args(["class", "import"]).arg(&file).arg("--config").arg(story.site.dir.join("podgate.toml"));
    let done = import.stdout(full).output().unwrap();
    assert!(!done.status.success() && String::from_utf8_lossy(&done.stderr).contains("nothing was made"));
    assert_eq!(story.site.run(&["tenant", "show", &slug], "").code, 1);
}

/// Two who take each other away at the same moment leave one.
async fn somebody_stays(clients: [(&Client, &str); 2], site: &Site) {
    let ledger = Ledger::of(site).await;
    for round in 0..10 {
        for (_, name) in clients {
            let arguments = ["account", "create", name, "--role", "platform", "--password-stdin"];
            site.run(&arguments, PASSWORD);
        }
        let [first, second] = clients.map(|(client, name)| (client.with_token(site.token(name)), name));
        let take_away = async |who: &Client, whom: &str| {
            let path = format!("/accounts/{whom}");
            match round % 2 {
                0 => who.delete(&path).await,
                _ => who.call("PATCH", &path, Some(json!({"disabled": true}))).await,
            }
        };
        let (one, other) = tokio::join!(take_away(&first.0, second.1), take_away(&second.0, first.1));
        for answer in [&one, &other] {
            assert!(matches!(answer.status, 200 | 401 | 409), "{}", answer.text());
        }
        let enabled = "SELECT COUNT(*) FROM accounts WHERE role = 'platform' AND disabled = 0";
        let left: i64 = sqlx::query_scalar(enabled).fetch_one(&ledger.0).await.unwrap();
        assert!(left >= 1, "round {round}: {} {}", one.text(), other.text());
        ledger.execute("UPDATE accounts SET disabled = 0").await;
    }
}

#[tokio::test]
async fn somebody_stays_on_sqlite() {
    let story = Story::begin().await;
    somebody_stays([(&story.client, "root"), (&story.client, "deputy")], &story.site).await;
}

#[tokio::test]
async fn somebody_stays_on_postgresql() {
    let first = Site::on_postgres().await;
    let second = first.beside();
    let story = Story::at(first).await;
    let other = second.start().await;
    let there = other.client(story.client.token.as_ref().unwrap());
    somebody_stays([(&story.client, "root"), (&there, "deputy")], &story.site).await;
}

/// On two gateways over one PostgreSQL: what one is told, the other does at the next request.
#[tokio::test]
async fn access_ends_everywhere() {
    let first = Site::on_postgres().await;
    let second = first.beside();
    let story = Story::at(first).await;
    let other = second.start().await;
    story.site.account("root", "platform");
    let root = story.client.with_token(story.site.token("root"));
    let accounts = ["disabled", "demoted", "changed", "removed", "member"];
    let there = accounts.map(|name| {
        story.site.account(&story.tenant.login(name), "admin");
        other.client(&story.site.token(&story.tenant.login(name)))
    });
    // Both gateways have seen every token.
    for client in &there {
        client.get("/containers").await.ok();
        story.client.with_token(client.token.as_ref().unwrap()).get("/containers").await.ok();
    }
    let slug = &story.tenant.slug;
    let path = |name: &str| format!("/tenants/{slug}/accounts/{name}");
    let patch = async |name: &str, body| root.call("PATCH", &path(name), Some(body)).await.ok();
    let ended = async |client: &Client, why: &str| {
        let begun = Instant::now();
        let status = client.get("/containers").await.status;
        assert!(matches!(status, 401 | 403), "{why}: {status}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{why}: {:?}", begun.elapsed());
    };
    patch("disabled", json!({"disabled": true})).await;
    ended(&there[0], "disabled").await;
    patch("demoted", json!({"role": "viewer"})).await;
    ended(&there[1], "demoted").await;
    patch("changed", json!({"password": "another good password"})).await;
    ended(&there[2], "another password").await;
    root.delete(&path("removed")).await.ok();
    ended(&there[3], "removed").await;
    there[4].get("/containers").await.ok();
    assert!(matches!(root.delete(&format!("/tenants/{slug}")).await.status, 200 | 202));
    ended(&there[4], "without a tenant").await;
}

/// Who sets another password, or locks the account, while its owner changes the password has the last word.
#[tokio::test]
async fn an_own_password_does_not_undo_what_others_did_meanwhile() {
    use podgate::config;
    use podgate::domain::{Kind, Login};
    use podgate::store::{Deed, Object, Store};

    let story = Story::begin().await;
    let admin = admin(&story);
    let place = config::Store::Sqlite(story.site.data("podgate.db"));
    let metrics = podgate::metrics::Metrics::new();
    let world = podgate::app::world();
    let store = Store::open(&place, "me".into(), Default::default(), metrics, world).await.unwrap();
    let login = Login::parse(&story.tenant.login("operator")).unwrap();
    let deed = Deed::of_the_system("changePassword", Object::of_kind("account"), None);
    let entry = store.announce_upkeep(deed).await.unwrap();
    for change in [json!({"password": GOOD}), json!({"disabled": true})] {
        // The old password was right when it was looked at.
        let seen = store.account_by_login(&login).await.unwrap().unwrap();
        admin.call("PATCH", "/accounts/operator", Some(change.clone())).await.ok();
        let late = store.change_own_password(&seen.principal.account_id, seen.epoch, "mine", &entry).await;
        assert_eq!(late.unwrap_err().kind, Kind::Conflict, "{change}");
    }
    admin.call("PATCH", "/accounts/operator", Some(json!({"disabled": false}))).await.ok();
    story.client.sign_in(&story.tenant.login("operator"), GOOD).await.ok();
}

/// Whom one may change depends on what they are: somebody who was promoted meanwhile is somebody else.
#[tokio::test]
async fn an_account_is_changed_as_it_was_seen() {
    use podgate::config;
    use podgate::domain::{Kind, Login, Role};
    use podgate::store::{AccountChange, Deed, Object, Store};

    let site = Site::new();
    site.run(&["tenant", "create", "acme"], "").succeeded();
    site.account("acme/bob", "viewer");
    let place = config::Store::Sqlite(site.data("podgate.db"));
    let store =
        Store::open(&place, "me".into(), Default::default(), podgate::metrics::Metrics::new(), podgate::app::world())
            .await
            .unwrap();
    let login = Login::parse("acme/bob").unwrap();
    let seen = store.account_info(&login).await.unwrap().unwrap();
    let deed = Deed::of_the_system("changeAccount", Object::of_kind("account"), None);
    let entry = store.announce_upkeep(deed).await.unwrap();
    let promoted = AccountChange { role: Some(Role::Admin), ..AccountChange::default() };
    store.change_account(&seen, &promoted, &entry).await.unwrap();
    let takeover = AccountChange { password_hash: Some("x".into()), ..AccountChange::default() };
    assert_eq!(store.change_account(&seen, &takeover, &entry).await.unwrap_err().kind, Kind::Conflict);
    assert_eq!(store.delete_account(&seen, &entry).await.unwrap_err().kind, Kind::Conflict);
    // Nor is one of the same name the same.
    let seen = store.account_info(&login).await.unwrap().unwrap();
    store.delete_account(&seen, &entry).await.unwrap();
    store.create_account(&login, Role::Admin, "y", None, &entry).await.unwrap();
    assert_eq!(store.change_account(&seen, &takeover, &entry).await.unwrap_err().kind, Kind::Conflict);
}
