//! Several at once, and somebody else beside us.

use std::time::Duration;

use serde_json::json;

use crate::support::{Site, Story, eventually};

#[tokio::test]
async fn of_equal_creates_at_once_one_wins() {
    let story = Story::begin().await;
    let creates = (0..6).map(|_| {
        let client = story.client.clone();
        tokio::spawn(async move {
            client.post("/containers", json!({"image": "alpine", "name": "one", "command": "sleep 300"})).await.status
        })
    });
    let creates: Vec<_> = creates.collect();
    let mut statuses = Vec::new();
    for create in creates {
        statuses.push(create.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409]);
    assert_eq!(story.client.listed().await, [("one".into(), "running".into())]);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
}

/// Whoever comes too late gets an answer of the contract, and nobody a failure of ours.
#[tokio::test]
async fn everything_may_race_with_a_removal() {
    let story = Story::begin().await;
    for round in 0..4 {
        story.client.create_sleeping("c").await;
        let calls = [
            ("DELETE", "/containers/c?force=true", json!(null)),
            ("GET", "/containers/c", json!(null)),
            ("DELETE", "/containers/c?force=true", json!(null)),
            ("POST", "/containers/c/exec", json!({"command": "true"})),
            ("GET", "/containers/c/logs", json!(null)),
            ("POST", "/containers/c/start", json!(null)),
            ("POST", "/containers/c/stop?timeout=0", json!(null)),
            ("POST", "/containers/c/files", json!({"dest_path": "/tmp/x", "content": "x"})),
            ("POST", "/containers/c/users", json!({"username": "u"})),
            ("GET", "/containers", json!(null)),
            ("DELETE", "/containers/c", json!(null)),
        ];
        let racing: Vec<_> = calls
            .into_iter()
            .cycle()
            .skip(round)
            .take(22)
            .map(|(method, path, body)| {
                let client = story.client.clone();
                tokio::spawn(async move {
                    let body = Some(body).filter(|body| !body.is_null());
                    (method, path, client.call(method, path, body).await)
                })
            })
            .collect();
        let mut removed = 0;
        for call in racing {
            let (method, path, answer) = call.await.unwrap();
            match answer.status {
                200 => removed += u32::from(method == "DELETE"),
                404 | 409 => drop(answer.refused(answer.status, "PodmanAPIError")),
                _ => panic!("{method} {path}: {} {}", answer.status, answer.text()),
            }
        }
        assert!(removed >= 1);
        assert_eq!(story.client.listed().await, []);
        assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
    }
}

#[tokio::test]
async fn a_removal_may_overtake_an_exec() {
    let story = Story::begin().await;
    for patience in [0, 15, 30, 45, 60, 75, 90, 120] {
        story.client.create_sleeping("c").await;
        let execs: Vec<_> = (0..4)
            .map(|_| {
                let client = story.client.clone();
                tokio::spawn(async move { client.post("/containers/c/exec", json!({"command": "sleep 5"})).await })
            })
            .collect();
        // At different moments of the beginning.
        tokio::time::sleep(Duration::from_millis(patience)).await;
        story.client.delete("/containers/c?force=true").await.ok();
        for exec in execs {
            let answer = exec.await.unwrap();
            match answer.status {
                200 => assert_eq!(answer.ok()["execution"]["success"], false, "{}", answer.text()),
                404 | 409 => drop(answer.refused(answer.status, "PodmanAPIError")),
                _ => panic!("after {patience} ms: {}", answer.text()),
            }
        }
    }
}

/// A class that begins: every tenant's network is made while others' come and go.
#[tokio::test]
async fn many_tenants_may_begin_at_once() {
    begin_at_once(Site::new()).await;
}

#[tokio::test]
async fn many_tenants_may_begin_at_once_on_postgresql() {
    begin_at_once(Site::on_postgres().await).await;
}

async fn begin_at_once(site: Site) {
    let story = Story::at(site).await;
    let tenants: Vec<_> = (0..8).map(|_| story.another()).collect();
    let beginnings: Vec<_> = tenants
        .iter()
        .map(|(_, client)| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..3 {
                    client.create_sleeping("c").await;
                    client.delete("/containers/c?force=true").await.ok();
                }
            })
        })
        .collect();
    for beginning in beginnings {
        beginning.await.expect("all is well");
    }
}

/// An operator's `podman rm` leaves a row that says so and can be removed.
#[tokio::test]
async fn a_container_removed_behind_our_back_is_unknown() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let (id, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
    story.podman.call("DELETE", &format!("/containers/{id}?force=true&timeout=0")).await;
    // Podman tells a moment later.
    eventually("that it is missed", || async { (client.status("c").await == "unknown").then_some(()) }).await;
    assert_eq!(client.listed().await, [("c".into(), "unknown".into())]);
    client.post("/containers/c/exec", json!({"command": "true"})).await.refused(404, "PodmanAPIError");
    client.post("/containers/c/start", json!(null)).await.refused(404, "PodmanAPIError");
    client.delete("/containers/c").await.ok();
    client.create_sleeping("c").await;
}
