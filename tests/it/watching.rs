//! What containers use, what runs in them, and what happens to them.

use serde_json::{Value, json};

use crate::support::client::sleeping;
use crate::support::private::PrivatePodman;
use crate::support::sse::{Event, Stream};
use crate::support::{Client, Site, Story, eventually};

#[tokio::test]
async fn a_container_tells_what_it_uses() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("idle").await;
    let busy = json!({"image": "alpine", "name": "busy", "command": "sleep 300 & while :; do :; done", "limits": {"cpus": 0.5}});
    client.create(busy).await;
    let stats = async |name: &str| client.get(&format!("/containers/{name}/stats")).await.ok()["stats"].clone();
    let (idle, busy) = (stats("idle").await, stats("busy").await);
    assert!(idle["cpu_percent"].as_f64().unwrap() < 10.0, "{idle}");
    let share = busy["cpu_percent"].as_f64().unwrap();
    assert!(share > 5.0 && share < 100.0, "{busy}");
    assert_eq!((&idle["pids"], &busy["pids"]), (&json!(1), &json!(2)));
    assert_eq!(idle["memory_limit_bytes"], 536_870_912);
    let memory = idle["memory_bytes"].as_u64().unwrap();
    assert!(memory > 0 && memory < 100 << 20, "{idle}");

    // Its own view of its network device is the judge of directions.
    let counter = "cat /sys/class/net/eth0/statistics/rx_bytes /sys/class/net/eth0/statistics/tx_bytes";
    client.exec("idle", json!("for i in 1 2 3; do echo hello | nc -w 1 10.255.255.1 9; done; true")).await;
    let said = client.exec("idle", json!(counter)).await;
    let counted: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    let told = stats("idle").await;
    let told = ["network_received_bytes", "network_sent_bytes"].map(|name| told[name].as_u64().unwrap());
    println!("network: counted {counted:?}, told {told:?}");
    assert!(told[0] >= counted[0] && told[1] >= counted[1], "counted {counted:?}, told {told:?}");

    let mut stream = client.events("/containers/busy/stats?stream=true&interval=1").await;
    let events = [stream.told().await, stream.told().await, stream.told().await];
    assert!(
        events.iter().all(|event| event.name == "stats" && event.data["cpu_percent"].as_f64().unwrap() > 5.0),
        "{events:?}"
    );
    let mut gone = client.events("/containers/idle/stats?stream=true").await;
    client.post("/containers/busy/stop?timeout=0", json!(null)).await.ok();
    client.delete("/containers/idle?force=true").await.ok();
    assert_eq!(stream.reason().await, "stopped");
    assert_eq!(gone.reason().await, "gone");
    for query in ["", "?stream=true"] {
        client.get(&format!("/containers/busy/stats{query}")).await.refused(409, "PodmanAPIError");
    }
    for (query, field) in
        [("interval=0", "interval"), ("interval=61", "interval"), ("stream=x", "stream"), ("x=1", "x")]
    {
        client.get(&format!("/containers/busy/stats?{query}")).await.blames(&[field]);
    }
}

#[tokio::test]
async fn processes_are_listed_without_the_images_help() {
    let Story { client, .. } = &Story::begin().await;
    client.create(json!({"image": "alpine", "name": "c", "command": "sleep 301 & sleep 302 & exec sleep 303"})).await;
    client.create(json!({"image": "static", "name": "bare", "command": ["/app", "sleep"]})).await;
    let top = async |name: &str| -> Value { client.get(&format!("/containers/{name}/top")).await.ok()["top"].clone() };
    let commands = |top: &Value| -> Vec<String> {
        let titles = top["titles"].as_array().unwrap();
        let at = titles.iter().position(|title| title == "COMMAND").unwrap();
        let rows = top["processes"].as_array().unwrap().iter();
        let mut commands: Vec<String> = rows
            .map(|row| {
                assert_eq!(row.as_array().unwrap().len(), titles.len(), "{row}");
                row[at].as_str().unwrap().to_owned()
            })
            .collect();
        commands.sort_unstable();
        commands
    };
    eventually("the processes", || async {
        (commands(&top("c").await) == ["sleep 301", "sleep 302", "sleep 303"]).then_some(())
    })
    .await;
    if client.status("bare").await == "running" {
        assert!(commands(&top("bare").await)[0].starts_with("/app"));
    }
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    client.get("/containers/c/top").await.refused(409, "PodmanAPIError");
}

