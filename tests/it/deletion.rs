//! A tenant goes with everything it owns.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::json;

use crate::support::gateway::PASSWORD;
use crate::support::{ALPINE, Client, Ledger, Podman, Site, Story, Tenant, eventually};

const PROFILES: &str = "[profiles.inside]\nnetwork = \"internal\"";

/// A tenant with something of everything: containers on two networks, one with a port and a volume, one that does not
/// run; and another volume.
async fn furnish(site: &Site, client: &Client, tenant: &Tenant) {
    site.run(&["tenant", "allow", &tenant.slug, "--profile", "inside", "--quota", "containers=7"], "").succeeded();
    for volume in ["data", "spare"] {
        client.post("/volumes", json!({"name": volume})).await.ok();
    }
    client.create_with("web", json!({"ports": {"0": "80"}, "volumes": {"data": "/data"}})).await;
    client.create_with("inside", json!({"profile": "inside"})).await;
    client.create_with("idle", json!({"start": false})).await;
}

fn delete(site: &Site, tenant: &Tenant) {
    site.run(&["tenant", "delete", &tenant.slug, "--no-wait"], "").succeeded();
}

/// Waits until ledger and Podman know nothing of it.
async fn gone(site: &Site, tenant: &Tenant) {
    eventually("the tenant's end", || async {
        (site.run(&["tenant", "show", &tenant.slug], "").code == 1).then_some(())
    })
    .await;
    let podman = Podman::of_the_tests();
    assert_eq!(podman.containers(&tenant.slug).await, []);
    assert!(!podman.has_anything_of(&tenant.slug).await, "a network is left");
}

#[tokio::test]
async fn nothing_of_a_deleted_tenant_is_left() {
    let story = Story::at(Site::new().with(PROFILES)).await;
    let Story { site, client, tenant, .. } = &story;
    let (_, theirs) = story.another();
    furnish(site, client, tenant).await;
    theirs.post("/volumes", json!({"name": "data"})).await.ok();
    theirs.create_with("web", json!({"ports": {"0": "80"}, "volumes": {"data": "/data"}})).await;
    theirs.exec("web", json!("echo theirs > /data/file")).await;
    let port = client.get("/containers/web").await.ok()["container"]["ports"].clone();
    let key = client.post("/api-keys", json!({"name": "k"})).await.ok()["api_key"]["key"].as_str().unwrap().to_owned();
    let key = client.with_token(&key);
    key.get("/containers").await.ok();

    delete(site, tenant);
    client.get("/containers").await.refused(401, "AuthenticationError");
    key.get("/containers").await.refused(401, "AuthenticationError");
    client.sign_in(&tenant.login("operator"), PASSWORD).await.refused(401, "AuthenticationError");
    assert_ne!(site.run(&["token", &tenant.login("operator")], "").code, 0, "nor are tokens made");
    gone(site, tenant).await;
    let ledger = Ledger::of(site).await;
    for (table, left) in [
        ("tenants", 1),
        ("accounts", 1),
        ("api_keys", 0),
        ("containers", 1),
        ("volumes", 1),
        ("container_ports", 1),
        ("tenant_user_ids", 1),
    ] {
        assert_eq!(ledger.count(table).await, left, "{table}");
    }
    assert_eq!(story.podman.volumes(&ledger.installation().await.unwrap()).await.len(), 1);

    // The neighbour is as it was, and may have the port.
    assert_eq!(theirs.listed().await, [("web".into(), "running".into())]);
    assert_eq!(theirs.exec("web", json!("cat /data/file")).await, "theirs\n");
    let port = port.as_object().unwrap().keys().next().unwrap().clone();
    theirs.create_with("second", json!({"ports": {port: "80"}})).await;

    // The name may be had again, by somebody who has nothing of the old one.
    site.run(&["tenant", "create", &tenant.slug, "--image", ALPINE], "").succeeded();
    site.account(&tenant.login("operator"), "operator");
    client.get("/containers").await.refused(401, "AuthenticationError");
    let heir = story.gateway.client(&site.token(&tenant.login("operator")));
    assert_eq!(heir.listed().await, []);
    assert_eq!(heir.get("/volumes").await.ok()["volumes"], json!([]));
    assert!(heir.used().await.values().all(|used| *used == 0));
    assert_eq!(heir.quotas("limit").await["containers"], 20);
    heir.try_create("c", json!({"profile": "inside"})).await.refused(403, "PermissionError");
    heir.create_sleeping("web").await;
    assert_eq!(heir.exec("web", json!("hostname")).await, "web\n");
}

#[tokio::test]
async fn the_command_waits_for_the_end() {
    let story = Story::begin().await;
    story.client.create_sleeping("c").await;
    let done = story.site.run(&["tenant", "delete", &story.tenant.slug], "");
    assert!(done.stderr.contains("1 container"), "{}", done.stderr);
    assert_eq!(done.succeeded(), format!("tenant {} deleted\n", story.tenant.slug));
    gone(&story.site, &story.tenant).await;
    let again = story.site.run(&["tenant", "delete", &story.tenant.slug], "");
    assert!(again.code == 1 && again.stderr.contains("there is no tenant"), "{}", again.stderr);
}

