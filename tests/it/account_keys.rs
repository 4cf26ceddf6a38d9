//! Keys of others: seen and ended by who manages their owners; and what ends with a key, or with one of its secrets.

use serde_json::{Value, json};

use crate::support::{Client, Ledger, Site, Story, eventually};

/// A key of the client's: its public identifier, and a client that has it.
async fn key(client: &Client, name: &str) -> (String, Client) {
    let made = client.post("/api-keys", json!({"name": name})).await.ok()["api_key"].clone();
    (made["id"].as_str().unwrap().to_owned(), client.with_token(made["key"].as_str().unwrap()))
}

/// With the token that a key is given.
async fn signed_in(id: &str, program: &Client) -> Client {
    let secret = program.token.as_deref().unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let signed = program.anonymous().post_form("/auth/token", &form).await.ok();
    program.with_token(signed["access_token"].as_str().unwrap())
}

fn account(story: &Story, login: &str, role: &str) -> Client {
    story.site.account(login, role);
    story.gateway.client(&story.site.token(login))
}

#[tokio::test]
async fn an_administrator_ends_the_keys_of_others() {
    let story = Story::begin().await;
    let (neighbour, _) = story.another();
    let operator = &story.client;
    let admin = account(&story, &story.tenant.login("admin"), "admin");
    let foreign = account(&story, &neighbour.login("admin"), "admin");
    let root = account(&story, "root", "platform");
    let deputy = account(&story, "deputy", "platform");
    let (id, program) = key(operator, "ci").await;
    let (second, _) = key(operator, "nightly").await;
    let (roots, roots_program) = key(&root, "ops").await;
    let token = signed_in(&id, &program).await;

    let listed = admin.get("/accounts/operator/api-keys").await.ok();
    let names: Vec<&Value> = listed["api_keys"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["ci", "nightly"]);
    assert!(!listed.to_string().contains("pgw_"), "{listed}");
    let of_tenant = format!("/tenants/{}/accounts/operator/api-keys", story.tenant.slug);
    let (theirs, mine) = (root.get(&of_tenant).await.ok(), operator.get("/api-keys").await.ok());
    for seen in [&theirs, &mine] {
        let ids: Vec<&Value> = seen["api_keys"].as_array().unwrap().iter().map(|key| &key["id"]).collect();
        assert_eq!(ids, [&json!(id), &json!(second)]);
    }

    // Whose business it is not: by role, as a neighbour, as a tenant's administrator of the platform's, by guessing.
    let path = |name: &str, id: &str| format!("/accounts/{name}/api-keys/{id}");
    for (who, place) in [(operator, "/accounts/admin/api-keys"), (operator, &*of_tenant), (&admin, &*of_tenant)] {
        who.get(place).await.refused(403, "PermissionError");
        who.delete(&format!("{place}/{id}")).await.refused(403, "PermissionError");
    }
    let unknown = foreign.delete(&path("nobody", &id)).await.refused(404, "PodmanAPIError");
    let elsewhere = format!("..%2F{}%2Foperator", story.tenant.slug);
    for name in [&*story.tenant.login("operator").replace('/', "%2F"), &elsewhere, "root"] {
        assert_eq!(foreign.delete(&path(name, &id)).await.refused(404, "PodmanAPIError"), unknown, "{name}");
        assert_eq!(foreign.get(&format!("/accounts/{name}/api-keys")).await.status, 404, "{name}");
        assert_eq!(admin.delete(&path(name, &roots)).await.status, 404, "{name}");
    }
    // A name that both tenants have is one's own; a key that somebody else has is none of that account.
    foreign.delete(&path("operator", &id)).await.refused(404, "PodmanAPIError");
    admin.delete(&path("admin", &id)).await.refused(404, "PodmanAPIError");
    for (who, id) in [(&admin, &roots), (&root, &id)] {
        who.delete(&path("operator", id)).await.refused(404, "PodmanAPIError");
    }
    root.delete(&format!("{of_tenant}/{roots}")).await.refused(404, "PodmanAPIError");
    // A key manages no keys of its owner's, and who holds less ends nothing of who holds more.
    let (own, admins_program) = key(&admin, "mine").await;
    admins_program.delete(&path("admin", &own)).await.refused(403, "PermissionError");
    let limited = json!({"name": "limited", "scopes": ["accounts"]});
    let limited = admin.post("/api-keys", limited).await.ok()["api_key"]["key"].as_str().unwrap().to_owned();
    let limited = admin.with_token(limited);
    limited.get("/accounts/operator/api-keys").await.ok();
    limited.delete(&path("operator", &id)).await.refused(403, "PermissionError");
    for program in [&program, &roots_program, &token] {
        program.get("/auth/me").await.ok();
    }

    let ledger = Ledger::of(&story.site).await;
    let seen = ledger.audited(0).await.len();
    assert_eq!(admin.delete(&path("operator", &id)).await.ok()["api_key"], json!({"id": id, "revoked": true}));
    admin.delete(&path("operator", &id)).await.refused(404, "PodmanAPIError");
    for gone in [&program, &token] {
        gone.get("/auth/me").await.refused(401, "AuthenticationError");
    }
    root.delete(&format!("{of_tenant}/{second}")).await.ok();
    deputy.delete(&path("root", &roots)).await.ok();
    roots_program.get("/tenants").await.refused(401, "AuthenticationError");
    let entries = ledger.audited(seen).await;
    let told: Vec<_> = entries.iter().map(|entry| entry.brief()).collect();
    let login = story.tenant.login("admin");
    assert_eq!(
        told,
        [
            [&*login, "revokeAccountApiKey", "ci", "success"],
            ["root", "revokeTenantAccountApiKey", "nightly", "success"],
            ["deputy", "revokeAccountApiKey", "ops", "success"],
        ]
    );
    let of = |name: &str| Some(format!("of {name}"));
    let details: Vec<_> = entries.iter().map(|entry| entry.row.detail.clone()).collect();
    let operators = of(&story.tenant.login("operator"));
    assert_eq!(details, [operators.clone(), operators, of("root")]);
    let tenants: Vec<_> = entries.iter().map(|entry| entry.row.tenant.as_deref()).collect();
    assert_eq!(tenants, [Some(&*story.tenant.slug), Some(&*story.tenant.slug), None]);
}

