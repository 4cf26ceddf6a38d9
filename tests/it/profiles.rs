//! What a profile gives: looked at from inside the container, and in Podman.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Client, Site, Story, Tenant};

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT and SETFCAP, by
/// their numbers in linux/capability.h.
const LEAN: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 18 | 1 << 31;
const NET_RAW: u64 = 1 << 13;

/// A gateway with profiles beside `default`, and a tenant that was given these of them.
async fn story_with(profiles: &str, given: &[&str]) -> Story {
    let story = Story::at(Site::new().with(profiles)).await;
    for profile in given {
        give(&story, profile);
    }
    story
}

fn give(story: &Story, profile: &str) {
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--profile", profile], "").succeeded();
}

/// What the kernel says of a process of the container.
async fn process(client: &Client, name: &str, pid: &str) -> BTreeMap<String, String> {
    let status = client.exec(name, json!(["cat", format!("/proc/{pid}/status")])).await;
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

async fn inspect(story: &Story, tenant: &Tenant, name: &str) -> Value {
    let name = format!("{}.{name}", tenant.slug);
    let found = story.podman.containers(&tenant.slug).await.into_iter().find(|(_, found)| *found == name);
    story.podman.inspect(&found.expect("Podman has it").0).await
}

#[tokio::test]
async fn root_inside_can_do_little() {
    let story = story_with("[profiles.raw]\ncapabilities = [\"NET_RAW\"]", &["raw"]).await;
    let client = &story.client;
    client.create_sleeping("plain").await;
    client.create_with("raw", json!({"profile": "raw"})).await;
    for (name, expected) in [("plain", LEAN), ("raw", LEAN | NET_RAW)] {
        // The main process, and one that an exec starts.
        for pid in ["1", "self"] {
            let process = process(client, name, pid).await;
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                let found = u64::from_str_radix(&process[set], 16).unwrap();
                assert_eq!(found, expected, "{set} of {pid} in {name}: {found:x}, not {expected:x}");
            }
            assert_eq!((&*process["NoNewPrivs"], &*process["Seccomp"]), ("1", "2"), "{pid} in {name}");
        }
    }
    // A FIFO where Podman reads would hang it; a device would be the host's.
    for forbidden in
        ["mkfifo /tmp/f", "mknod /tmp/f p", "mknod /tmp/d c 1 3", "mount -t tmpfs none /mnt", "chroot /tmp"]
    {
        let done = client.post("/containers/plain/exec", json!({"command": forbidden})).await.ok();
        assert_ne!(done["execution"]["exit_code"], 0, "{forbidden}: {done}");
    }
    assert_eq!(client.exec("plain", json!("ls /tmp; touch /tmp/x; chown 5:5 /tmp/x; stat -c %u /tmp/x")).await, "5\n");
}

/// A service that gave up root does not get it back, whoever breaks into it.
#[tokio::test]
async fn others_than_root_can_do_nothing() {
    let story = story_with("[profiles.raw]\ncapabilities = [\"NET_RAW\"]", &["raw"]).await;
    let client = &story.client;
    client.create_with("plain", json!({"user": "1000"})).await;
    client.create_with("raw", json!({"user": "1000", "profile": "raw"})).await;
    for (name, has) in [("plain", 0), ("raw", NET_RAW)] {
        for pid in ["1", "self"] {
            let process = process(client, name, pid).await;
            assert_eq!(process["Uid"].split_whitespace().next(), Some("1000"));
            for (set, expected) in [("CapEff", has), ("CapPrm", has), ("CapAmb", has), ("CapBnd", LEAN | has)] {
                let found = u64::from_str_radix(&process[set], 16).unwrap();
                assert_eq!(found, expected, "{set} of {pid} in {name}: {found:x}, not {expected:x}");
            }
        }
    }
    let shadow = client.post("/containers/plain/exec", json!({"command": "touch /root/x"})).await.ok();
    assert_ne!(shadow["execution"]["exit_code"], 0, "{shadow}");
}

/// Otherwise a neighbour that fills the disk makes each stop and removal wait for it.
#[tokio::test]
async fn only_a_durable_profile_waits_for_the_disk() {
    let story = story_with("[profiles.lasting]\ndurable = true", &["lasting"]).await;
    let client = &story.client;
    for (profile, lazy) in [("default", true), ("lasting", false)] {
        client.create_with(profile, json!({"profile": profile})).await;
        for _ in 0..2 {
            let mounts = client.exec(profile, json!("touch /kept; cat /proc/mounts")).await;
            let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).expect("a root").to_owned();
            assert_eq!(root.contains("volatile"), lazy, "{root}");
            client.post(&format!("/containers/{profile}/restart?timeout=0"), json!(null)).await.ok();
        }
        assert_eq!(client.exec(profile, json!("ls /kept")).await, "/kept\n");
    }
}

