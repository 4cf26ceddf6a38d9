//! What a tenant may have in all, counted exactly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::{CREATE, REMOVE, REMOVE_WEB, die_at, settled, web};
use crate::images::ALPINE;
use crate::support::{Client, Podman, Site, Story, Tenant, eventually};

fn set(site: &Site, tenant: &Tenant, quota: &str) {
    site.run(&["tenant", "allow", &tenant.slug, "--quota", quota], "").succeeded();
}

/// The counters are what the containers and volumes add up to.
async fn counters_are_exact(client: &Client) {
    let mut expected: BTreeMap<String, i64> =
        ["containers", "running", "memory_bytes", "cpu_millis", "pids", "volumes"].map(|name| (name.into(), 0)).into();
    for (name, _) in client.listed().await {
        let read = client.get(&format!("/containers/{name}")).await.ok()["container"].clone();
        let limits = &read["limits"];
        let cpu_millis = (limits["cpus"].as_f64().unwrap() * 1000.0) as i64;
        for (resource, amount) in [
            ("containers", 1),
            ("running", i64::from(read["status"] == "running")),
            ("memory_bytes", limits["memory_bytes"].as_i64().unwrap()),
            ("cpu_millis", cpu_millis),
            ("pids", limits["pids"].as_i64().unwrap()),
        ] {
            *expected.get_mut(resource).unwrap() += amount;
        }
    }
    let volumes = client.get("/volumes").await.ok()["volumes"].as_array().unwrap().len();
    expected.insert("volumes".into(), i64::try_from(volumes).unwrap());
    let mut used = client.used().await;
    used.retain(|resource, _| expected.contains_key(resource));
    assert_eq!(used, expected);
}