/// A key tells nothing of its owner's other keys.
#[tokio::test]
async fn a_key_sees_itself() {
    let story = Story::begin().await;
    let (_, _) = key(&story.client, "other").await;
    let (id, program) = key(&story.client, "one").await;
    for client in [&program, &signed_in(&id, &program).await] {
        let listed = client.get("/api-keys").await.ok();
        let ids: Vec<&Value> = listed["api_keys"].as_array().unwrap().iter().map(|key| &key["id"]).collect();
        assert_eq!(ids, [&json!(id)]);
    }
}

/// What a secret let in ends with it: tokens, and what they hold open.
async fn ends_with_its_secret(site: Site) {
    let story = Story::at(site).await;
    let client = &story.client;
    let (id, program) = key(client, "ci").await;
    let rotate = async |overlap: i64| {
        let rotated = client.post(&format!("/api-keys/{id}/rotate"), json!({"overlap": overlap})).await.ok();
        client.with_token(rotated["api_key"]["key"].as_str().unwrap())
    };
    let token = signed_in(&id, &program).await;
    let (mut of_key, mut of_token) = (program.events("/events").await, token.events("/events").await);
    // While the old secret is good, so is what it let in.
    let second = rotate(600).await;
    for client in [&program, &token, &second, &signed_in(&id, &second).await] {
        client.get("/containers").await.ok();
    }
    let later = signed_in(&id, &second).await;
    let mut of_later = later.events("/events").await;
    let third = rotate(0).await;
    for client in [&program, &token, &second, &later] {
        client.get("/containers").await.refused(401, "AuthenticationError");
    }
    for stream in [&mut of_key, &mut of_token, &mut of_later] {
        assert_eq!(stream.reason().await, "revoked");
    }
    signed_in(&id, &third).await.get("/containers").await.ok();
}

#[tokio::test]
async fn what_a_secret_let_in_ends_with_it() {
    ends_with_its_secret(Site::new()).await;
}

#[tokio::test]
async fn what_a_secret_let_in_ends_with_it_on_postgresql() {
    ends_with_its_secret(Site::on_postgres().await).await;
}

/// Signing out everywhere ends the tokens of keys and what they hold open, and not the keys.
#[tokio::test]
async fn what_a_token_of_a_key_holds_open_ends_with_it() {
    let story = Story::begin().await;
    let (id, program) = key(&story.client, "ci").await;
    let token = signed_in(&id, &program).await;
    let (mut of_key, mut of_token) = (program.events("/events").await, token.events("/events").await);
    story.client.post("/auth/logout?everywhere=true", json!(null)).await.ok();
    assert_eq!(of_token.reason().await, "revoked");
    program.create_with("web", json!({"start": false})).await;
    assert_eq!(of_key.told().await.name, "created", "it goes on");
}

/// When a key was last used is good to know, and nothing that a request hangs on.
#[tokio::test]
async fn a_use_that_cannot_be_noted_is_a_use() {
    let story = Story::begin().await;
    let (_, program) = key(&story.client, "ci").await;
    let ledger = Ledger::of(&story.site).await;
    ledger
        .execute(
            "CREATE TRIGGER no_notes BEFORE UPDATE OF last_used_ms ON api_keys BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
    program.get("/containers").await.ok();
    assert!(story.gateway.logged("is not noted").await.contains("WARN"));
    ledger.execute("DROP TRIGGER no_notes").await;
    eventually("its note", || async {
        program.get("/containers").await.ok();
        let keys = story.client.get("/api-keys").await.ok();
        keys["api_keys"][0]["last_used"].is_string().then_some(())
    })
    .await;
}
