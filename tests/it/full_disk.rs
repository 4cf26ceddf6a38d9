//! A full disk refuses what makes something, and not what removes.

use std::io::Write;

use serde_json::json;

use crate::support::gateway::PASSWORD;
use crate::support::{Podman, Site, eventually};

#[tokio::test]
async fn a_full_disk_refuses_mutations_but_no_removal() {
    let site = Site::new().set("engine.seccomp_path", std::env::var("PODGATE_TEST_SECCOMP").unwrap());
    let tenant = site.tenant();
    let doomed = site.tenant();
    for (login, role) in [
        (tenant.login("admin"), "admin"),
        (tenant.login("leaver"), "viewer"),
        (tenant.login("gone"), "viewer"),
        (tenant.login("cli"), "viewer"),
        ("root".to_owned(), "platform"),
    ] {
        site.account(&login, role);
    }
    let tokens = [tenant.login("operator"), tenant.login("admin"), "root".into()].map(|login| site.token(&login));
    let gateway = site.start_on_a_small_disk(48).await;
    let [client, admin, root] = tokens.map(|token| gateway.client(&token));
    let key = admin.post("/api-keys", json!({"name": "lost"})).await.ok()["api_key"].clone();
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
        // Who removes has to come in first, and to go on longer than a token does.
        let signed = client.sign_in(&tenant.login("operator"), PASSWORD).await.ok();
        let form = [("grant_type", "refresh_token"), ("refresh_token", signed["refresh_token"].as_str().unwrap())];
        let signed = client.post_form("/auth/token", &form).await.ok();
        client.with_token(signed["access_token"].as_str().unwrap()).post("/auth/logout", json!(null)).await.ok();
        assert_eq!(client.listed().await.len(), 7 - 2 * round);
        for one in [2 * round, 2 * round + 1].iter().filter(|one| **one < 5) {
            client.delete(&format!("/containers/idle{one}")).await.ok();
        }
        client.post("/containers/runs/stop?timeout=0", json!(null)).await.ok();
    }
    // So is all that takes leave away, by the API and by the command line.
    let lost = gateway.client(key["key"].as_str().unwrap());
    lost.get("/accounts").await.ok();
    admin.delete(&format!("/api-keys/{}", key["id"].as_str().unwrap())).await.ok();
    lost.get("/accounts").await.refused(401, "AuthenticationError");
    let patch = async |body| admin.call("PATCH", "/accounts/leaver", Some(body)).await;
    patch(json!({"role": "operator"})).await.refused(503, "PodmanAPIError");
    patch(json!({"disabled": true, "password": PASSWORD})).await.refused(503, "PodmanAPIError");
    patch(json!({"disabled": true})).await.ok();
    patch(json!({"disabled": false})).await.refused(503, "PodmanAPIError");
    admin.delete("/accounts/gone").await.ok();
    let cli = tenant.login("cli");
    site.run_where(&gateway, &["account", "disable", &cli]).succeeded();
    assert!(site.run_where(&gateway, &["account", "enable", &cli]).stderr.contains("disk is full"));
    assert!(site.run_where(&gateway, &["token", &cli]).stderr.contains("no enabled account"));
    let token = site.run_where(&gateway, &["token", &tenant.login("operator")]).succeeded();
    gateway.client(token.trim_end()).get("/containers").await.ok();
    site.run_where(&gateway, &["account", "delete", &cli]).succeeded();
    root.delete(&format!("/tenants/{}", doomed.slug)).await.ok();
    eventually("its end", || async {
        (root.get(&format!("/tenants/{}", doomed.slug)).await.status == 404).then_some(())
    })
    .await;
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
