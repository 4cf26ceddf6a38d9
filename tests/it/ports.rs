//! Host ports: chosen, asked for, and held.

use serde_json::{Value, json};

use crate::support::gateway::ports_of_its_own;
use crate::support::{Client, Site, Story, eventually};

/// The first three are chosen from, the fourth may be asked for.
fn site(first: u16, max_ports: u16) -> Site {
    Site::new()
        .with("[profiles.alone]\nnetwork = \"none\"")
        .set("profiles.default.auto_ports", format!("{first}-{}", first + 2))
        .set("profiles.default.ports", format!("{first}-{}", first + 3))
        .set("profiles.default.max_ports", max_ports)
}

/// The only host port of an answer.
fn port(container: &Value) -> u16 {
    let ports = container["ports"].as_object().unwrap_or_else(|| panic!("no ports: {container}"));
    assert_eq!(ports.len(), 1, "{container}");
    ports.keys().next().unwrap().parse().unwrap()
}

async fn read(client: &Client, name: &str) -> Value {
    client.get(&format!("/containers/{name}")).await.ok()["container"].clone()
}

#[tokio::test]
async fn the_gateway_chooses_where_it_may() {
    let first = ports_of_its_own();
    let story = Story::at(site(first, 16)).await;
    let client = &story.client;
    let (_, theirs) = story.another();
    let mut chosen = Vec::new();
    for (client, name) in [(client, "one"), (&theirs, "two"), (client, "three")] {
        let serving = format!("echo {name} > /tmp/index.html; exec httpd -f -p 8080 -h /tmp");
        let made = client.create_with(name, json!({"command": serving, "ports": {"0": "8080"}})).await;
        let port = port(&made);
        assert_eq!(made["ports"], json!({port.to_string(): "8080"}));
        assert_eq!(read(client, name).await["ports"], made["ports"]);
        assert!((first..=first + 2).contains(&port), "{port}");
        let bindings = story.podman.inspect(made["id"].as_str().unwrap()).await;
        let expected = json!([{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]);
        assert_eq!(bindings["HostConfig"]["PortBindings"]["8080/tcp"], expected);
        eventually("the published port", || async {
            (story.podman.fetch(port).await == format!("{name}\n")).then_some(())
        })
        .await;
        chosen.push(port);
    }
    chosen.sort_unstable();
    assert_eq!(chosen, [first, first + 1, first + 2]);

    // None is left; that leaves nothing.
    client.try_create("four", json!({"ports": {"0": "8080"}})).await.refused(409, "PodmanAPIError");
    assert_eq!(client.listed().await.len(), 2);
    assert_eq!(client.used().await["containers"], 2);
    // One that may be asked for and is not chosen from is free still.
    client.create_with("four", json!({"ports": {(first + 3).to_string(): "8080"}})).await;
    // What was removed is chosen again.
    let freed = port(&read(client, "one").await);
    client.delete("/containers/one?force=true").await.ok();
    assert_eq!(port(&client.create_with("five", json!({"ports": {"0": "8080"}})).await), freed);
}

#[tokio::test]
async fn ports_are_the_profiles() {
    let first = ports_of_its_own();
    let story = Story::at(site(first, 2)).await;
    let client = &story.client;
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--profile", "alone"], "").succeeded();
    for host in [first - 1, first + 4, 80, 1023, 65535] {
        let host = host.to_string();
        client.try_create("c", json!({"ports": {&host: "80"}})).await.blames(&[&format!("ports.{host}")]);
    }
    for (host, inside) in [("-1", "80"), ("00", "80"), ("0x50", "80"), ("0", "0"), ("0", "65536"), ("0", "80/tcp")] {
        client.try_create("c", json!({"ports": {host: inside}})).await.blames(&[&format!("ports.{host}")]);
    }
    let three = json!({first.to_string(): "80", (first + 1).to_string(): "81", "0": "82"});
    client.try_create("c", json!({"ports": three})).await.blames(&["ports"]);
    client.try_create("c", json!({"profile": "alone", "ports": {"0": "80"}})).await.blames(&["ports"]);
    assert_eq!(client.listed().await, []);
}

/// What is chosen keeps out of the way of what the same request asks for by number.
#[tokio::test]
async fn a_port_is_never_held_twice() {
    let first = ports_of_its_own();
    let story = Story::at(site(first, 16)).await;
    let client = &story.client;
    let made = client.create_with("c", json!({"ports": {first.to_string(): "80", "0": "81"}})).await;
    assert_eq!(made["ports"], json!({first.to_string(): "80", (first + 1).to_string(): "81"}));
    client.try_create("d", json!({"ports": {(first + 1).to_string(): "80"}})).await.refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn containers_made_at_once_get_different_ports() {
    let story = Story::at(site(ports_of_its_own(), 16)).await;
    let creates: Vec<_> = (0..6)
        .map(|number| {
            let client = story.client.clone();
            let body = json!({"ports": {"0": "80"}, "start": false});
            tokio::spawn(async move { client.try_create(&format!("c{number}"), body).await })
        })
        .collect();
    let mut ports = Vec::new();
    for create in creates {
        let answer = create.await.unwrap();
        match answer.status {
            200 => ports.push(port(&answer.ok()["container"])),
            _ => drop(answer.refused(409, "PodmanAPIError")),
        }
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
}

/// A start that failed may leave its port bound for a while.
#[tokio::test]
async fn the_port_of_a_failed_start_rests() {
    let first = ports_of_its_own();
    let story = Story::at(site(first, 16)).await;
    let client = &story.client;
    let doomed = json!({"ports": {"0": "80"}, "command": "nosuchprogram"});
    client.try_create("c", doomed).await.refused(400, "ValidationError");
    assert_eq!(port(&client.create_with("c", json!({"ports": {"0": "80"}})).await), first + 1);

    // One that somebody else on the host has is passed over, too, once it was tried.
    let _outsider = story.podman.occupy(first + 2).await;
    client.try_create("d", json!({"ports": {"0": "80"}})).await.refused(409, "PodmanAPIError");
    client.try_create("d", json!({"ports": {"0": "80"}})).await.refused(409, "PodmanAPIError");
    assert_eq!(client.listed().await, [("c".into(), "running".into())]);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
}

#[tokio::test]
async fn a_port_that_somebody_on_the_host_has_is_not_chosen() {
    let first = ports_of_its_own();
    let story = Story::at(site(first, 16)).await;
    let _outsider = story.podman.occupy(first).await;
    assert_eq!(port(&story.client.create_with("c", json!({"ports": {"0": "80"}})).await), first + 1);
    let number = first.to_string();
    let asked = story.client.try_create("d", json!({"ports": {&number: "80"}})).await;
    asked.refused(409, "PodmanAPIError");
    assert_eq!(story.client.used().await["containers"], 1);
}

/// Podman holds the port of a start that failed for a moment, which is not for the next one to bear.
#[tokio::test]
async fn a_port_that_is_asked_for_is_had_after_a_failed_start() {
    let first = ports_of_its_own();
    let story = Story::at(site(first, 16)).await;
    let (_, theirs) = story.another();
    let number = (first + 3).to_string();
    for _ in 0..4 {
        let doomed = json!({"ports": {&number: "80"}, "command": "nosuchprogram"});
        story.client.try_create("c", doomed).await.refused(400, "ValidationError");
        assert_eq!(port(&theirs.create_with("c", json!({"ports": {&number: "80"}})).await), first + 3);
        theirs.delete("/containers/c?force=true").await.ok();
    }
}

/// Who has the gateway's port when it starts anew has what a proxy goes on to send there: everybody's passwords.
#[tokio::test]
async fn no_container_gets_a_port_of_the_gateway() {
    // Below those that the kernel gives to whoever asks for any.
    let first = 11_000 + (rand::random::<u16>() % 2000) * 4;
    let (listen, operator) = (first + 1, first + 2);
    let mut site = site(first, 16);
    site.put("profiles.default.auto_ports", format!("{first}-{}", first + 3));
    let mut story = Story::at(site).await;
    // Held from before the gateway listened there.
    let held = json!({"ports": {listen.to_string(): "80"}, "start": false});
    story.client.create_with("old", held).await;
    story.gateway.terminate();
    story.gateway.ended().await;
    story.site.put("listen", format!("[{{ address = \"127.0.0.1:{listen}\" }}]"));
    story.site.put("operator.listen", format!("127.0.0.1:{operator}"));
    story.gateway = story.site.start().await;
    let client = &story.gateway.client(&story.site.token(&story.tenant.login("operator")));

    for verb in ["start", "restart"] {
        let refused = client.post(&format!("/containers/old/{verb}"), json!({})).await;
        let said = refused.refused(409, "PodmanAPIError").to_string();
        assert!(said.contains(&listen.to_string()) && said.contains("the gateway's own"), "{said}");
    }
    assert_eq!(client.listed().await, [("old".into(), "created".into())]);
    client.delete("/containers/old").await.ok();
    for port in [listen, operator] {
        let asked = client.try_create("c", json!({"ports": {port.to_string(): "80"}})).await;
        asked.blames(&[&format!("ports.{port}")]);
    }
    let chosen = async |name| port(&client.create_with(name, json!({"ports": {"0": "80"}, "start": false})).await);
    assert_eq!([chosen("one").await, chosen("two").await], [first, first + 3]);
    client.try_create("three", json!({"ports": {"0": "80"}})).await.refused(409, "PodmanAPIError");
}
