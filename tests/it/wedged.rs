//! A container that hangs Podman hurts its own tenant only, until the Podman service is restarted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine_down::socket;
use crate::support::private::PrivatePodman;
use crate::support::{Answer, Client, Forwarder, Podman, Site, eventually};

/// Podman reads /etc/passwd, and waits for ever where that is a FIFO: here for as long as it exists,
const WEDGED: &str = "localhost/wedged:latest";
/// and here once the FIFO is moved there.
const TRAP: &str = "localhost/trap:latest";

/// The tests' busybox image with a FIFO at `path`.
fn image_with_fifo(dir: &Path, path: &str) -> PathBuf {
    let busybox = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-images/busybox.tar");
    let mut image = tar::Archive::new(std::fs::File::open(busybox).expect("scripts/test-images made it"));
    let made = dir.join(format!("{}.tar", path.replace('/', "-")));
    let mut changed = tar::Builder::new(std::fs::File::create(&made).unwrap());
    for entry in image.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().strip_prefix("./").is_ok_and(|found| found == Path::new(path)) {
            continue;
        }
        let mut header = entry.header().clone();
        let (name, link) =
            (entry.path().unwrap().into_owned(), entry.link_name().unwrap().map(|link| link.into_owned()));
        match link {
            Some(link) => changed.append_link(&mut header, name, link).unwrap(),
            None => changed.append_data(&mut header, name, entry).unwrap(),
        }
    }
    let mut fifo = tar::Header::new_gnu();
    fifo.set_entry_type(tar::EntryType::Fifo);
    fifo.set_mode(0o644);
    fifo.set_size(0);
    changed.append_data(&mut fifo, format!("./{path}"), std::io::empty()).unwrap();
    changed.finish().unwrap();
    made
}

/// Seconds until a call that hangs is given up.
const PATIENCE: u64 = 6;

/// Says how long it took.
async fn timed(call: impl Future<Output = Answer>) -> (Answer, Duration) {
    let begun = Instant::now();
    (call.await, begun.elapsed())
}

