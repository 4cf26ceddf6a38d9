//! Who did what: announced before it is done, with its outcome after.

use serde_json::{Value, json};

use crate::support::gateway::PASSWORD;
use crate::support::{Audited, Ledger, Podman, Site, Story, eventually};

/// The story's entries, without those of the command line that set it up.
async fn entries(story: &Story) -> Vec<Audited> {
    let ledger = Ledger::of(&story.site).await;
    let all = ledger.audited(0).await;
    all.into_iter().filter(|entry| !entry.row.actor.as_deref().is_some_and(|actor| actor.starts_with("cli:"))).collect()
}

fn brief(entries: &[Audited]) -> Vec<[&str; 4]> {
    entries.iter().map(Audited::brief).collect()
}

#[tokio::test]
async fn a_containers_life_is_told() {
    told(Story::begin().await).await;
}

#[tokio::test]
async fn a_containers_life_is_told_on_postgresql() {
    told(Story::at(Site::on_postgres().await).await).await;
}

async fn told(story: Story) {
    let client = &story.client;
    let operator = story.tenant.login("operator");
    let environment = json!({"environment": {"TOKEN": "hidden-in-environment"}});
    client.create_with("web", environment).await;
    client.get("/containers/web").await.ok();
    client.listed().await;
    client.exec("web", json!("echo hello | cat")).await;
    client.exec("web", json!(["echo", "a b"])).await;
    let user = json!({"username": "student", "password": "hidden-in-a-body"});
    client.post("/containers/web/users", user).await.ok();
    let file = json!({"dest_path": "/tmp/x", "content": "hidden-in-a-file"});
    client.post("/containers/web/files", file).await.ok();
    client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    client.post("/containers/web/exec", json!({"command": "true"})).await.refused(409, "PodmanAPIError");
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.delete("/volumes/data").await.ok();
    client.delete("/containers/web?force=true").await.ok();
    // What is not there leaves nothing, nor does what is not understood.
    client.delete("/containers/web?force=true").await.refused(404, "PodmanAPIError");
    client.delete("/volumes/data").await.refused(404, "PodmanAPIError");
    client.post("/containers", json!({"image": "alpine"})).await.blames(&["name"]);

    let entries = entries(&story).await;
    let o = operator.as_str();
    assert_eq!(
        brief(&entries),
        [
            [o, "createContainer", "web", "success"],
            [o, "execInContainer", "web", "success"],
            [o, "execInContainer", "web", "success"],
            [o, "addContainerUser", "web", "success"],
            [o, "addContainerFile", "web", "success"],
            [o, "stopContainer", "web", "success"],
            [o, "execInContainer", "web", "PodmanAPIError"],
            [o, "createVolume", "data", "success"],
            [o, "removeVolume", "data", "success"],
            [o, "removeContainer", "web", "success"],
        ]
    );
    let argv = |entry: &Audited| entry.row.argv.clone();
    assert_eq!(argv(&entries[1]), Some(json!(["echo hello | cat"]).to_string()));
    assert_eq!(argv(&entries[2]), Some(json!(["echo", "a b"]).to_string()));
    // Each says where it came from, and whose it is; the outcome, how long it took.
    for Audited { row, outcome } in &entries {
        assert_eq!(row.tenant.as_deref(), Some(story.tenant.slug.as_str()));
        assert_eq!(row.source.as_deref(), Some("127.0.0.1"));
        let outcome = outcome.as_ref().unwrap();
        assert!(row.request_id.as_ref().is_some_and(|id| id.len() == 32) && outcome.request_id == row.request_id);
        assert!(outcome.duration_ms.is_some_and(|duration| duration >= 0));
        assert!(outcome.sequence > row.sequence);
        // Ours, once it is known.
        assert!(row.object_id.is_some() || outcome.object_id.is_some(), "{row:?}");
    }
    let failed = entries[6].outcome.as_ref().unwrap();
    assert!(failed.status == Some(409) && failed.reason.as_ref().unwrap().contains("the container"), "{failed:?}");

    let rows = format!("{:?}", Ledger::of(&story.site).await.audit_rows().await);
    assert!(rows.contains("student") && rows.contains("/tmp/x"), "what was changed is said");
    for secret in ["hidden-in", "TOKEN", PASSWORD, "argon2", "pgr_", client.token.as_deref().unwrap()] {
        assert!(!rows.contains(secret), "{secret} is in {rows}");
        assert!(!story.gateway.log().contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn what_is_refused_is_told_once() {
    let story = Story::at(Site::new().set("quotas.volumes", 1)).await;
    let client = &story.client;
    client.create_sleeping("web").await;
    story.site.account(&story.tenant.login("viewer"), "viewer");
    story.site.account(&story.tenant.login("admin"), "admin");
    let viewer = story.gateway.client(&story.site.token(&story.tenant.login("viewer")));
    let admin = story.gateway.client(&story.site.token(&story.tenant.login("admin")));
    let key = admin.post("/api-keys", json!({"name": "ci", "scopes": ["containers:read"]})).await.ok();
    let key_id = key["api_key"]["id"].as_str().unwrap().to_owned();
    let key = story.gateway.client(key["api_key"]["key"].as_str().unwrap());
    let ledger = Ledger::of(&story.site).await;
    let seen = ledger.audited(0).await.len();

    // A read, a change, one by a key, one for its image, one for a quota, one's own account.
    viewer.get("/accounts").await.refused(403, "PermissionError");
    viewer.delete("/containers/web?force=true").await.refused(403, "PermissionError");
    key.post("/containers/web/exec", json!({"command": "true"})).await.refused(403, "PermissionError");
    client.post("/containers", json!({"name": "c", "image": "quay.io/x/y"})).await.refused(403, "PermissionError");
    client.post("/volumes", json!({"name": "one"})).await.ok();
    client.post("/volumes", json!({"name": "two"})).await.refused(403, "QuotaError");
    admin.delete("/accounts/admin").await.refused(403, "PermissionError");
    // Nobody is told nothing.
    client.anonymous().delete("/containers/web").await.refused(401, "AuthenticationError");
    viewer.get("/containers/never-existed").await.refused(404, "PodmanAPIError");

    let entries = ledger.audited(seen).await;
    let login = |name| story.tenant.login(name);
    let (v, o, a) = (login("viewer"), login("operator"), login("admin"));
    assert_eq!(
        brief(&entries),
        [
            [v.as_str(), "listAccounts", "-", "PermissionError"],
            [&v, "removeContainer", "web", "PermissionError"],
            [&a, "execInContainer", "web", "PermissionError"],
            [&o, "createContainer", "-", "PermissionError"],
            [&o, "createVolume", "one", "success"],
            [&o, "createVolume", "two", "QuotaError"],
            [&a, "removeAccount", "admin", "PermissionError"],
        ]
    );
    for Audited { row, outcome } in &entries {
        let ended = outcome.as_ref().unwrap_or(row);
        assert_eq!(row.tenant.as_deref(), Some(story.tenant.slug.as_str()));
        if ended.outcome.as_deref() != Some("success") {
            assert!(ended.status == Some(403) && ended.reason.is_some(), "{ended:?}");
        }
    }
    assert_eq!(entries[2].row.key_id, Some(key_id));
    assert!(entries[3].row.reason.as_ref().unwrap().contains("quay.io/x/y"));
}

#[tokio::test]
async fn signing_in_and_out_is_told() {
    let story = Story::begin().await;
    let (client, login) = (&story.client, story.tenant.login("operator"));
    let ledger = Ledger::of(&story.site).await;
    let seen = ledger.audited(0).await.len();
    client.sign_in(&login, "my-wrong-password").await.refused(401, "AuthenticationError");
    client.sign_in("my-secret-as-a-name", PASSWORD).await.refused(401, "AuthenticationError");
    let form = |fields: &'static [(&str, &str)]| client.post_form("/auth/token", fields);
    assert_eq!(form(&[("grant_type", "refresh_token"), ("refresh_token", "pgr_none")]).await.status, 400);
    let signed = client.sign_in(&login, PASSWORD).await.ok();
    let first = signed["refresh_token"].as_str().unwrap().to_owned();
    let refresh = async |token: &str| {
        client.post_form("/auth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    let second = refresh(&first).await.ok();
    assert_eq!(refresh(&first).await.status, 400);
    let _ = second;
    let signed = client.sign_in(&login, PASSWORD).await.ok();
    let client = client.with_token(signed["access_token"].as_str().unwrap());
    client.post("/auth/logout", Value::Null).await.ok();

    let entries = ledger.audited(seen).await;
    let o = login.as_str();
    assert_eq!(
        brief(&entries),
        [
            ["anonymous", "createToken", o, "AuthenticationError"],
            ["anonymous", "createToken", "-", "AuthenticationError"],
            ["anonymous", "createToken", "-", "AuthenticationError"],
            [o, "createToken", "-", "success"],
            [o, "createToken", "-", "success"],
            [o, "createToken", "-", "AuthenticationError"],
            [o, "createToken", "-", "success"],
            [o, "logout", "-", "success"],
        ]
    );
    let replay = entries[5].outcome.as_ref().unwrap();
    assert_eq!(replay.reason.as_deref(), Some("a refresh token was used twice; its session is over"));
    let rows = format!("{:?}", ledger.audit_rows().await);
    for secret in ["my-wrong", "my-secret", PASSWORD, "pgr_"] {
        assert!(!rows.contains(secret), "{secret}: {rows}");
    }
}

/// Accounts and tenants, by the API and by the command line.
#[tokio::test]
async fn administration_is_told() {
    let story = Story::begin().await;
    let site = &story.site;
    site.account("root", "platform");
    let platform = story.gateway.client(&site.token("root"));
    let ledger = Ledger::of(site).await;
    let all = ledger.audited(0).await;
    let user = format!(
        "cli:{}",
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim()
    );
    let operator = story.tenant.login("operator");
    assert_eq!(
        brief(&all),
        [
            [user.as_str(), "createTenant", &story.tenant.slug, "success"],
            [&user, "createAccount", &operator, "success"],
            [&user, "createToken", &operator, "success"],
            [&user, "createAccount", "root", "success"],
            [&user, "createToken", "root", "success"],
        ]
    );
    assert!(all[0].row.argv.as_ref().unwrap().contains("docker.io/library/alpine:latest"));
    assert_eq!(all[1].row.tenant.as_deref(), Some(story.tenant.slug.as_str()));

    let slug = crate::support::gateway::unique();
    platform.post("/tenants", json!({"slug": slug, "quotas": {"containers": 2}})).await.ok();
    let account = json!({"name": "bob", "role": "viewer", "password": PASSWORD});
    platform.post(&format!("/tenants/{slug}/accounts"), account.clone()).await.ok();
    platform.post(&format!("/tenants/{slug}/accounts"), account).await.refused(409, "PodmanAPIError");
    let change = json!({"role": "admin", "password": PASSWORD, "disabled": false});
    platform.call("PATCH", &format!("/tenants/{slug}/accounts/bob"), Some(change)).await.ok();
    platform.delete(&format!("/tenants/{slug}/accounts/eve")).await.refused(404, "PodmanAPIError");
    site.run(&["account", "disable", &format!("{slug}/bob")], "").succeeded();
    assert_eq!(site.run(&["account", "disable", &format!("{slug}/eve")], "").code, 1);
    site.run(&["key", "rotate"], "").succeeded();
    platform.delete(&format!("/tenants/{slug}")).await.ok();
    eventually("its end", || async { (platform.get(&format!("/tenants/{slug}")).await.status == 404).then_some(()) })
        .await;

    let entries = ledger.audited(all.len()).await;
    let bob = format!("{slug}/bob");
    assert_eq!(
        brief(&entries),
        [
            ["root", "createTenant", &slug, "success"],
            ["root", "createTenantAccount", &bob, "success"],
            ["root", "createTenantAccount", &bob, "PodmanAPIError"],
            ["root", "changeTenantAccount", &bob, "success"],
            [&user, "changeAccount", &bob, "success"],
            [&user, "rotateSigningKey", "-", "success"],
            ["root", "deleteTenant", &slug, "success"],
            ["system", "deleteTenant", &slug, "success"],
        ]
    );
    assert_eq!(entries[0].row.detail.as_deref(), Some("quotas containers=2"));
    assert_eq!(entries[3].row.detail.as_deref(), Some("role admin, enabled, another password"));
    assert!(entries[1..5].iter().all(|entry| entry.row.tenant.as_deref() == Some(&slug)), "{entries:?}");
}

/// Who reads the log finds in it how the request before ended.
#[tokio::test]
async fn what_has_ended_is_told_at_once() {
    let story = Story::begin().await;
    story.site.account(&story.tenant.login("admin"), "admin");
    let admin = story.gateway.client(&story.site.token(&story.tenant.login("admin")));
    for number in 0..20 {
        admin.post("/volumes", json!({"name": format!("v{number}")})).await.ok();
        let told = admin.get("/audit?verb=createVolume&limit=1").await.ok();
        let told = &told["entries"][0];
        let told = (&told["object"]["name"], &told["outcome"]);
        assert_eq!(told, (&json!(format!("v{number}")), &json!("success")));
        admin.delete(&format!("/volumes/v{number}")).await.ok();
    }
}

/// What the gateway does by itself.
#[tokio::test]
async fn the_programs_own_deeds_are_told() {
    let mut site = Site::new();
    let tenant = site.tenant();
    site.put("fail_point", "create.created");
    let mut doomed = site.start().await;
    let client = doomed.client(&site.token(&tenant.login("operator")));
    let lost = tokio::spawn(async move { client.try_create("lost", json!({})).await });
    doomed.ended().await;
    assert!(lost.await.is_err());
    site.unset("fail_point");
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    client.create_with("brief", json!({"expires_in": 1})).await;
    eventually("its end", || async { client.listed().await.is_empty().then_some(()) }).await;

    let ledger = Ledger::of(&site).await;
    let rows = eventually("the outcomes", || async {
        let rows = ledger.audit_rows().await;
        let done = rows.iter().filter(|row| row.outcome.as_deref() == Some("success")).count();
        (done == rows.iter().filter(|row| row.phase == "intent").count() - 1).then_some(rows)
    })
    .await;
    let of_containers = rows.iter().filter(|row| row.object_kind.as_deref() == Some("container"));
    let told: Vec<_> = of_containers
        .map(|row| [&row.actor, &row.verb, &row.object].map(|text| text.as_deref().unwrap_or("-")))
        .collect();
    let operator = tenant.login("operator");
    let o = operator.as_str();
    assert_eq!(
        told,
        [
            // The one with which the gateway died has no outcome.
            [o, "createContainer", "lost"],
            ["system", "removeContainer", "lost"],
            [o, "createContainer", "brief"],
            ["system", "expireContainer", "brief"],
        ]
    );
}

/// Without the log nothing is changed, but what is in the way can still go.
#[tokio::test]
async fn no_entry_no_mutation() {
    for site in [Site::new(), Site::on_postgres().await] {
        let story = Story::at(site).await;
        let (client, login) = (&story.client, story.tenant.login("operator"));
        client.create_sleeping("web").await;
        client.create_sleeping("stays").await;
        client.post("/volumes", json!({"name": "data"})).await.ok();
        let ledger = Ledger::of(&story.site).await;
        ledger.audited(0).await;
        ledger.execute("ALTER TABLE audit_log RENAME TO hidden").await;

        let sessions = ledger.count("sessions").await;
        client.try_create("new", json!({})).await.refused(503, "PodmanAPIError");
        client.post("/containers/stays/exec", json!({"command": "touch /tmp/x"})).await.refused(503, "PodmanAPIError");
        client.post("/containers/stays/restart?timeout=0", json!(null)).await.refused(503, "PodmanAPIError");
        client.post("/volumes", json!({"name": "more"})).await.refused(503, "PodmanAPIError");
        client.sign_in(&login, PASSWORD).await.refused(503, "PodmanAPIError");
        client.sign_in(&login, "wrong password").await.refused(503, "PodmanAPIError");
        client.get("/accounts").await.refused(503, "PodmanAPIError");
        let made = story.site.run(&["tenant", "create", "new"], "");
        assert!(made.code == 1 && made.stderr.contains("audit"), "{}", made.stderr);
        assert_eq!((ledger.count("sessions").await, ledger.count("tenants").await), (sessions, 1));
        // Looking is free, and so is making room.
        assert_eq!(client.status("stays").await, "running");
        client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
        client.delete("/containers/web").await.ok();
        client.delete("/volumes/data").await.ok();
        assert_eq!(client.listed().await, [("stays".into(), "running".into())]);
        assert_eq!(Podman::of_the_tests().containers(&story.tenant.slug).await.len(), 1);

        ledger.execute("ALTER TABLE hidden RENAME TO audit_log").await;
        let told = eventually("what was kept", || async {
            let rows = ledger.audit_rows().await;
            let told =
                rows.iter().filter(|row| row.object.as_deref().is_some_and(|name| matches!(name, "web" | "data")));
            let told: Vec<String> = told.filter_map(|row| row.verb.clone()).collect();
            (told.len() == 5).then_some(told)
        })
        .await;
        assert_eq!(told, ["createContainer", "createVolume", "stopContainer", "removeContainer", "removeVolume"]);
        assert_eq!(client.exec("stays", json!("ls /tmp")).await, "", "nothing was run");
        assert!(ledger.audited(0).await.iter().all(|entry| entry.row.object.as_deref() != Some("new")));
    }
}

/// A caller who leaves: what goes on to its end has an outcome, and what does not is said to have none.
#[tokio::test]
async fn who_leaves_is_told_of() {
    use tokio::io::AsyncWriteExt;
    let story = Story::begin().await;
    let (client, ledger) = (&story.client, Ledger::of(&story.site).await);
    // Once it is announced.
    let leave = async |verb: &str, path: &str, body: Value| {
        let body = body.to_string();
        let request = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            client.token.as_ref().unwrap(),
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(client.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let is_announced =
            async || ledger.audit_rows().await.iter().any(|row| row.verb.as_deref() == Some(verb)).then_some(());
        eventually("its announcement", is_announced).await;
    };
    let create = json!({"name": "web", "image": "alpine", "command": "sleep 300"});
    leave("createContainer", "/containers", create).await;
    eventually("its making", || async { (client.listed().await.len() == 1).then_some(()) }).await;
    leave("execInContainer", "/containers/web/exec", json!({"command": "sleep 20"})).await;
    let entries = entries(&story).await;
    let operator = story.tenant.login("operator");
    assert_eq!(
        brief(&entries),
        [[operator.as_str(), "createContainer", "web", "success"], [&operator, "execInContainer", "web", "abandoned"]]
    );
}

/// Many at once share transactions; each has its place, and none is lost.
#[tokio::test]
async fn many_at_once_are_all_told() {
    let story = Story::at(Site::new().set("quotas.volumes", 200)).await;
    let client = &story.client;
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.post("/volumes", json!({"name": format!("v{number}")})).await.ok() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let entries = entries(&story).await;
    assert_eq!(entries.len(), 100);
    assert!(entries.iter().all(|entry| entry.brief()[3] == "success"));
    let rows = Ledger::of(&story.site).await.audit_rows().await;
    let places: Vec<i64> = rows.iter().map(|row| row.sequence).collect();
    assert_eq!(places, (1..=places.len() as i64).collect::<Vec<_>>());
}