/// Podman would read it to its end, which this has none of, in its own memory, which nothing bounds.
#[tokio::test]
async fn processes_are_listed_whatever_a_container_calls_its_users() {
    let podman = PrivatePodman::start_within(4 << 30);
    podman.import_alpine();
    let Story { client, .. } = &Story::at(Site::new().set("engine.url", &podman.url)).await;
    client.create_with("c", json!({})).await;
    client.exec("c", json!("ln -sf /dev/urandom /etc/passwd")).await;
    for _ in 0..3 {
        let top = client.get("/containers/c/top").await.ok()["top"].clone();
        assert_eq!((&top["titles"][0], &top["processes"][0][0]), (&json!("USER"), &json!("root")), "{top}");
    }
}

/// Forks share their arguments, so long ones cost a container nothing, and whoever reads them all of it.
#[tokio::test]
async fn command_lines_are_read_as_far_as_they_are_told() {
    let Story { client, .. } = &Story::begin().await;
    let forks = "for i in 1 2 3 4 5 6; do (while sleep 100; do :; done) & done; wait";
    let command = format!("A=$(head -c 100000 /dev/zero | tr '\\0' a); exec sh -c '{forks}' sh $A $A $A");
    client.create(json!({"image": "alpine", "name": "c", "command": ["/bin/sh", "-c", command]})).await;
    let top = eventually("the processes", || async {
        let top = client.get("/containers/c/top").await.ok()["top"].clone();
        (top["processes"].as_array().unwrap().len() == 13).then_some(top)
    })
    .await;
    let lengths = top["processes"].as_array().unwrap().iter().map(|row| row[7].as_str().unwrap().len());
    assert_eq!(lengths.filter(|length| *length == 4096).count(), 7, "{}", top["titles"]);
    assert!(top.to_string().len() < 100_000);

    // Frozen, nothing runs in it that would tell.
    client.post("/containers/c/pause", json!(null)).await.ok();
    let said = client.get("/containers/c/top").await.refused(409, "PodmanAPIError").to_string();
    assert!(said.contains("paused"), "{said}");
    client.post("/containers/c/unpause", json!(null)).await.ok();
    assert_eq!(client.get("/containers/c/top").await.ok()["top"]["titles"], top["titles"]);
}

#[tokio::test]
async fn processes_are_not_listed_without_the_agent() {
    let story = Story::begin().await;
    story.client.create_sleeping("c").await;
    let ledger = crate::support::Ledger::of(&story.site).await;
    ledger.execute("UPDATE containers SET agent = 0").await;
    let said = story.client.get("/containers/c/top").await.refused(409, "PodmanAPIError").to_string();
    assert!(said.contains("without the gateway's agent"), "{said}");
}

#[tokio::test]
async fn processes_have_the_users_of_their_container() {
    let Story { client, .. } = &Story::begin().await;
    client.create_with("c", json!({"user": "1234"})).await;
    client.create_with("odd", json!({"command": ["sh", "-c", "sleep 300; :", "a\tb\tc"]})).await;
    for (name, user) in [("c", "1234"), ("odd", "root")] {
        let top = client.get(&format!("/containers/{name}/top")).await.ok()["top"].clone();
        for row in top["processes"].as_array().unwrap() {
            assert_eq!(row[0], user, "{top}");
            assert_eq!(row.as_array().unwrap().len(), top["titles"].as_array().unwrap().len(), "{top}");
        }
    }
}

/// What was told up to now of one container: its events' names.
async fn kinds(stream: &mut Stream, last: &str) -> Vec<String> {
    stream.until(last).await.into_iter().map(|event| event.name).collect()
}