#[tokio::test]
async fn user_ids_are_a_tenants_own() {
    let story = story_with("[profiles.other]\npids = 100", &["other"]).await;
    let (neighbour, theirs) = story.another();
    let mut first_ids = Vec::new();
    for (client, tenant, name, profile) in [
        (&story.client, &story.tenant, "one", "default"),
        (&story.client, &story.tenant, "two", "other"),
        (&theirs, &neighbour, "three", "default"),
    ] {
        client.create_with(name, json!({"profile": profile})).await;
        let map = client.exec(name, json!("cat /proc/self/uid_map")).await;
        assert_eq!(client.exec(name, json!("cat /proc/self/gid_map")).await, map);
        let [inside, outside, size] =
            map.split_whitespace().map(|number| number.parse::<u32>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!("{map}")
        };
        assert_eq!((inside, size), (0, 65_536), "{map}");
        assert!(outside >= 10_000_000 && (outside - 10_000_000).is_multiple_of(65_536), "{map}");
        // As the host sees its main process.
        let pid = inspect(&story, tenant, name).await["State"]["Pid"].to_string();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ids = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        assert!(ids.split_whitespace().skip(1).all(|id| id == outside.to_string()), "{ids}, not {outside}");
        first_ids.push(outside);
    }
    assert_eq!(first_ids[0], first_ids[1], "all profiles of a tenant");
    assert_ne!(first_ids[0], first_ids[2], "two tenants");
}

#[tokio::test]
async fn without_user_namespaces_root_is_root() {
    let story = Story::at(Site::new().set("engine.first_user_id", 0)).await;
    story.client.create_sleeping("c").await;
    let map = story.client.exec("c", json!("cat /proc/self/uid_map")).await;
    let here = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), here.split_whitespace().collect::<Vec<_>>());
}

#[tokio::test]
async fn limits_are_really_set() {
    let profiles =
        "[profiles.small]\nmemory_bytes = 67108864\npids = 20\ncpus = 0.5\nopen_files = 100\nlog_bytes = 8192";
    let story = story_with(profiles, &["small"]).await;
    let client = &story.client;
    client.create_with("small", json!({"profile": "small"})).await;
    let less = json!({"profile": "small", "limits": {"memory_bytes": 33_554_432, "cpus": 0.25, "pids": 10}});
    client.create_with("less", less).await;
    for (name, memory, cpus, pids) in [("small", 67_108_864_i64, 0.5, 20), ("less", 33_554_432, 0.25, 10)] {
        let read = client.get(&format!("/containers/{name}")).await.ok()["container"].clone();
        assert_eq!(read["profile"], "small");
        assert_eq!(read["limits"], json!({"memory_bytes": memory, "cpus": cpus, "pids": pids}));
        let host = inspect(&story, &story.tenant, name).await["HostConfig"].clone();
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(memory), &json!(memory)), "{host}");
        assert_eq!(host["PidsLimit"], pids);
        assert_eq!(host["CpuQuota"].as_f64().unwrap() / host["CpuPeriod"].as_f64().unwrap(), cpus, "{host}");
        assert_eq!(host["LogConfig"]["Size"].as_str().map(str::to_lowercase), Some("8.192kb".into()), "{host}");
        // And what the kernel was told, cgroup v1 or v2.
        let kernel = async |one: &str, two: &str| {
            let command = format!("cd /sys/fs/cgroup; cat {one} 2>/dev/null || cat {two}");
            client.exec(name, json!(command)).await.trim().to_owned()
        };
        assert_eq!(kernel("memory/memory.limit_in_bytes", "memory.max").await, memory.to_string());
        assert_eq!(kernel("pids/pids.max", "pids.max").await, pids.to_string());
        assert_eq!(client.exec(name, json!("ulimit -n; ulimit -Hn")).await, "100\n100\n");
    }
    // A bomb of processes ends at the bound, and the container lives.
    let bomb = "i=0; while [ $i -lt 40 ]; do sleep 2 & i=$((i+1)); done; echo all of them";
    let done = client.post("/containers/less/exec", json!({"command": bomb})).await.ok();
    let output = done["execution"]["output"].as_str().unwrap();
    assert!(output.contains("can't fork") && !output.contains("all of them"), "{done}");
    assert_eq!(client.status("less").await, "running");
}