async fn hangs(call: impl Future<Output = Answer>) {
    let (answer, took) = timed(call).await;
    assert_eq!(answer.status, 408, "{}", answer.text());
    answer.refused(408, "PodmanAPIError");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Everything a tenant usually does, without waiting for a call that hangs.
async fn all_is_well(client: &Client, name: &str) {
    let path = format!("/containers/{name}");
    let body = json!({"image": TRAP, "name": name, "command": "sleep 300"});
    let command = json!({"command": "echo hi"});
    let force = format!("{path}?force=true");
    let calls: [(&str, &str, Option<Value>); 6] = [
        ("POST", "/containers", Some(body)),
        ("GET", "/containers", None),
        ("GET", "/images", None),
        ("POST", &format!("{path}/exec"), Some(command)),
        ("GET", &path, None),
        ("DELETE", &force, None),
    ];
    for (method, path, body) in calls {
        let (answer, took) = timed(client.call(method, path, body)).await;
        assert_eq!(answer.status, 200, "{method} {path} after {took:?}: {}", answer.text());
        assert!(took < Duration::from_secs(PATIENCE - 1), "{method} {path}: {took:?}");
    }
}

/// A Podman of its own with both images, and a site on it.
fn begin() -> (PrivatePodman, Site) {
    let podman = PrivatePodman::start();
    let site = Site::new().set("engine.url", &podman.url).set("engine.request_timeout_seconds", PATIENCE);
    podman.import(&image_with_fifo(&site.dir, "etc/passwd"), WEDGED);
    podman.import(&image_with_fifo(&site.dir, "trap"), TRAP);
    (podman, site)
}

#[tokio::test]
async fn a_wedged_container_hurts_its_own_tenant_only() {
    let (podman, site) = begin();
    let images = [&*format!("--image={WEDGED}"), &*format!("--image={TRAP}"), "--quota=containers=9"];
    let (tenant, neighbour) = (site.tenant_with(&images), site.tenant_with(&images));
    let gateway = site.start().await;
    let client = &gateway.client(&site.token(&tenant.login("operator")));
    let theirs = &gateway.client(&site.token(&neighbour.login("operator")));
    let begun = Instant::now();
    for name in ["good", "moved", "read"] {
        client.create(json!({"image": TRAP, "name": name, "command": "sleep 300"})).await;
    }
    client.create(json!({"image": WEDGED, "name": "stuck", "start": false})).await;

    // It hangs, and the neighbour does not notice.
    hangs(client.post("/containers/stuck/start", json!(null))).await;
    for name in ["moved", "read"] {
        client.exec(name, json!("mv /trap /etc/passwd")).await;
    }
    hangs(client.post("/containers/moved/exec", json!({"command": "true"}))).await;
    let user = json!({"username": "student"});
    let (added, took) = timed(client.post("/containers/read/users", user.clone())).await;
    assert!(matches!(added.status, 408 | 409) && took < Duration::from_secs(20), "{took:?}: {}", added.text());
    all_is_well(theirs, "first").await;
    let (listed, took) = timed(client.get("/containers")).await;
    // It waits for those that hang, for all of them at once.
    assert!(took < Duration::from_secs(10), "{took:?}");
    let statuses: Vec<_> = listed.ok()["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["name"].as_str().unwrap(), one["status"].as_str().unwrap()))
        .collect();
    assert!(statuses.contains(&"good running".to_owned()), "{statuses:?}");
    assert!(statuses.contains(&"stuck unknown".to_owned()), "{statuses:?}");
    assert_eq!(client.exec("good", json!("echo hi")).await, "hi\n");

    // The operator is told which, and what to do.
    let report: Value = serde_json::from_str(&site.run(&["doctor", "--json"], "").stdout).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == "containers").unwrap();
    assert!(found["level"] == "warn" && found["message"].as_str().unwrap().contains("/stuck"), "{report}");
    assert!(found["advice"].as_str().unwrap().contains("restart Podman's service"), "{report}");

    // Removals that hang hold what all removals share; repeating them must not take it all.
    let (removal, took) = timed(client.delete("/containers/stuck?force=true")).await;
    // 409 where it waited for its turn behind one who looks at it.
    assert!(matches!(removal.status, 408 | 409) && took < Duration::from_secs(20), "{took:?}: {}", removal.text());
    let storm: Vec<_> = (0..30)
        .map(|number| {
            let (client, user) = (client.clone(), user.clone());
            tokio::spawn(async move {
                match number % 6 {
                    0 => client.delete("/containers/stuck?force=true").await,
                    1 => client.delete("/containers/moved?force=true").await,
                    2 => client.post("/containers/read/users", user).await,
                    3 => client.post("/containers/stuck/exec", json!({"command": "true"})).await,
                    4 => client.delete("/containers/read?force=true").await,
                    _ => client.post("/containers/moved/stop?timeout=0", json!(null)).await,
                }
            })
        })
        .collect();
    all_is_well(theirs, "second").await;
    for call in storm {
        let answer = call.await.unwrap();
        assert!(matches!(answer.status, 200 | 404 | 408 | 409), "{}", answer.text());
    }
    let body = |name: &str| json!({"image": WEDGED, "name": name});
    tokio::join!(
        hangs(client.post("/containers", body("more"))),
        hangs(client.post("/containers", body("still-more"))),
        all_is_well(theirs, "third"),
    );
    // What hangs keeps its row, and its part of the quota.
    for name in ["stuck", "more", "still-more"] {
        eventually(name, || async { client.listed().await.contains(&(name.into(), "removing".into())).then_some(()) })
            .await;
    }
    assert!(client.used().await["containers"] >= 2);

    // The cure.
    podman.kill_service();
    podman.serve();
    let healed = Instant::now();
    eventually("that what hung is removed", || async {
        let left: Vec<_> = client.listed().await.into_iter().map(|(name, _)| name).collect();
        (left == ["good"] && client.used().await["containers"] == 1).then_some(())
    })
    .await;
    assert_eq!(client.listed().await, [("good".into(), "running".into())]);
    assert_eq!(client.used().await["running"], 1);
    all_is_well(theirs, "last").await;
    assert_eq!(theirs.used().await["containers"], 0);
    eprintln!("healed after {:?}, all in {:?}", healed.elapsed(), begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(180), "{:?}", begun.elapsed());
}

/// Podman measures no volume while a container of anybody's hangs. Whoever fills one meanwhile is stopped all the same.
#[tokio::test]
async fn volumes_are_measured_beside_a_wedged_container() {
    let (_podman, site) = begin();
    let (tenant, neighbour) = (
        site.tenant_with(&[&*format!("--image={WEDGED}")]),
        site.tenant_with(&[&*format!("--image={TRAP}"), "--quota=stored_bytes=20000000"]),
    );
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    let theirs = gateway.client(&site.token(&neighbour.login("operator")));
    client.create(json!({"image": WEDGED, "name": "stuck", "start": false})).await;
    hangs(client.post("/containers/stuck/start", json!(null))).await;
    theirs.post("/volumes", json!({"name": "data"})).await.ok();
    let fill = "i=0; while [ $i -lt 600 ]; do i=$((i+1)); dd if=/dev/zero of=/data/f$i bs=1M count=1 2>/dev/null; \
                sleep 0.1; done; sleep 300";
    let body = json!({"image": TRAP, "name": "bomb", "command": ["sh", "-c", fill], "volumes": {"data": "/data"}});
    theirs.create(body).await;
    eventually("the bomb's end", || async { (theirs.status("bomb").await == "exited").then_some(()) }).await;
}

/// Files are reached by another way, which the pipe stands in or not: an answer comes, and nobody else waits.
#[tokio::test]
async fn files_of_a_wedged_container_hurt_its_own_tenant_only() {
    let (podman, site) = begin();
    let images = [&*format!("--image={WEDGED}"), &*format!("--image={TRAP}")];
    let (tenant, neighbour) = (site.tenant_with(&images), site.tenant_with(&images));
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    let theirs = gateway.client(&site.token(&neighbour.login("operator")));
    client.create(json!({"image": TRAP, "name": "moved", "command": "sleep 300"})).await;
    client.exec("moved", json!("mv /trap /etc/passwd")).await;
    client.create(json!({"image": WEDGED, "name": "stuck", "start": false})).await;
    let calls = |name: &'static str| {
        [
            ("POST", "", Some(json!({"dest_path": "/tmp/x", "content": "x"}))),
            ("GET", "?path=/etc", None),
            ("GET", "/content?path=/etc/passwd", None),
            ("GET", "/archive?path=/etc", None),
            ("POST", "/move", Some(json!({"source": "/etc/group", "destination": "/etc/x"}))),
            ("DELETE", "?path=/etc/passwd", None),
        ]
        .map(|(method, rest, body)| (method, format!("/containers/{name}/files{rest}"), body))
    };
    let mut asked = tokio::task::JoinSet::new();
    for (method, path, body) in calls("moved").into_iter().chain(calls("stuck")) {
        let client = client.clone();
        asked.spawn(async move {
            let (answer, took) = timed(client.call(method, &path, body)).await;
            assert!(took < Duration::from_secs(40), "{method} {path}: {took:?}");
            assert!(matches!(answer.status, 200 | 404 | 408 | 409 | 429), "{method} {path}: {}", answer.text());
        });
    }
    all_is_well(&theirs, "first").await;
    while let Some(one) = asked.join_next().await {
        one.unwrap();
    }
    all_is_well(&theirs, "second").await;
    podman.kill_service();
    podman.serve();
    for name in ["moved", "stuck"] {
        eventually("that it can be removed", || async {
            let answer = client.delete(&format!("/containers/{name}?force=true")).await;
            matches!(answer.status, 200 | 404).then_some(())
        })
        .await;
    }
    assert_eq!(client.used().await["containers"], 0);
}

