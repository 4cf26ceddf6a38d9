//! Tenants are strangers to each other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{ALPINE, Answer, Client, Site, Story};

/// An operation of the served document.
struct Operation {
    method: String,
    /// With `{name}` where it is about one container.
    path: String,
    secured: bool,
    /// Whether it switches protocols.
    is_websocket: bool,
    /// Whether it answers with events and nothing else, without an end.
    is_stream: bool,
    /// What a token has to hold; none where any will do.
    scope: Option<String>,
    /// Its parameters without which nothing goes, with the document's own examples.
    query: String,
    /// Type and example of its body, the document's own.
    body: Option<(String, Value)>,
}

impl Operation {
    async fn call(&self, client: &Client, name: &str) -> Answer {
        let path = self.path.replace("{name}", name).replace("{port}", "80") + &self.query;
        if self.is_stream && self.method == "GET" {
            return client.knock(&path).await;
        }
        if self.is_websocket {
            return client.handshake(&path).await;
        }
        match &self.body {
            Some((media, body)) if media != "application/json" => {
                client.put(&path, media, body.as_str().unwrap().to_owned()).await
            }
            body => client.call(&self.method, &path, body.clone().map(|(_, body)| body)).await,
        }
    }

    fn id(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// All of them, so that a new operation is covered by being there.
async fn operations(client: &Client) -> Vec<Operation> {
    let document = client.anonymous().get("/openapi.json").await.json();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = operation["requestBody"]["content"].as_object().into_iter().flatten().next();
            let body = body.map(|(media, content)| {
                let example = match content["schema"]["$ref"].as_str() {
                    Some(reference) => document.pointer(&format!("{}/example", reference.trim_start_matches('#'))),
                    None => content.get("example"),
                };
                (media.clone(), example.unwrap_or_else(|| panic!("{method} {path} has no example")).clone())
            });
            let needed = operation["parameters"].as_array().into_iter().flatten();
            let needed = needed.filter(|one| one["in"] == "query" && one["required"] == true).map(|one| {
                let example = one["schema"]["example"].as_str().unwrap_or_else(|| panic!("{one} has no example"));
                format!("{}={example}", one["name"].as_str().unwrap())
            });
            let query: Vec<String> = needed.collect();
            let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
            let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            let scope = operation["security"].pointer("/1/oauth2/0").map(|scope| scope.as_str().unwrap().to_owned());
            let content = operation["responses"]["200"]["content"].as_object();
            let is_stream = content.is_some_and(|all| all.keys().eq(["text/event-stream"]));
            let is_websocket = operation["responses"]["101"].is_object();
            let (method, path) = (method.to_uppercase(), path.clone());
            found.push(Operation { method, path, secured, is_websocket, is_stream, scope, query, body });
        }
    }
    assert!(found.len() >= 13, "the seed's operations and one more");
    found
}

/// All that a stranger can tell one answer from another by.
fn visible(answer: &Answer) -> (u16, Value, BTreeMap<String, Vec<u8>>) {
    let mut body = answer.json();
    for changing in ["request_id", "timestamp"] {
        body.as_object_mut().unwrap().remove(changing);
    }
    let changing = ["date", "x-request-id", "ratelimit"];
    let headers = answer.headers.iter().filter(|(name, _)| !changing.contains(&name.as_str()));
    (answer.status, body, headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect())
}

