//! What carries our label and nobody owns goes at the next start, and nothing else does.

use serde_json::json;

use crate::support::private::PrivatePodman;
use crate::support::{Ledger, Site, Story, eventually};

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
