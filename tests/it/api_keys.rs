//! Keys for programs.

use serde_json::{Value, json};

use crate::support::client::whole;
use crate::support::gateway::PASSWORD;
use crate::support::{Client, Ledger, Site, Story};

async fn make(client: &Client, body: Value) -> (String, String) {
    let made = client.post("/api-keys", body).await.ok()["api_key"].clone();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

/// In the header of its own.
async fn get_with(client: &Client, key: &str, path: &str) -> u16 {
    let request = client.anonymous().request("GET", path).header("x-api-key", key);
    client.send(request.body(whole("")).unwrap()).await.status
}

#[tokio::test]
async fn a_key_does_what_its_owner_may_or_less() {
    let story = Story::begin().await;
    let client = &story.client;
    let (id, key) = make(client, json!({"name": "all"})).await;
    assert!(key.starts_with("pgw_") && key.len() == 65 && key[4..].starts_with(&id), "{key}");
    let program = client.with_token(&key);
    program.create_sleeping("c").await;
    assert_eq!(get_with(client, &key, "/containers").await, 200);
    let (_, reader) =
        make(client, json!({"name": "reads", "scopes": ["containers:read", "containers:read"], "expires_in": 600}))
            .await;
    let reader = client.with_token(&reader);
    assert_eq!(reader.listed().await.len(), 1);
    assert_eq!(reader.get("/auth/me").await.ok()["account"]["scopes"], json!(["containers:read"]));
    let refused = reader.delete("/containers/c?force=true").await;
    assert!(refused.refused(403, "PermissionError")["message"].as_str().unwrap().contains("this key"));

    // It cannot make itself more, or make others.
    for body in [json!({"name": "x"}), json!({"name": "y", "scopes": ["exec"]})] {
        program.post("/api-keys", body).await.refused(403, "PermissionError");
    }
    program.delete(&format!("/api-keys/{id}")).await.refused(403, "PermissionError");
    client.post("/api-keys", json!({"name": "z", "scopes": ["tenants"]})).await.refused(403, "PermissionError");
    for (body, field) in [
        (json!({"name": "n", "scopes": ["root"]}), "scopes"),
        (json!({"name": "n", "scopes": []}), "scopes"),
        (json!({"name": "", "scopes": ["exec"]}), "name"),
        (json!({"name": "n", "expires_in": 0}), "expires_in"),
        (json!({"name": "n", "expires_in": i64::MAX}), "expires_in"),
        (json!({"name": "n", "role": "admin"}), "role"),
    ] {
        client.post("/api-keys", body).await.blames(&[field]);
    }
    client.post("/api-keys", json!({"name": "all"})).await.refused(409, "PodmanAPIError");
    let listed = client.get("/api-keys").await.ok();
    assert_eq!(listed["api_keys"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains("pgw_") && listed["api_keys"][0]["last_used"].is_string(), "{listed}");

    // What the owner loses, the key loses; where the owner ends, it ends.
    let ledger = Ledger::of(&story.site).await;
    let login = story.tenant.login("operator");
    ledger.change("UPDATE accounts SET role = 'viewer' WHERE login = $1", &login).await;
    program.post("/containers/c/stop", json!(null)).await.refused(403, "PermissionError");
    program.get("/containers").await.ok();
    story.site.run(&["account", "disable", &login], "").succeeded();
    program.get("/containers").await.refused(401, "AuthenticationError");
}

#[tokio::test]
async fn a_key_ends_when_it_is_told_to() {
    let story = Story::begin().await;
    let client = &story.client;
    let (_, theirs) = story.another();
    let (id, first) = make(client, json!({"name": "ci"})).await;
    let rotated = client.post(&format!("/api-keys/{id}/rotate"), json!({"overlap": 600})).await.ok();
    let second = rotated["api_key"]["key"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    for key in [&first, &second] {
        assert_eq!(get_with(client, key, "/containers").await, 200);
    }
    let third = client.post(&format!("/api-keys/{id}/rotate"), json!({})).await.ok();
    let third = third["api_key"]["key"].as_str().unwrap();
    for (key, status) in [(&*first, 401), (&second, 401), (third, 200)] {
        assert_eq!(get_with(client, key, "/containers").await, status);
    }
    client.post(&format!("/api-keys/{id}/rotate"), json!({"overlap": -1})).await.blames(&["overlap"]);
    // Nobody else's.
    for name in [&*id, "4fY0kPz81QxT", "x"] {
        theirs.delete(&format!("/api-keys/{name}")).await.refused(404, "PodmanAPIError");
        theirs.post(&format!("/api-keys/{name}/rotate"), json!({})).await.refused(404, "PodmanAPIError");
    }
    assert_eq!(theirs.get("/api-keys").await.ok()["api_keys"], json!([]));
    client.delete(&format!("/api-keys/{id}")).await.ok();
    assert_eq!(get_with(client, third, "/containers").await, 401);
    client.delete(&format!("/api-keys/{id}")).await.refused(404, "PodmanAPIError");
}

/// Who sends a rotation again because its answer got lost must not end the secret that everything runs with.
#[tokio::test]
async fn a_second_rotation_keeps_the_first_ones_promise() {
    second_rotation(Story::begin().await).await;
}

#[tokio::test]
async fn a_second_rotation_keeps_the_first_ones_promise_on_postgresql() {
    second_rotation(Story::at(Site::on_postgres().await).await).await;
}

async fn second_rotation(story: Story) {
    let client = &story.client;
    let (id, first) = make(client, json!({"name": "ci"})).await;
    let until = async || client.get("/api-keys").await.ok()["api_keys"][0]["previous_until"].clone();
    assert!(until().await.is_null());
    let rotate = async |body: Value| client.post(&format!("/api-keys/{id}/rotate"), body).await.ok()["api_key"].clone();
    let lost = rotate(json!({"overlap": 3600})).await;
    assert_eq!(until().await, lost["previous_until"]);
    // A shorter overlap takes nothing of what was promised.
    let again = rotate(json!({"overlap": 60})).await;
    assert_eq!(again["previous_until"], lost["previous_until"]);
    for (key, status) in [(&*first, 200), (lost["key"].as_str().unwrap(), 401), (again["key"].as_str().unwrap(), 200)] {
        assert_eq!(get_with(client, key, "/containers").await, status);
    }
    let later = rotate(json!({"overlap": 7200})).await;
    assert!(later["previous_until"].as_str() > lost["previous_until"].as_str(), "{later}");
    assert_eq!(get_with(client, &first, "/containers").await, 200);
    // Once that time is over it is as before.
    let ledger = Ledger::of(&story.site).await;
    ledger.change("UPDATE api_keys SET previous_until_ms = 1 WHERE id = $1", &id).await;
    assert!(until().await.is_null());
    let last = rotate(json!({"overlap": 600})).await;
    for (key, status) in [(&*first, 401), (later["key"].as_str().unwrap(), 200), (last["key"].as_str().unwrap(), 200)] {
        assert_eq!(get_with(client, key, "/containers").await, status);
    }
    // Whoever says no overlap means it: every earlier one may be in the wrong hands.
    let only = rotate(json!({})).await;
    assert!(until().await.is_null());
    for (key, status) in [(&later, 401), (&last, 401), (&only, 200)] {
        assert_eq!(get_with(client, key["key"].as_str().unwrap(), "/containers").await, status);
    }
}

#[tokio::test]
async fn an_expired_key_says_so_and_may_live_again() {
    let story = Story::begin().await;
    let client = &story.client;
    let ledger = Ledger::of(&story.site).await;
    let (id, brief) = make(client, json!({"name": "brief", "expires_in": 60})).await;
    assert_eq!(get_with(client, &brief, "/containers").await, 200);
    ledger.execute("UPDATE api_keys SET expires_ms = 1").await;
    let refused = client.with_token(&brief).get("/containers").await.refused(401, "AuthenticationError");
    assert_eq!(refused["message"], "the key has expired");
    // To nobody but who has the secret.
    let guessed = format!("{}{}", &brief[..brief.len() - 1], if brief.ends_with('0') { "1" } else { "0" });
    let refused = client.with_token(&guessed).get("/containers").await.refused(401, "AuthenticationError");
    assert_eq!(refused["message"], "the token is not valid");

    let rotate = format!("/api-keys/{id}/rotate");
    for body in [json!({}), json!({"overlap": 60})] {
        let refused = client.post(&rotate, body).await.refused(409, "PodmanAPIError");
        assert!(refused["message"].as_str().unwrap().contains("expires_in"), "{refused}");
    }
    client.post(&rotate, json!({"expires_in": 0})).await.blames(&["expires_in"]);
    let again = client.post(&rotate, json!({"expires_in": 600, "overlap": 600})).await.ok()["api_key"].clone();
    assert!(again["previous_until"].is_null() && again["expires"].is_string(), "{again}");
    assert_eq!(get_with(client, again["key"].as_str().unwrap(), "/containers").await, 200);
    assert_eq!(get_with(client, &brief, "/containers").await, 401, "what is dead stays dead");
    // A rotation moves the end only where it says so.
    let unmoved = client.post(&rotate, json!({})).await.ok()["api_key"].clone();
    assert_eq!(unmoved["expires"], again["expires"]);

    client.post("/api-keys", json!({"name": "brief"})).await.refused(409, "PodmanAPIError");
    ledger.execute("UPDATE api_keys SET expires_ms = 1").await;
    let (new, key) = make(client, json!({"name": "brief"})).await;
    assert_ne!(new, id);
    assert_eq!(get_with(client, &key, "/containers").await, 200);
    assert_eq!(client.get("/api-keys").await.ok()["api_keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_only_looks_like_a_key_is_none() {
    let story = Story::begin().await;
    let client = &story.client;
    let (_, key) = make(client, json!({"name": "one"})).await;
    let (_, other) = make(client, json!({"name": "two"})).await;
    let mixed = format!("{}{}", &key[..16], &other[16..]);
    let mut last = key.clone();
    last.replace_range(64.., if key.ends_with('0') { "1" } else { "0" });
    for wrong in [&*mixed, &last, &key[..64], &key.to_lowercase(), "pgw_", "pgw_' OR 1=1 --", &key.replace("pgw_", "")]
    {
        assert_eq!(get_with(client, wrong, "/containers").await, 401, "{wrong}");
        client.with_token(wrong).get("/containers").await.refused(401, "AuthenticationError");
    }
    // One way at a time.
    let both = client.request("GET", "/containers").header("x-api-key", &key);
    client.send(both.body(whole("")).unwrap()).await.refused(401, "AuthenticationError");
    let stored: Vec<(String,)> =
        sqlx::query_as("SELECT digest FROM api_keys").fetch_all(&Ledger::of(&story.site).await.0).await.unwrap();
    assert!(stored.iter().all(|(digest,)| !key.contains(digest)));
    assert!(!story.gateway.log().contains(&key[16..]));
}

#[tokio::test]
async fn a_program_signs_in_with_its_key() {
    let story = Story::begin().await;
    let client = &story.client;
    let nobody = client.anonymous();
    let (id, key) = make(client, json!({"name": "ci", "scopes": ["containers:read"]})).await;
    let form = |id: &str, secret: &str| {
        [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let send = async |fields: &[(String, String)]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        nobody.post_form("/auth/token", &fields).await
    };
    let signed = send(&form(&id, &key)).await.ok();
    assert!(signed.get("refresh_token").is_none_or(Value::is_null), "{signed}");
    let program = client.with_token(signed["access_token"].as_str().unwrap());
    program.get("/containers").await.ok();
    program.try_create("c", json!({})).await.refused(403, "PermissionError");
    for (id, secret) in [(&*id, "x"), ("x", &*key), (&*id, PASSWORD)] {
        let refused = send(&form(id, secret)).await;
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_client")));
    }
    // Neither ends what is its owner's; what its owner ends everywhere, ends here.
    for (client, path) in [(&program, "/auth/logout"), (&client.with_token(&key), "/auth/logout?everywhere=true")] {
        client.post(path, json!(null)).await.refused(403, "PermissionError");
    }
    client.get("/containers").await.ok();
    let again = client.with_token(send(&form(&id, &key)).await.ok()["access_token"].as_str().unwrap());
    client.post("/auth/logout?everywhere=true", json!(null)).await.ok();
    again.get("/containers").await.refused(401, "AuthenticationError");
    client.with_token(&key).get("/containers").await.ok();
    let client = &story.gateway.client(&story.site.token(&story.tenant.login("operator")));
    let signed = send(&form(&id, &key)).await.ok();
    let program = client.with_token(signed["access_token"].as_str().unwrap());
    program.get("/containers").await.ok();
    // The token goes with its key.
    client.delete(&format!("/api-keys/{id}")).await.ok();
    program.get("/containers").await.refused(401, "AuthenticationError");
}

/// Not a write a request.
#[tokio::test]
async fn a_use_is_noted_once_a_minute() {
    let story = Story::begin().await;
    let (id, key) = make(&story.client, json!({"name": "busy"})).await;
    let ledger = Ledger::of(&story.site).await;
    let used = async || -> i64 {
        let used = "SELECT last_used_ms FROM api_keys WHERE id = $1";
        sqlx::query_scalar(used).bind(&id).fetch_one(&ledger.0).await.unwrap()
    };
    assert_eq!(get_with(&story.client, &key, "/containers").await, 200);
    for (earlier, is_news) in [
        ("UPDATE api_keys SET last_used_ms = last_used_ms - 30000 WHERE id = $1", false),
        ("UPDATE api_keys SET last_used_ms = last_used_ms - 60000 WHERE id = $1", true),
    ] {
        ledger.change(earlier, &id).await;
        let last = used().await;
        assert_eq!(get_with(&story.client, &key, "/containers").await, 200);
        assert_eq!(used().await != last, is_news, "{earlier}");
    }
}