#[tokio::test]
async fn a_tenant_hears_what_happens_to_its_containers_and_no_others() {
    let story = Story::begin().await;
    let (client, (_, theirs)) = (&story.client, story.another());
    let mut mine = client.events("/events").await;
    let mut foreign = theirs.events("/events").await;
    let call = async |verb: &str| drop(client.post(&format!("/containers/web/{verb}"), json!(null)).await.ok());

    let id = client.create_sleeping("web").await;
    let created = mine.told().await;
    assert_eq!((created.name.as_str(), created.id.as_deref()), ("created", Some("1")));
    assert_eq!((&created.data["container"], &created.data["container_id"]), (&json!("web"), &json!(id)));
    assert_eq!(created.data["type"], "created");
    assert_eq!(mine.told().await.name, "started");
    call("pause").await;
    call("unpause").await;
    call("restart?timeout=0").await;
    call("stop?timeout=0").await;
    call("stop?timeout=0").await;
    call("start").await;
    call("start").await;
    assert_eq!(kinds(&mut mine, "started").await, ["paused", "unpaused", "restarted", "died", "stopped", "started"]);
    call("kill?signal=KILL").await;
    let died = mine.told().await;
    assert_eq!((died.name.as_str(), &died.data["exit_code"]), ("died", &json!(137)));
    client.delete("/containers/web").await.ok();
    assert_eq!(mine.told().await.name, "removed");

    // One that ends by itself, at once or later.
    for (name, command) in [("quick", "exit 3; :"), ("slow", "sleep 1; exit 4")] {
        let id = client.create(json!({"image": "alpine", "name": name, "command": command})).await;
        assert_eq!(kinds(&mut mine, "started").await, ["created", "started"]);
        let died = mine.told().await;
        assert_eq!((died.name.as_str(), &died.data["container"]), ("died", &json!(name)));
        assert_eq!(died.data["container_id"], json!(id));
        assert_eq!(died.data["exit_code"], if name == "quick" { 3 } else { 4 });
    }
    // One whose time is over, one that was never started, one that could not be made.
    client.create(sleeping("brief", json!({"expires_in": 1}))).await;
    assert_eq!(kinds(&mut mine, "removed").await, ["created", "started", "expired", "removed"]);
    client.create(sleeping("later", json!({"start": false}))).await;
    let wrong = json!({"image": "alpine", "name": "wrong", "command": ["/no/such/program"]});
    client.post("/containers", wrong).await.refused(400, "ValidationError");
    client.delete("/containers/later").await.ok();
    let rest = mine.until("removed").await;
    assert_eq!(rest.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["created", "removed"]);

    // The neighbour heard nothing, and its numbers are its own.
    theirs.create_sleeping("other").await;
    let first = foreign.told().await;
    assert_eq!((first.id.as_deref(), &first.data["container"]), (Some("1"), &json!("other")));
    // Who was away hears the rest.
    let number: usize = rest[0].id.as_deref().unwrap().parse().unwrap();
    let mut again = client.events_behind("/events", Some("1")).await;
    let missed = again.until("removed").await.len();
    assert!(missed >= 8);
    let mut last = client.events_behind("/events", Some(&(number - 1).to_string())).await;
    assert_eq!([last.told().await, last.told().await], [rest[0].clone(), rest[1].clone()]);
    for bad in ["x", "-1", "1.5"] {
        let refused = client.try_events("/events", Some(bad), hyper::Version::HTTP_11).await;
        refused.err().unwrap().blames(&["Last-Event-ID"]);
    }
    // What is kept no longer is not passed over in silence.
    let ledger = crate::support::Ledger::of(&story.site).await;
    ledger.execute("DELETE FROM events WHERE number < 4").await;
    let mut late = client.events_behind("/events", Some("1")).await;
    let told: Vec<Event> = vec![late.told().await, late.told().await];
    assert_eq!((told[0].name.as_str(), told[1].id.as_deref()), ("gap", Some("4")));
}

#[tokio::test]
async fn events_know_no_gateways() {
    let site = Site::on_postgres().await;
    let beside = site.beside();
    let (here, there) = (Story::at(site).await, beside.start().await);
    let elsewhere = Client { address: there.addresses[0], token: here.client.token.clone() };
    let mut heard = elsewhere.events("/events").await;
    here.client.create_sleeping("web").await;
    here.client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    here.client.delete("/containers/web").await.ok();
    // Both hear of Podman's events, and one of them notes each.
    assert_eq!(kinds(&mut heard, "removed").await, ["created", "started", "died", "stopped", "removed"]);
}