#[tokio::test]
async fn a_request_may_lower_limits_and_not_raise_them() {
    let Story { client, .. } = &Story::begin().await;
    for (limits, field) in [
        (json!({"memory_bytes": 536_870_913_i64}), "limits.memory_bytes"),
        (json!({"memory_bytes": 0}), "limits.memory_bytes"),
        (json!({"memory_bytes": -1}), "limits.memory_bytes"),
        (json!({"memory_bytes": i64::MAX}), "limits.memory_bytes"),
        (json!({"cpus": 1.01}), "limits.cpus"),
        (json!({"cpus": 0}), "limits.cpus"),
        (json!({"cpus": -0.5}), "limits.cpus"),
        (json!({"cpus": 1e300}), "limits.cpus"),
        (json!({"pids": 257}), "limits.pids"),
        (json!({"pids": 0}), "limits.pids"),
        (json!({"pids": -1}), "limits.pids"),
    ] {
        let refused = client.try_create("c", json!({"limits": limits})).await;
        assert_eq!(refused.status, 400, "{limits}: {}", refused.text());
        refused.blames(&[field]);
    }
    // What is granted is what was asked for, to the thousandth.
    for cpus in [0.57, 0.29, 0.01, 1.0] {
        client.create_with("c", json!({"limits": {"cpus": cpus}, "start": false})).await;
        assert_eq!(client.get("/containers/c").await.ok()["container"]["limits"]["cpus"], cpus);
        client.delete("/containers/c").await.ok();
    }
    client.try_create("c", json!({"limits": {"open_files": 5}})).await.refused(400, "ValidationError");
    assert_eq!(client.listed().await, []);
}

#[tokio::test]
async fn a_profile_must_be_given() {
    let story = story_with("[profiles.large]\npids = 300", &[]).await;
    let (_, theirs) = story.another();
    let ask = async |client: &Client, profile: &str| {
        client.try_create("c", json!({"profile": profile, "limits": {"pids": 200}})).await
    };
    // Existing or not: the same answer, but for the name.
    let message = async |profile: &str| {
        let error = ask(&story.client, profile).await.refused(403, "PermissionError");
        error.to_string().replace(profile, "…")
    };
    assert_eq!(message("large").await, message("absent").await);
    ask(&story.client, "LARGE").await.refused(403, "PermissionError");
    for odd in ["", "../default", "default ", "x\u{0}"] {
        ask(&story.client, odd).await.blames(&["profile"]);
    }
    let absent = story.site.run(&["tenant", "allow", &story.tenant.slug, "--profile", "absent"], "");
    assert!(absent.code == 1 && absent.stderr.contains("absent"), "{}", absent.stderr);
    give(&story, "large");
    ask(&story.client, "large").await.ok();
    assert_eq!(story.client.get("/containers/c").await.ok()["container"]["profile"], "large");
    assert!(story.site.run(&["tenant", "show", &story.tenant.slug], "").succeeded().contains("profile large\n"));
    ask(&theirs, "large").await.refused(403, "PermissionError");
}

/// A value that only that profile allows, or that it alone refuses, says nothing of a profile that was not given.
#[tokio::test]
async fn limits_do_not_tell_whether_a_profile_exists() {
    let profiles = "[profiles.large]\npids = 300\nmax_ports = 0\nmax_expires_seconds = 60\n";
    let story = story_with(profiles, &[]).await;
    for more in [
        json!({"limits": {"pids": 280}}),
        json!({"limits": {"pids": 301}}),
        json!({"ports": {"0": "80"}}),
        json!({"expires_in": 61}),
        json!({"limits": {"pids": 0}}),
    ] {
        let mut answers = Vec::new();
        for profile in ["large", "absent"] {
            let mut body = more.clone();
            body["profile"] = json!(profile);
            let answer = story.client.try_create("c", body).await;
            let error = answer.refused(answer.status, answer.json()["error"]["type"].as_str().unwrap());
            answers.push(error.to_string().replace(profile, "…"));
        }
        assert_eq!(answers[0], answers[1], "{more}: existing and not given, and absent");
    }
}

/// Podman would listen for an internal network, and forward nothing.
#[tokio::test]
async fn only_a_network_with_a_way_out_publishes_ports() {
    let profiles = "[profiles.alone]\nnetwork = \"none\"\n[profiles.inside]\nnetwork = \"internal\"";
    let story = story_with(profiles, &["alone", "inside"]).await;
    for profile in ["alone", "inside"] {
        let asked = story.client.try_create("c", json!({"profile": profile, "ports": {"0": "80"}})).await;
        asked.blames(&["ports"]);
    }
}