#[tokio::test]
async fn anothers_container_is_one_that_never_existed() {
    let story = Story::begin().await;
    let mine = &story.client;
    let (neighbour, theirs) = story.another();
    mine.create_sleeping("web").await;
    let short = theirs.create_sleeping("web").await;
    let hidden = theirs.create_sleeping("hidden").await;
    let containers = story.podman.containers(&neighbour.slug).await;
    let full = |short: &str| containers.iter().find(|(id, _)| id.starts_with(short)).unwrap().0.clone();

    let foreign = [
        "hidden".to_owned(),
        short.clone(),
        full(&short),
        hidden.clone(),
        full(&hidden),
        // What Podman itself calls it, and beginnings of an id that it would complete.
        format!("{}.hidden", neighbour.slug),
        full(&hidden)[..13].to_owned(),
        full(&hidden)[..1].to_owned(),
        full(&hidden)[..63].to_owned(),
    ];
    // Accounts have names too, which are an administrator's to know.
    let is_named = |path: &str| path.contains("{name}") && !path.contains("/accounts/");
    let named: Vec<Operation> =
        operations(mine).await.into_iter().filter(|operation| is_named(&operation.path)).collect();
    assert!(named.len() >= 8);
    for operation in &named {
        let unknown = visible(&operation.call(mine, "never-existed").await);
        assert_eq!(unknown.0, 404, "{}: {}", operation.id(), unknown.1);
        for name in &foreign {
            assert_eq!(visible(&operation.call(mine, name).await), unknown, "{} on {name}", operation.id());
        }
    }
    // Nor are odd names a way around.
    for odd in ["%2e%2e", "web%2f..%2fhidden", "hidden%00", "hidden%20", "%68idden", "HIDDEN", "*", "web%3fx=y"] {
        let answer = mine.get(&format!("/containers/{odd}")).await;
        assert!(matches!(answer.status, 400 | 404), "{odd}: {}", answer.text());
        answer.refused(answer.status, answer.json()["error"]["type"].as_str().unwrap());
    }

    // Nothing of it happened to the neighbour.
    assert_eq!(theirs.listed().await, [("web".into(), "running".into()), ("hidden".into(), "running".into())]);
    let files = theirs.exec("hidden", json!("cat /etc/passwd; ls /tmp")).await;
    assert!(!files.contains("student") && !files.contains("hello"), "{files}");
    // And a name means one's own, whoever else has it.
    let own = mine.get("/containers/web").await.ok()["container"]["id"].clone();
    assert_ne!(own, json!(short));
    assert_eq!(mine.listed().await, [("web".into(), "running".into())]);
    mine.delete("/containers/web?force=true").await.ok();
    assert_eq!(theirs.get("/containers/web").await.ok()["container"]["id"], json!(short));
}