#[tokio::test]
async fn each_resource_has_a_bound() {
    let story = Story::begin().await;
    let client = &story.client;
    let idle = |more: Value| {
        let mut body = json!({"start": false, "limits": {"memory_bytes": 10_000_000, "cpus": 0.5, "pids": 10}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (resource, limit, used) in [
        ("containers", 1, 1),
        ("running", 1, 1),
        ("memory_bytes", 19_999_999, 10_000_000),
        ("cpu_millis", 999, 500),
        ("pids", 19, 10),
    ] {
        set(&story.site, &story.tenant, &format!("{resource}={limit}"));
        assert_eq!(client.quotas("limit").await[resource], limit, "seen at once");
        let start = resource == "running";
        client.create_with("first", idle(json!({"start": start}))).await;
        let error = client.try_create("second", idle(json!({"start": start}))).await.refused(403, "QuotaError");
        let message = error["message"].as_str().unwrap();
        for word in [resource, &limit.to_string(), &used.to_string()] {
            assert!(message.contains(word), "{message} does not say {word}");
        }
        assert_eq!(client.listed().await.len(), 1);
        assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 1);
        counters_are_exact(client).await;
        // Nothing of it is the neighbour's concern.
        set(&story.site, &story.tenant, &format!("{resource}=1000000000"));
        client.create_with("second", idle(json!({"start": start}))).await;
        counters_are_exact(client).await;
        for name in ["first", "second"] {
            client.delete(&format!("/containers/{name}?force=true")).await.ok();
        }
        assert!(client.used().await.values().all(|used| *used == 0));
    }
    let (_, theirs) = story.another();
    assert_eq!(theirs.quotas("limit").await["containers"], 20);
}

#[tokio::test]
async fn a_bound_may_be_lower_than_what_there_is() {
    let story = Story::begin().await;
    let client = &story.client;
    for name in ["a", "b", "c"] {
        client.create_with(name, json!({"start": false})).await;
    }
    set(&story.site, &story.tenant, "containers=1");
    assert_eq!((client.quotas("limit").await["containers"], client.used().await["containers"]), (1, 3));
    client.try_create("d", json!({"start": false})).await.refused(403, "QuotaError");
    for (name, status) in [("a", 403), ("b", 403), ("c", 200)] {
        client.delete(&format!("/containers/{name}")).await.ok();
        assert_eq!(client.try_create("d", json!({"start": false})).await.status, status, "after {name}");
    }
    let shown = story.site.run(&["tenant", "show", &story.tenant.slug], "").succeeded();
    assert!(shown.contains("quota containers=1, 1 used\n"), "{shown}");
    for wrong in ["containers=-1", "containers", "containers=x", "nonsense=1", "containers=1.5"] {
        let refused = story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", wrong], "");
        assert_eq!(refused.code, 2, "{wrong}: {}", refused.stderr);
    }
}

#[tokio::test]
async fn parallel_creates_share_exactly_what_there_is() {
    let story = Story::begin().await;
    set(&story.site, &story.tenant, "containers=10");
    let creates: Vec<_> = (0..200)
        .map(|number| {
            let client = story.client.clone();
            tokio::spawn(async move { client.try_create(&format!("c{number}"), json!({"start": false})).await })
        })
        .collect();
    let mut made = 0;
    for create in creates {
        let answer = create.await.unwrap();
        match answer.status {
            200 => made += 1,
            _ => drop(answer.refused(403, "QuotaError")),
        }
    }
    assert_eq!(made, 10);
    assert_eq!(story.podman.containers(&story.tenant.slug).await.len(), 10);
    counters_are_exact(&story.client).await;
    for (name, _) in story.client.listed().await {
        story.client.delete(&format!("/containers/{name}")).await.ok();
    }
    assert!(story.client.used().await.values().all(|used| *used == 0));
}

#[tokio::test]
async fn only_so_many_run_at_once() {
    let story = Story::begin().await;
    let client = &story.client;
    set(&story.site, &story.tenant, "running=1");
    client.create_sleeping("first").await;
    client.create_with("second", json!({"start": false})).await;
    client.post("/containers/second/start", json!(null)).await.refused(403, "QuotaError");
    client.post("/containers/second/restart?timeout=0", json!(null)).await.refused(403, "QuotaError");
    assert_eq!(client.status("second").await, "created");
    // Starting what runs takes no second place.
    client.post("/containers/first/start", json!(null)).await.ok();
    client.post("/containers/first/restart?timeout=0", json!(null)).await.ok();
    counters_are_exact(client).await;
    client.post("/containers/first/stop?timeout=0", json!(null)).await.ok();
    counters_are_exact(client).await;
    client.post("/containers/second/start", json!(null)).await.ok();
    client.post("/containers/first/start", json!(null)).await.refused(403, "QuotaError");
    client.post("/containers/second/kill", json!(null)).await.ok();
    eventually("a place", || async {
        (client.post("/containers/first/start", json!(null)).await.status == 200).then_some(())
    })
    .await;
    client.post("/containers/first/pause", json!(null)).await.ok();
    client.post("/containers/second/start", json!(null)).await.refused(403, "QuotaError");
    client.post("/containers/first/unpause", json!(null)).await.ok();
    client.delete("/containers/first?force=true").await.ok();
    client.post("/containers/second/start", json!(null)).await.ok();
    counters_are_exact(client).await;
}

#[tokio::test]
async fn what_ended_by_itself_frees_its_place() {
    let story = Story::begin().await;
    let client = &story.client;
    set(&story.site, &story.tenant, "running=1");
    for round in 0..3 {
        let name = format!("brief{round}");
        // Nobody asks how the one before is: the next start does.
        let make = async || client.try_create(&name, json!({"command": "true"})).await;
        eventually("a place", || async { (make().await.status == 200).then_some(()) }).await;
    }
    client.said("brief2").await;
    counters_are_exact(client).await;
    client.create_with("last", json!({"start": false})).await;
    client.post("/containers/last/start", json!(null)).await.ok();
    counters_are_exact(client).await;
}

#[tokio::test]
async fn what_failed_gives_everything_back() {
    let story = Story::begin().await;
    let client = &story.client;
    for (more, status) in [
        (json!({"command": "nosuchprogram"}), 400),
        (json!({"user": "nobodyhere"}), 400),
        (json!({"workdir": "/no/such"}), 400),
        (json!({"ports": {"2000": "80", "2001": "81"}, "command": "nosuchprogram"}), 400),
        (json!({"volumes": {"absent": "/data"}}), 403),
        (json!({"profile": "absent"}), 403),
        (json!({"image": "absent"}), 403),
    ] {
        let refused = client.try_create("c", more.clone()).await;
        assert_eq!(refused.status, status, "{more}: {}", refused.text());
        assert!(client.used().await.values().all(|used| *used == 0), "{more}");
    }
    // A start that fails later, too.
    client.create_with("c", json!({"command": "nosuchprogram", "start": false})).await;
    client.post("/containers/c/start", json!(null)).await.refused(400, "ValidationError");
    counters_are_exact(client).await;
    assert_eq!(client.used().await["running"], 0);
}

#[tokio::test]
async fn a_crash_leaves_the_counters_right() {
    let mut site = Site::new();
    let podman = Podman::of_the_tests();
    let points = CREATE.iter().map(|(point, _)| (*point, true)).chain(REMOVE.iter().map(|point| (*point, false)));
    for (point, creating) in points {
        let tenant = site.tenant();
        let gateway = site.start().await;
        let client = gateway.client(&site.token(&tenant.login("operator")));
        client.create_with("other", json!({"start": false})).await;
        if !creating {
            client.create_sleeping("web").await;
        }
        drop(gateway);
        let request = if creating { web() } else { REMOVE_WEB };
        let (client, _gateway) = die_at(point, &mut site, &tenant, request).await;
        settled(&client, &podman, &tenant).await;
        eventually("counters that are right", || async {
            let running = client.listed().await.iter().filter(|(_, status)| status == "running").count();
            (client.used().await["running"] == i64::try_from(running).unwrap()).then_some(())
        })
        .await;
        counters_are_exact(&client).await;
    }
}

#[tokio::test]
async fn so_many_commands_run_at_once_and_so_many_wait() {
    let story = Story::at(Site::new().set("engine.request_timeout_seconds", 120)).await;
    set(&story.site, &story.tenant, "execs=2");
    let client = &story.client;
    client.create_sleeping("c").await;
    let body = json!({"command": "until [ -e /tmp/go ]; do sleep 0.1; done; sleep 1", "timeout": 300});
    let mut commands = tokio::task::JoinSet::new();
    for _ in 0..14 {
        let (client, body) = (client.clone(), body.clone());
        commands.spawn(async move { client.post("/containers/c/exec", body).await });
    }
    for _ in 0..4 {
        let answer = commands.join_next().await.unwrap().unwrap();
        answer.refused(429, "RateLimitError");
        assert!(answer.header("retry-after").is_some());
    }
    eventually("that two run", || async { (client.used().await["execs"] == 2).then_some(()) }).await;
    // Two and eight that wait for them: five rounds of a second.
    let begun = Instant::now();
    client.post("/containers/c/files", json!({"dest_path": "/tmp/go", "content": ""})).await.ok();
    for command in commands.join_all().await {
        command.ok();
    }
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(client.used().await["execs"], 0);
    // Who gives up makes room.
    set(&story.site, &story.tenant, "execs=1");
    let leaving = client.clone();
    let gone = tokio::spawn(async move { leaving.post("/containers/c/exec", json!({"command": "sleep 20"})).await });
    eventually("that it runs", || async { (client.used().await["execs"] == 1).then_some(()) }).await;
    gone.abort();
    assert_eq!(client.exec("c", json!("echo next")).await, "next\n");
}

#[tokio::test]
async fn streams_have_a_bound() {
    let podman = Podman::of_the_tests();
    let _silent = podman.occupy_silently(5106).await;
    let site = Site::new().set("images.pull_seconds", 3);
    let story = Story::with(site, &["--image=127.0.0.1:5106/acme/*", "--quota=streams=2"]).await;
    let client = &story.client;
    let pull = |number: usize| {
        let client = client.clone();
        let body = json!({"image": format!("127.0.0.1:5106/acme/web{number}")});
        tokio::spawn(async move { client.post("/images/pull", body).await })
    };
    let open = [pull(1), pull(2)];
    eventually("both to be open", || async { (client.used().await["streams"] == 2).then_some(()) }).await;
    let error = pull(3).await.unwrap().refused(403, "QuotaError");
    assert!(error["message"].as_str().unwrap().contains("streams: 2 of 2 used"), "{error}");
    for stream in open {
        assert_eq!(stream.await.unwrap().status, 200);
    }
    eventually("both to be closed", || async { (client.used().await["streams"] == 0).then_some(()) }).await;
}

#[tokio::test]
async fn who_writes_on_beyond_the_quota_is_stopped() {
    let story = Story::with(Site::new(), &[&format!("--image={ALPINE}"), "--quota=stored_bytes=20000000"]).await;
    let (client, (_, theirs)) = (&story.client, story.another());
    let fill = "i=0; while true; do i=$((i+1)); dd if=/dev/zero of=/f$i bs=1M count=1 2>/dev/null; sleep 0.05; done";
    client.create_sleeping("good").await;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    theirs.create_with("neighbour", json!({"command": ["sh", "-c", fill]})).await;
    client.create_with("bomb", json!({"command": ["sh", "-c", fill]})).await;
    eventually("the bomb's end", || async { (client.status("bomb").await == "exited").then_some(()) }).await;
    story.gateway.logged("stored_bytes").await;
    assert!(client.used().await["stored_bytes"] > 20_000_000);
    assert_eq!(
        (client.status("good").await.as_str(), theirs.status("neighbour").await.as_str()),
        ("running", "running")
    );

    // Nothing that could store more,
    let file = json!({"dest_path": "/tmp/x", "content": "x"});
    for (path, body) in [
        ("/containers/bomb/start", json!(null)),
        ("/containers/good/files", file.clone()),
        ("/volumes", json!({"name": "more"})),
        ("/containers", json!({"image": "alpine", "name": "another"})),
    ] {
        let error = client.post(path, body).await.refused(403, "QuotaError");
        assert!(error["message"].as_str().unwrap().contains("stored_bytes"), "{error}");
    }
    // and everything that stores less.
    assert_eq!(client.exec("good", json!("rm -f /tmp/x; echo done")).await, "done\n");
    client.delete("/containers/bomb").await.ok();
    eventually("room", || async { (client.used().await["stored_bytes"] < 20_000_000).then_some(()) }).await;
    client.post("/containers/good/files", file).await.ok();
    theirs.delete("/containers/neighbour?force=true").await.ok();

    // What is in a volume counts, too.
    let writes = "dd if=/dev/zero of=/data/f bs=1M count=30 2>/dev/null; sleep 300";
    let mounts = json!({"volumes": {"data": "/data"}, "command": ["sh", "-c", writes]});
    client.create_with("writer", mounts).await;
    eventually("the volume's size", || async { (client.used().await["stored_bytes"] > 30_000_000).then_some(()) })
        .await;
    client.delete("/containers/writer?force=true").await.ok();
    client.try_create("another", json!({})).await.refused(403, "QuotaError");
    client.delete("/volumes/data").await.ok();
    client.create_with("another", json!({})).await;
}

/// Whoever writes a request knows what it may have before it is refused.
#[tokio::test]
async fn usage_says_what_a_container_may_have() {
    let site = Site::new();
    let (tenant, other) = (site.tenant(), site.tenant());
    let site = site.with(&format!(
        "[profiles.big]\npids = 999\nnetwork = \"egress\"\nmax_expires_seconds = 500\n[profiles.secret]\npids = 7\n\
         [shares.sets]\npath = \"/srv/sets\"\ntenants = [{:?}]\n",
        tenant.slug
    ));
    let limits = ["--profile=big", "--limit=container_pids=50", "--limit=max_expires_seconds=100"];
    site.run(&[&["tenant", "allow", &*tenant.slug], &limits[..]].concat(), "").succeeded();
    let gateway = site.start().await;
    let (mine, theirs) =
        (gateway.client(&site.token(&tenant.login("operator"))), gateway.client(&site.token(&other.login("operator"))));
    let told = mine.get("/usage").await.ok();
    let profile = |told: &Value, name: &str| {
        let all = told["profiles"].as_array().unwrap().iter();
        all.clone().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    let big = profile(&told, "big");
    assert_eq!(
        (&big["pids"], &big["network"], &big["max_expires_seconds"]),
        (&json!(50), &json!("egress"), &json!(100))
    );
    assert_eq!(profile(&told, "default")["pids"], 50);
    assert_eq!(told["profiles"].as_array().unwrap().len(), 2, "nothing of what is others'");
    assert_eq!(told["shares"], json!([{"name": "sets", "read_only": true}]));
    assert!(!told.to_string().contains("/srv/sets"));
    // It is what is refused and taken.
    mine.try_create("c", json!({"profile": "big", "limits": {"pids": 51}})).await.blames(&["limits.pids"]);
    mine.try_create("c", json!({"profile": "big", "expires_in": 101})).await.blames(&["expires_in"]);
    mine.create_with("c", json!({"profile": "big", "limits": {"pids": 50}, "expires_in": 100, "start": false})).await;
    let told = theirs.get("/usage").await.ok();
    assert_eq!((told["profiles"].as_array().unwrap().len(), &told["shares"]), (1, &json!([])));
    assert_ne!(profile(&told, "default")["pids"], 50);
}

#[tokio::test]
async fn usage_says_what_is_not_enforced() {
    let story = Story::begin().await;
    let usage = story.client.get("/usage").await.ok();
    let lacks: Vec<&str> = usage["not_enforced"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(lacks.iter().any(|lack| lack.starts_with("disk space")), "{lacks:?}");
    // And nothing else, where Podman has what it takes.
    let host = story.podman.call("GET", "/info").await.json()["host"].clone();
    let has = |name: &&str| host["cgroupControllers"].as_array().is_none_or(|found| found.contains(&json!(name)));
    let fit = host["security"]["rootless"] == false && ["cpu", "memory", "pids"].iter().all(has);
    assert!(!fit || lacks.len() == 1, "{lacks:?} of {host}");
}