#[tokio::test]
async fn a_network_is_none_or_internal_or_a_way_out() {
    let profiles = "[profiles.alone]\nnetwork = \"none\"\n[profiles.inside]\nnetwork = \"internal\"";
    let story = story_with(profiles, &["alone", "inside"]).await;
    let client = &story.client;
    let look = async |name: &str| {
        let interfaces = client.exec(name, json!("ls /sys/class/net")).await;
        let routes = client.exec(name, json!("cat /proc/net/route")).await;
        let leads_out = routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
        (interfaces.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), leads_out)
    };
    client.create_with("alone", json!({"profile": "alone"})).await;
    assert_eq!(look("alone").await, (vec!["lo".into()], false));

    let serving = "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    client.create_with("web", json!({"profile": "inside", "command": serving})).await;
    client.create_with("friend", json!({"profile": "inside"})).await;
    client.create_sleeping("outgoing").await;
    assert_eq!(look("friend").await, (vec!["eth0".into(), "lo".into()], false));
    assert_eq!(look("outgoing").await, (vec!["eth0".into(), "lo".into()], true));

    let fetch = async |from: &str, host: &str| {
        let command = format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 8080");
        let done = client.post(&format!("/containers/{from}/exec"), json!({"command": command})).await.ok();
        done["execution"]["output"].as_str().unwrap().to_owned()
    };
    crate::support::eventually("the page, by name", || async {
        fetch("friend", "web").await.ends_with("hello\n").then_some(())
    })
    .await;
    let inspected = inspect(&story, &story.tenant, "web").await;
    let address = crate::ownership::only_address(&inspected);
    for (from, host) in [("outgoing", "web"), ("outgoing", address), ("alone", "web"), ("alone", address)] {
        let reached = fetch(from, host).await;
        assert!(!reached.contains("hello"), "{from} reached {host}: {reached}");
    }
}

#[tokio::test]
async fn without_a_seccomp_profile_nothing_is_made() {
    let site = Site::new();
    let profile = site.dir.join("seccomp.json");
    let story = Story::at(site.set("engine.seccomp_path", profile.display())).await;
    let client = &story.client;
    // Told at start, before anybody makes anything.
    story.gateway.logged("cannot read the seccomp profile").await;
    let not_enforced = async || client.get("/usage").await.ok()["not_enforced"].to_string();
    assert!(not_enforced().await.contains("seccomp"), "{}", not_enforced().await);
    for start in [true, false] {
        let refused = client.try_create("c", json!({"start": start})).await;
        assert_eq!(refused.status, 503, "start={start}: {}", refused.text());
        let error = refused.refused(503, "PodmanAPIError");
        assert!(!error.to_string().contains(profile.to_str().unwrap()), "{error}");
        assert_eq!(client.listed().await, []);
        assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
        assert!(client.used().await.values().all(|used| *used == 0));
    }
    // Once it is there, nobody has to restart anything.
    std::fs::copy(std::env::var("PODGATE_TEST_SECCOMP").unwrap(), &profile).unwrap();
    client.create_sleeping("c").await;
    let Story { gateway, site, .. } = story;
    drop(gateway);
    let gateway = site.start().await;
    assert!(!gateway.log().contains("seccomp"), "{}", gateway.log());
}

#[test]
fn mistakes_in_profiles_are_told() {
    let site = Site::new().with(
        "[profiles.small]\nmemry_bytes = 5\npids = 0\ncapabilities = [\"SYS_ADMIN\"]\nnetwork = \"host\"\n\
         auto_ports = \"80-90\"\nexpires_seconds = 10\nmax_expires_seconds = 5\n[profiles.\"Not A Name\"]\n\
         [quotas]\ncontainrs = 1\n[shares.relative]\npath = \"data\"\ntenants = []\n\
         [shares.odd]\npath = \"/x\"\ntenants = []\nwritable = true",
    );
    let refused = site.run(&["check-config"], "");
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    for key in [
        "profiles.small.memry_bytes",
        "profiles.small.pids",
        "profiles.small.capabilities",
        "profiles.small.network",
        "profiles.small.auto_ports",
        "profiles.small.expires_seconds",
        "profiles.Not A Name",
        "quotas.containrs",
        "shares.relative.path",
        "shares.odd",
    ] {
        let named = refused.stderr.lines().any(|line| line.trim_start().starts_with(key));
        assert!(named, "{key} is not named: {}", refused.stderr);
    }
    Site::new().with("[profiles.fine]\npids = 1").run(&["check-config"], "").succeeded();
}