#[tokio::test]
async fn ones_own_container_goes_by_its_ids_too() {
    let story = Story::begin().await;
    let short = story.client.create_sleeping("web").await;
    let (full, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
    for id in [&short, &full] {
        let read = story.client.get(&format!("/containers/{id}")).await.ok();
        assert_eq!(
            (read["container"]["name"].as_str(), read["container"]["id"].as_str()),
            (Some("web"), Some(&*short))
        );
        assert_eq!(story.client.exec(id, json!("echo hi")).await, "hi\n");
    }
    for near in [&full[..11], &full[..13], &full[..63], &full.to_uppercase()] {
        story.client.get(&format!("/containers/{near}")).await.refused(404, "PodmanAPIError");
    }
    // A name that looks like the other's id is a name.
    let (_, theirs) = story.another();
    let impostor = theirs.create_sleeping(&full[..12]).await;
    let read = theirs.get(&format!("/containers/{}", &full[..12])).await.ok();
    assert_eq!(read["container"]["id"], json!(impostor));
    let read = story.client.get(&format!("/containers/{}", &full[..12])).await.ok();
    assert_eq!(read["container"]["name"], "web");
    story.client.delete(&format!("/containers/{full}?force=true")).await.ok();
    assert_eq!(theirs.listed().await.len(), 1);
}

#[tokio::test]
async fn each_tenant_has_a_network_of_its_own() {
    let story = Story::begin().await;
    let (neighbour, theirs) = story.another();
    assert!(story.podman.network(&story.tenant.slug).await.is_none(), "made when it is needed");
    story.client.create_sleeping("web").await;
    story.client.create_sleeping("friend").await;
    theirs.create_sleeping("stranger").await;

    for slug in [&story.tenant.slug, &neighbour.slug] {
        let network = story.podman.network(slug).await.expect("a network");
        assert_eq!(network["options"]["isolate"], "true", "{network}");
        for (id, _) in story.podman.containers(slug).await {
            let inspected = story.podman.inspect(&id).await;
            let networks = inspected["NetworkSettings"]["Networks"].as_object().unwrap();
            assert_eq!(networks.keys().collect::<Vec<_>>(), [network["name"].as_str().unwrap()]);
            let host = &inspected["HostConfig"];
            assert_eq!((&host["Privileged"], &host["PidMode"]), (&json!(false), &json!("private")));
            let mounts = inspected["Mounts"].as_array().unwrap().iter();
            let mounts: Vec<_> = mounts.map(|mount| (&mount["Destination"], &mount["RW"])).collect();
            assert_eq!(mounts, [(&json!("/.podgate"), &json!(false))], "the agent's alone");
        }
    }
}

/// Where a container is on the one network that it has.
pub fn only_address(inspected: &Value) -> &str {
    let networks = inspected["NetworkSettings"]["Networks"].as_object().unwrap();
    assert_eq!(networks.len(), 1, "{inspected}");
    networks.values().next().unwrap()["IPAddress"].as_str().unwrap()
}

#[tokio::test]
async fn no_network_reaches_anothers() {
    let story = Story::at(Site::new().with("[profiles.inside]\nnetwork = \"internal\"")).await;
    let (neighbour, theirs) = story.another();
    let (_, third) = story.another();
    let sides = [(&story.tenant, &story.client), (&neighbour, &theirs)];
    let serving = "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    // By tenant: the address of one with a way out, and of one without.
    let mut addresses: Vec<Vec<String>> = Vec::new();
    for (tenant, client) in sides {
        story.site.run(&["tenant", "allow", &tenant.slug, "--profile", "inside"], "").succeeded();
        let mut found = Vec::new();
        for (name, profile) in [("web", "default"), ("safe", "inside")] {
            let made = client.create_with(name, json!({"profile": profile, "command": serving})).await;
            let inspected = story.podman.inspect(made["id"].as_str().unwrap()).await;
            found.push(only_address(&inspected).to_owned());
        }
        client.create_sleeping("friend").await;
        client.create_with("confidant", json!({"profile": "inside"})).await;
        addresses.push(found);
    }

    // Busybox's wget, linked statically, crashes over its own timeout.
    let fetch = async |client: &Client, name: &str, host: &str| {
        let command = format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 1 {host} 8080");
        let done = client.post(&format!("/containers/{name}/exec"), json!({"command": command})).await.ok();
        done["execution"]["output"].as_str().unwrap().to_owned()
    };
    for (own, (_, client)) in sides.into_iter().enumerate() {
        // A friend gets it, by address and by name.
        for (friend, address, name) in
            [("friend", &addresses[own][0], "web"), ("confidant", &addresses[own][1], "safe")]
        {
            for host in [address.as_str(), name] {
                crate::support::eventually(&format!("the page of {host}"), || async {
                    fetch(client, friend, host).await.ends_with("hello\n").then_some(())
                })
                .await;
            }
        }
        // The other tenant's, nobody: neither way, from neither network, by no address. The name is one's own.
        for from in ["friend", "confidant"] {
            for address in &addresses[1 - own] {
                let reached = fetch(client, from, address).await;
                assert!(!reached.contains("hello"), "{from} of {own} reached {address}: {reached}");
            }
        }
    }
    let (address, stranger) = (addresses[0][0].as_str(), "friend");
    story.client.delete("/containers/safe?force=true").await.ok();
    let reached = fetch(&story.client, "confidant", "safe").await;
    assert!(!reached.contains("hello"), "a name that only the neighbour has led there: {reached}");

    // Nor when a third tenant's network has come and gone (netavark 1.4 takes the way to all isolation rules along).
    for round in 1..=6 {
        third.create_sleeping("brief").await;
        third.delete("/containers/brief?force=true").await.ok();
        let reached = fetch(&theirs, stranger, address).await;
        assert!(!reached.contains("hello"), "in round {round} a stranger reached {address}: {reached}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_told() {
    let story = Story::begin().await;
    story.client.create_sleeping("web").await;
    let nobody = story.client.anonymous();
    let mut secured = 0;
    for operation in operations(&nobody).await {
        if !operation.secured {
            continue;
        }
        secured += 1;
        let existing = operation.call(&nobody, "web").await;
        existing.refused(401, "AuthenticationError");
        assert_eq!(existing.header("www-authenticate"), Some("Bearer realm=\"podgate\""), "{}", operation.id());
        assert_eq!(visible(&existing), visible(&operation.call(&nobody, "never-existed").await), "{}", operation.id());
        let junk = operation.call(&story.client.with_token("junk"), "web").await;
        junk.refused(401, "AuthenticationError");
        assert_eq!(junk.header("www-authenticate"), Some("Bearer realm=\"podgate\", error=\"invalid_token\""));
    }
    assert!(secured >= 11, "{secured}");
    assert_eq!(story.client.listed().await, [("web".into(), "running".into())]);
}

#[tokio::test]
async fn a_role_bounds_what_a_token_may() {
    let story = Story::begin().await;
    story.client.create_sleeping("web").await;
    story.site.account(&story.tenant.login("viewer"), "viewer");
    story.site.account("root", "platform");
    story.site.account(&story.tenant.login("admin"), "admin");
    let logins = [story.tenant.login("viewer"), story.tenant.login("admin"), "root".to_owned()];
    for client in [story.client.token.clone().unwrap()].into_iter().chain(logins.map(|login| story.site.token(&login)))
    {
        let client = story.gateway.client(&client);
        let me = client.get("/auth/me").await.ok()["account"].clone();
        for operation in operations(&client).await {
            let Some(scope) = &operation.scope else {
                assert!(
                    !operation.secured
                        || operation.path.starts_with("/auth")
                        || operation.path.starts_with("/api-keys")
                );
                continue;
            };
            let holds = me["scopes"].as_array().unwrap().iter().any(|held| held == scope);
            if holds && operation.method != "GET" {
                continue;
            }
            // Whether it exists is not told to who may not.
            for name in ["web", "never-existed"] {
                let seen = operation.call(&client, name).await;
                let what = format!("{} by {}: {}", operation.id(), me["role"], seen.text());
                match name {
                    _ if !holds => {
                        let refused = seen.refused(403, "PermissionError");
                        assert!(refused["message"].as_str().unwrap().contains(scope), "{what}");
                    }
                    // No account is called as the container is.
                    _ if operation.path.contains("/accounts/{name}") => assert_eq!(seen.status, 404, "{what}"),
                    "never-existed" if operation.path.contains("{name}") => assert_eq!(seen.status, 404, "{what}"),
                    _ if operation.path.contains("{slug}") => assert_eq!(seen.status, 404, "{what}"),
                    // Nothing listens there.
                    _ if operation.path.contains("{port}") => assert_eq!(seen.status, 409, "{what}"),
                    _ => assert_eq!(seen.status, if operation.is_websocket { 101 } else { 200 }, "{what}"),
                }
            }
        }
    }
    assert_eq!(story.client.listed().await, [("web".into(), "running".into())]);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
}

/// The default is that nothing may be used.
#[tokio::test]
async fn images_are_a_tenants_own() {
    let site = Site::new();
    let bare = site.tenant_with(&[]);
    let listed = site.tenant_with(&[&format!("--image={ALPINE}")]);
    // An alias permits nothing by itself.
    let aliased = site.tenant_with(&[&format!("--alias=alpine={ALPINE}")]);
    let gateway = site.start().await;
    let body = json!({"image": "alpine", "name": "c", "command": "sleep 300"});
    for (tenant, status) in [(&bare, 403), (&aliased, 403), (&listed, 200)] {
        let client = gateway.client(&site.token(&tenant.login("operator")));
        assert_eq!(client.post("/containers", body.clone()).await.status, status);
    }
    // What the command line changes, a running gateway heeds.
    let client = gateway.client(&site.token(&bare.login("operator")));
    site.run(&["tenant", "allow", &bare.slug, "--image", ALPINE], "").succeeded();
    client.post("/containers", body.clone()).await.ok();
    site.run(&["tenant", "disallow", &bare.slug, ALPINE], "").succeeded();
    client.delete("/containers/c?force=true").await.ok();
    client.post("/containers", body).await.refused(403, "PermissionError");
}
