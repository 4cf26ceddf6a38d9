//! What carries our label and nobody owns goes, at the next start or sooner, and nothing else does.

use serde_json::json;

use crate::engine_down::{site_at, socket};
use crate::support::gateway::unique;
use crate::support::private::PrivatePodman;
use crate::support::{ALPINE, Forwarder, Ledger, Podman, Site, Story, eventually};

/// A tenant's network has some 250 addresses. On a Podman where these were the first containers ever, each kept its own.
#[tokio::test]
async fn what_is_removed_leaves_no_link() {
    let podman = PrivatePodman::start();
    podman.import_alpine();
    let story = Story::at(Site::new().set("engine.url", &podman.url)).await;
    for name in ["a", "b", "c"] {
        story.client.create_sleeping(name).await;
        story.client.delete(&format!("/containers/{name}?force=true")).await.ok();
    }
    eventually("that no link is left", || async { podman.links().is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn what_nobody_owns_goes_at_the_next_start() {
    let story = Story::begin().await;
    let (neighbour, theirs) = story.another();
    for client in [&story.client, &theirs] {
        client.post("/volumes", json!({"name": "data"})).await.ok();
        client.create_with("web", json!({"volumes": {"data": "/data"}})).await;
    }
    let Story { gateway, tenant, podman, site, .. } = story;
    drop(gateway);
    let ledger = Ledger::of(&site).await;
    let installation = ledger.installation().await.unwrap();
    // As if the records were lost: from an older backup, say.
    for statement in [
        "DELETE FROM containers WHERE tenant_id = (SELECT MIN(id) FROM tenants)",
        "DELETE FROM volumes WHERE tenant_id = (SELECT MIN(id) FROM tenants)",
        "DELETE FROM tenants WHERE id = (SELECT MIN(id) FROM tenants)",
    ] {
        ledger.execute(statement).await;
    }
    let lost_is_ours = !site.run(&["tenant", "show", &tenant.slug], "").stdout.contains("tenant");
    let (lost, kept) = if lost_is_ours { (&tenant, &neighbour) } else { (&neighbour, &tenant) };
    // A network that only looks like ours.
    let stranger = format!("podgate-x{}", tenant.slug);
    podman.post("/networks/create", json!({"name": stranger, "driver": "bridge"})).await;

    let gateway = site.start().await;
    let client = gateway.client(&site.token(&kept.login("operator")));
    eventually("that it is gone", || async {
        let gone = podman.containers(&lost.slug).await.is_empty()
            && podman.network(&lost.slug).await.is_none()
            && podman.volumes(&installation).await.len() == 1;
        gone.then_some(())
    })
    .await;
    assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    assert!(podman.network(&kept.slug).await.is_some());
    assert_eq!(client.exec("web", json!("touch /data/f; echo kept")).await, "kept\n");
    assert_eq!(podman.call("DELETE", &format!("/networks/{stranger}")).await.status, 200, "it was not ours");
    // The name is free again, and with it its network's.
    site.run(&["tenant", "create", &lost.slug, "--image", crate::images::ALPINE], "").succeeded();
    site.account(&lost.login("heir"), "operator");
    gateway.client(&site.token(&lost.login("heir"))).create_sleeping("web").await;
}

/// A container with an installation's label and no row of its ledger.
async fn stray(podman: &Podman, installation: &str) -> String {
    let labels = json!({"io.podgate.installation": installation, "io.podgate.container": "no-such-row"});
    let body = json!({"image": ALPINE, "name": unique(), "labels": labels, "command": ["sleep", "300"]});
    podman.post("/containers/create", body).await.json()["Id"].as_str().unwrap().to_owned()
}

async fn is_there(podman: &Podman, id: &str) -> bool {
    podman.call("GET", &format!("/containers/{id}/exists")).await.status == 204
}

/// While Podman is away, nobody tells what happens to it: it may come back with another store.
#[tokio::test]
async fn what_nobody_owns_goes_when_podman_is_back() {
    let (socket, podman) = (socket(), Podman::of_the_tests());
    let way = Forwarder::start(&socket, &podman.socket);
    let story = Story::at(site_at(&socket)).await;
    story.client.create_sleeping("web").await;
    let installation = Ledger::of(&story.site).await.installation().await.unwrap();
    drop(way);
    let left = stray(&podman, &installation).await;
    let labels = json!({"io.podgate.installation": installation});
    let slug = unique();
    podman.post("/networks/create", json!({"name": format!("podgate-{slug}.x"), "labels": labels})).await;
    podman.post("/volumes/create", json!({"Name": format!("podgate-{slug}"), "Labels": labels})).await;
    assert!(podman.network(&slug).await.is_some());

    let _way = Forwarder::start(&socket, &podman.socket);
    eventually("that it is gone", || async {
        let volumes = podman.volumes(&installation).await;
        let gone = !is_there(&podman, &left).await && podman.network(&slug).await.is_none();
        (gone && !volumes.contains(&format!("podgate-{slug}"))).then_some(())
    })
    .await;
    assert_eq!(story.client.listed().await, [("web".into(), "running".into())]);
}

/// Nobody sees it, nobody can remove it, and its name is taken.
#[tokio::test]
async fn what_a_killed_podman_left_of_a_create_is_in_nobodys_way() {
    let mut podman = PrivatePodman::start();
    podman.import_alpine();
    let site = Site::new();
    let tenant = site.tenant();
    podman.die_while_making(&format!("{}.web", tenant.slug));
    let site = site.set("engine.url", &podman.url);
    let gateway = site.start().await;
    let client = &gateway.client(&site.token(&tenant.login("operator")));
    client.create_sleeping("web").await;
    assert_eq!(client.exec("web", json!("echo hi")).await, "hi\n");
    // A name that somebody really has stays theirs.
    let name = format!("{}.theirs", tenant.slug);
    let theirs = Podman { socket: podman.socket().to_owned() };
    let made = theirs.post("/containers/create", json!({"image": ALPINE, "name": name})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    client.try_create("theirs", json!({})).await.refused(409, "PodmanAPIError");
    assert!(is_there(&theirs, made.json()["Id"].as_str().unwrap()).await);
    assert_eq!(client.used().await["containers"], 1);
}

/// Of networks and volumes no event tells: each round of the reconciler looks for them.
#[tokio::test]
async fn networks_and_volumes_that_nobody_owns_go_by_and_by() {
    let (socket, podman) = (socket(), Podman::of_the_tests());
    let way = Forwarder::start(&socket, &podman.socket);
    let Story { client, site, gateway: _gateway, .. } = Story::at(site_at(&socket)).await;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    let installation = Ledger::of(&site).await.installation().await.unwrap();
    // What it does at its start ends with this.
    let looked = || way.asked("GET", "/volumes/json");
    eventually("the first look for strays", || async { (looked() > 1).then_some(()) }).await;
    let data = podman.volumes(&installation).await.remove(0);
    let labels = json!({"io.podgate.installation": installation});
    let slug = unique();
    podman.post("/networks/create", json!({"name": format!("podgate-{slug}.x"), "labels": labels})).await;
    podman.post("/volumes/create", json!({"Name": format!("podgate-{slug}"), "Labels": labels})).await;
    assert!(podman.network(&slug).await.is_some());
    // A removal that fails has the next round begin soon.
    way.fail(&data, "no space left on device");
    client.delete("/volumes/data").await.refused(500, "PodmanAPIError");
    way.pass(&data);
    eventually("that all of it is gone", || async {
        let gone = podman.volumes(&installation).await.is_empty() && podman.network(&slug).await.is_none();
        (gone && client.used().await["volumes"] == 0).then_some(())
    })
    .await;
}

/// Nor does anybody have to go away first.
#[tokio::test]
async fn what_somebody_else_made_with_our_label_goes() {
    let story = Story::begin().await;
    story.client.create_sleeping("web").await;
    let podman = &story.podman;
    let installation = Ledger::of(&story.site).await.installation().await.unwrap();
    let theirs = stray(podman, &unique()).await;
    let ours = stray(podman, &installation).await;
    eventually("that it is gone", || async { (!is_there(podman, &ours).await).then_some(()) }).await;
    assert!(is_there(podman, &theirs).await, "it carries another installation's label");
    podman.call("DELETE", &format!("/containers/{theirs}?force=true")).await;
    assert_eq!(story.client.listed().await, [("web".into(), "running".into())]);
    let told = story.site.run(&["audit", "export"], "").succeeded();
    assert!(told.contains("nobody owns it"), "{told}");
}