/// What the gateway does by itself, it does for everybody else as if nothing were.
#[tokio::test]
async fn a_wedged_container_holds_up_nobodys_end() {
    let (podman, site) = begin();
    let images = [&*format!("--image={WEDGED}"), &*format!("--image={TRAP}")];
    let [tenant, neighbour, leaving, quiet] = [0; 4].map(|_| site.tenant_with(&images));
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    let theirs = gateway.client(&site.token(&neighbour.login("operator")));
    let last = gateway.client(&site.token(&leaving.login("operator")));
    gateway.client(&site.token(&quiet.login("operator"))).create(json!({"image": TRAP, "name": "c"})).await;
    // Five: a tenant has half the workers.
    let names = [0, 1, 2, 3, 4].map(|number| format!("stuck{number}"));
    for name in &names {
        client.create(json!({"image": WEDGED, "name": name, "start": false, "expires_in": 24})).await;
    }
    // A tenant starts two at once.
    for pair in names.chunks(2) {
        let starts = pair.iter().map(|name| {
            let (client, path) = (client.clone(), format!("/containers/{name}/start"));
            tokio::spawn(async move { hangs(client.post(&path, json!(null))).await })
        });
        for start in starts.collect::<Vec<_>>() {
            start.await.unwrap();
        }
    }
    // Its oldest one hangs as well.
    last.create(json!({"image": WEDGED, "name": "b", "start": false})).await;
    hangs(last.post("/containers/b/start", json!(null))).await;
    last.create(json!({"image": TRAP, "name": "c", "command": "sleep 300"})).await;
    // By then the time of the stuck ones has come, too.
    let expiring =
        |seconds: u64| json!({"image": TRAP, "name": format!("goes{seconds}"), "start": false, "expires_in": seconds});
    for seconds in [6, 12, 18] {
        theirs.create(expiring(seconds)).await;
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    site.run(&["tenant", "delete", &leaving.slug, "--no-wait"], "").succeeded();
    let mut late = Vec::new();
    for seconds in [6, 12, 18] {
        let path = format!("/containers/goes{seconds}");
        eventually(&path, || async { (theirs.get(&path).await.status == 404).then_some(()) }).await;
        late.push(begun.elapsed().saturating_sub(Duration::from_secs(seconds)));
    }
    assert!(late.iter().all(|late| *late < Duration::from_secs(8)), "expired so much too late: {late:?}");
    all_is_well(&theirs, "usual").await;
    eventually("the end of the leaving one's container that does not hang", || async {
        let shown = site.run(&["tenant", "show", &leaving.slug, "--json"], "").succeeded();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let quota = shown["quotas"].as_array().unwrap().iter().find(|quota| quota["resource"] == "containers").unwrap();
        (quota["used"] == 1).then_some(())
    })
    .await;

    // Of whom nothing is stuck, nothing is left but the network: Podman removes none while anything is stuck.
    site.run(&["tenant", "delete", &quiet.slug, "--no-wait"], "").succeeded();
    eventually("the end of a tenant of which nothing is stuck", || async {
        (site.run(&["tenant", "show", &quiet.slug], "").code == 1).then_some(())
    })
    .await;
    let on_podman = Podman { socket: podman.socket().to_owned() };
    assert_eq!(on_podman.networks(&quiet.slug).await.len(), 1);

    podman.kill_service();
    podman.serve();
    eventually("the deletion's end", || async {
        (site.run(&["tenant", "show", &leaving.slug], "").code == 1).then_some(())
    })
    .await;
    eventually("the end of the stuck ones", || async { client.listed().await.is_empty().then_some(()) }).await;
    assert!(client.used().await.values().all(|used| *used == 0));
    eventually("the networks' end", || async {
        let left = [&quiet.slug, &leaving.slug].map(|slug| on_podman.networks(slug));
        futures_util::future::join_all(left).await.concat().is_empty().then_some(())
    })
    .await;
}

/// Those that hang are never undone, and fill what all removals share.
#[tokio::test]
async fn no_removal_is_sent_that_would_hang() {
    let (podman, site) = begin();
    let socket = socket();
    let way = Forwarder::start(&socket, podman.socket());
    let site = site.set("engine.url", format!("unix://{}", socket.display()));
    let images = [&*format!("--image={WEDGED}"), &*format!("--image={TRAP}"), "--quota=running=1"];
    let tenant = site.tenant_with(&images);
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    for name in ["first", "second"] {
        client.create(json!({"image": WEDGED, "name": name, "start": false})).await;
    }
    let before = way.asked("DELETE", "/containers/");
    // Nobody knows yet that it hangs. (The probe of the seccomp profile has begun one, too.)
    let begun = way.asked("POST", "/init");
    let start = tokio::spawn({
        let client = client.clone();
        async move { client.post("/containers/first/start", json!(null)).await }
    });
    eventually("its start", || async { (way.asked("POST", "/init") > begun).then_some(()) }).await;
    client.delete("/containers/first?force=true").await.refused(408, "PodmanAPIError");
    start.await.unwrap().refused(408, "PodmanAPIError");
    // It holds the tenant's one place, and a refusal says so at once.
    client.create(json!({"image": TRAP, "name": "good", "start": false})).await;
    client.post("/containers/good/start", json!(null)).await.refused(403, "QuotaError");
    // A gateway that begins does not know it either.
    drop(gateway);
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    let looks = way.asked("GET", "/containers/");
    eventually("that it looks", || async { (way.asked("GET", "/containers/") > looks + 4).then_some(()) }).await;
    client.delete("/containers/first?force=true").await.refused(408, "PodmanAPIError");
    assert_eq!(way.asked("DELETE", "/containers/"), before);

    podman.kill_service();
    podman.serve();
    eventually("that it is removed", || async {
        let names: Vec<_> = client.listed().await.into_iter().map(|(name, _)| name).collect();
        (names == ["second", "good"]).then_some(())
    })
    .await;
    assert_eq!(client.used().await["running"], 0);
}
