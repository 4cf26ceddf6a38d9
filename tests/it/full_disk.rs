//! A full disk refuses what makes something, and not what removes.

use std::io::Write;

use serde_json::json;

use crate::support::gateway::PASSWORD;
use crate::support::{Podman, Site, eventually};

#[tokio::test]
async fn a_full_disk_refuses_mutations_but_no_removal() {
    let site = Site::new().set("engine.seccomp_path", std::env::var("PODGATE_TEST_SECCOMP").unwrap());
    let tenant = site.tenant();
    site.account(&tenant.login("admin"), "admin");
    let tokens = ["operator", "admin"].map(|name| site.token(&tenant.login(name)));
    let gateway = site.start_on_a_small_disk(48).await;
    let [client, admin] = tokens.map(|token| gateway.client(&token));
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.create_sleeping("runs").await;
    for number in 0..6 {
        client.create_with(&format!("idle{number}"), json!({"start": false})).await;
    }
    let journal = gateway.sees(&site.data("podgate.db-wal"));
    eventually("room for removals", || async {
        (std::fs::metadata(&journal).unwrap().len() > 6 * 1024 * 1024).then_some(())
    })
    .await;
    let fill = gateway.sees(&site.data("fill"));
    let mut file = std::fs::File::create(&fill).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    assert!(std::fs::write(gateway.sees(&site.data("more")), [0; 4096]).is_err(), "there is room");

    let refused = async |method: &str, path: &str, body| {
        let error = client.call(method, path, body).await.refused(503, "PodmanAPIError");
        assert_eq!(error["message"], "the gateway's disk is full; nothing was done");
    };
    for round in 0..3 {
        let create = json!({"image": "alpine", "name": format!("new{round}")});
        refused("POST", "/containers", Some(create)).await;
        refused("POST", "/volumes", Some(json!({"name": "more"}))).await;
        refused("POST", "/containers/runs/exec", Some(json!({"command": "touch /x"}))).await;
        refused("POST", "/containers/idle5/start", None).await;
        // A refusal without an entry is none, so strangers cannot eat up what room there is.
        refused("GET", "/tenants", None).await;
        client.sign_in(&tenant.login("operator"), "wrong password").await.refused(503, "PodmanAPIError");
        client.sign_in(&tenant.login("operator"), PASSWORD).await.refused(503, "PodmanAPIError");
        assert_eq!(client.listed().await.len(), 7 - 2 * round);
        for one in [2 * round, 2 * round + 1].iter().filter(|one| **one < 5) {
            client.delete(&format!("/containers/idle{one}")).await.ok();
        }
        client.post("/containers/runs/stop?timeout=0", json!(null)).await.ok();
    }
    client.delete("/containers/runs?force=true").await.ok();
    client.delete("/volumes/data").await.ok();
    assert_eq!(client.listed().await, [("idle5".into(), "created".into())]);
    assert_eq!(Podman::of_the_tests().containers(&tenant.slug).await.len(), 1);
    assert_eq!(client.used().await["containers"], 1);

    drop(file);
    std::fs::remove_file(&fill).unwrap();
    eventually("that it works again", || async {
        (client.post("/volumes", json!({"name": "data"})).await.status == 200).then_some(())
    })
    .await;
    let told = admin.get("/audit?verb=removeContainer&limit=100").await.ok();
    assert_eq!(told["entries"].as_array().map(Vec::len), Some(6), "{told}");
}