#[tokio::test]
async fn a_deletion_survives_every_crash() {
    let documented = podgate::config::DEFAULTS.split([',', ' ', '#', '\n']).filter(|word| word.starts_with("delete."));
    let points: Vec<&str> = documented.collect();
    assert_eq!(points, ["delete.marked", "delete.emptied", "delete.disconnected"]);
    let mut site = Site::new().with(PROFILES);
    let bystander = site.tenant();
    for point in points {
        let tenant = site.tenant();
        site.put("fail_point", point);
        let mut doomed = site.start().await;
        let client = doomed.client(&site.token(&tenant.login("operator")));
        let theirs = doomed.client(&site.token(&bystander.login("operator")));
        furnish(&site, &client, &tenant).await;
        if theirs.listed().await.is_empty() {
            theirs.create_sleeping("web").await;
        }
        delete(&site, &tenant);
        let status = doomed.ended().await;
        assert!(status.signal().is_some(), "{point}: {status}");
        site.unset("fail_point");
        let gateway = site.start().await;
        gone(&site, &tenant).await;
        let theirs = gateway.client(&site.token(&bystander.login("operator")));
        assert_eq!(theirs.listed().await, [("web".into(), "running".into())], "{point}");
        let installation = Ledger::of(&site).await.installation().await.unwrap();
        assert_eq!(Podman::of_the_tests().volumes(&installation).await, [] as [&str; 0], "{point}");
    }
}

#[tokio::test]
async fn what_was_asked_for_meanwhile_leaves_nothing() {
    let story = Story::begin().await;
    let site = &story.site;
    for patience in [0, 20, 60, 120, 250] {
        let (tenant, client) = story.another();
        if patience % 40 == 20 {
            client.create_sleeping("before").await;
        }
        let calls: Vec<_> = (0..10)
            .map(|number| {
                let client = client.clone();
                let name = format!("c{number}");
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(number * 30)).await;
                    match number % 3 {
                        0 => client.post("/volumes", json!({"name": name})).await,
                        other => client.try_create(&name, json!({"start": other == 1, "ports": {"0": "80"}})).await,
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(patience)).await;
        delete(site, &tenant);
        for call in calls {
            let answer = call.await.unwrap();
            match answer.status {
                200 | 401 | 404 | 409 => {}
                other => panic!("after {patience} ms: {other} {}", answer.text()),
            }
        }
        gone(site, &tenant).await;
    }
    let ledger = Ledger::of(site).await;
    assert_eq!((ledger.count("containers").await, ledger.count("volumes").await), (0, 0));
    assert_eq!(ledger.count("container_ports").await, 0);
    assert_eq!(story.podman.volumes(&ledger.installation().await.unwrap()).await, [] as [&str; 0]);
}

/// Somebody on the host looks at a tenant's network from a container of theirs, which is none of ours.
#[tokio::test]
async fn what_is_not_ours_outlives_the_tenant_whose_network_it_is_on() {
    let Story { site, client, tenant, podman, gateway: _gateway, .. } = Story::begin().await;
    client.create_sleeping("web").await;
    let network = podman.network(&tenant.slug).await.unwrap()["name"].as_str().unwrap().to_owned();
    let body = json!({
        "image": ALPINE, "command": ["sleep", "300"],
        "netns": {"nsmode": "bridge"}, "Networks": {&network: {}},
    });
    let id = podman.post("/containers/create", body).await.json()["Id"].as_str().unwrap().to_owned();
    podman.post(&format!("/containers/{id}/start"), json!(null)).await;
    delete(&site, &tenant);
    eventually("the tenant's end", || async {
        (site.run(&["tenant", "show", &tenant.slug], "").code == 1).then_some(())
    })
    .await;
    assert_eq!(podman.inspect(&id).await["State"]["Status"], "running");
    podman.call("DELETE", &format!("/containers/{id}?force=true&timeout=0")).await;
    podman.clean(&tenant.slug).await;
}

/// Creates that were let in before the deletion and come to Podman only after it.
#[tokio::test]
async fn what_waited_meanwhile_leaves_no_network() {
    let story = Story::at(Site::new().set("engine.max_workers", 1)).await;
    let Story { site, client, tenant, podman, .. } = &story;
    let creates: Vec<_> = (0..60)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.try_create(&format!("c{number}"), json!({"start": false})).await.status })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    delete(site, tenant);
    let mut statuses = Vec::new();
    for create in creates {
        statuses.push(create.await.unwrap());
    }
    gone(site, tenant).await;
    assert_eq!(podman.containers(&tenant.slug).await, [], "{statuses:?}");
}

/// Marked while no gateway ran: the next one begins with it.
#[tokio::test]
async fn a_deletion_waits_for_a_gateway() {
    let story = Story::begin().await;
    story.client.create_sleeping("c").await;
    let Story { gateway, site, tenant, .. } = story;
    drop(gateway);
    delete(&site, &tenant);
    delete(&site, &tenant);
    site.run(&["tenant", "create", &tenant.slug], "").code.eq(&1).then_some(()).expect("the name is taken until then");
    let late = site.run(&["tenant", "allow", &tenant.slug, "--quota", "containers=1"], "");
    assert!(late.code == 1 && late.stderr.contains("being deleted"), "{}", late.stderr);
    let _gateway = site.start().await;
    gone(&site, &tenant).await;
}
