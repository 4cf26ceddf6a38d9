//! Named volumes, and directories of the host that were declared.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::crash::die_at;
use crate::support::files::at;
use crate::support::{Client, Ledger, Podman, Site, Story, eventually};

async fn make(client: &Client, name: &str) {
    client.post("/volumes", json!({"name": name})).await.ok();
}

async fn listed(client: &Client) -> Vec<String> {
    let list = client.get("/volumes").await.ok();
    let volumes = list["volumes"].as_array().unwrap().iter();
    volumes.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// A container that has these mounts.
async fn with(client: &Client, name: &str, volumes: Value) {
    client.create_with(name, json!({"volumes": volumes})).await;
}

#[tokio::test]
async fn a_volume_is_made_listed_and_removed() {
    let story = Story::begin().await;
    let client = &story.client;
    let (_, theirs) = story.another();
    let ledger = Ledger::of(&story.site).await;
    let installation = ledger.installation().await.unwrap();
    let made = client.post("/volumes", json!({"name": "data"})).await.ok();
    assert_eq!(made["volume"]["name"], "data");
    assert!(made["volume"]["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{made}");
    make(client, "A_b.c-d").await;
    assert_eq!(listed(client).await, ["A_b.c-d", "data"]);
    assert_eq!(client.get("/volumes").await.ok()["volumes"][1], made["volume"]);
    assert_eq!(listed(&theirs).await, [] as [&str; 0]);
    client.post("/volumes", json!({"name": "data"})).await.refused(409, "PodmanAPIError");
    let in_podman = story.podman.volumes(&installation).await;
    assert_eq!(in_podman.len(), 2);
    assert!(in_podman.iter().all(|name| name.starts_with("podgate-") && !name.contains("data")), "{in_podman:?}");

    // Foreign and absent are the same.
    let refusal = async |name: &str| {
        let error = theirs.delete(&format!("/volumes/{name}")).await.refused(404, "PodmanAPIError");
        error.to_string().replace(name, "…")
    };
    assert_eq!(refusal("data").await, refusal("absent").await);
    assert_eq!(refusal(&in_podman[0]).await, refusal("absent").await);

    assert_eq!(client.delete("/volumes/data").await.ok()["volume"], json!({"name": "data", "removed": true}));
    client.delete("/volumes/data").await.refused(404, "PodmanAPIError");
    client.delete("/volumes/A_b.c-d").await.ok();
    assert_eq!(story.podman.volumes(&installation).await, [] as [&str; 0]);
    assert_eq!(client.used().await["volumes"], 0);

    for name in ["", ".", "..", "../x", "/etc", "a/b", "-x", "a b", "ü", "a\n", &"x".repeat(64)] {
        client.post("/volumes", json!({"name": name})).await.blames(&["name"]);
    }
    client.post("/volumes", json!({"name": "x", "driver": "nfs"})).await.refused(400, "ValidationError");
    make(client, &"x".repeat(63)).await;
}

#[tokio::test]
async fn what_is_in_a_volume_outlives_containers() {
    let story = Story::begin().await;
    let client = &story.client;
    let (_, theirs) = story.another();
    make(client, "data").await;
    make(&theirs, "data").await;
    with(client, "one", json!({"data": "/data"})).await;
    client.exec("one", json!("echo mine > /data/file; chown 1000:1000 /data/file")).await;
    with(client, "two", json!({"data": "/elsewhere"})).await;
    assert_eq!(
        client.exec("two", json!("cat /elsewhere/file; stat -c %u:%g /elsewhere/file")).await,
        "mine\n1000:1000\n"
    );
    // A neighbour's volume of that name is another one.
    with(&theirs, "one", json!({"data": "/data"})).await;
    assert_eq!(theirs.exec("one", json!("ls /data; echo theirs > /data/file")).await, "");
    assert_eq!(client.exec("one", json!("cat /data/file")).await, "mine\n");
    // Set-uid programs on it are powerless.
    client.create_with("debian", json!({"image": "debian", "volumes": {"data": "/data"}})).await;
    client.exec("debian", json!("cp /usr/bin/id /data/id; chmod 4755 /data/id")).await;
    let as_user = json!({"command": "/data/id -u", "user": "1000"});
    let done = client.post("/containers/debian/exec", as_user).await.ok();
    assert_eq!(done["execution"]["output"], "1000\n", "{done}");
    client.exec("debian", json!("rm /data/id")).await;
    client.delete("/containers/debian?force=true").await.ok();

    client.delete("/volumes/data").await.refused(409, "PodmanAPIError");
    client.delete("/containers/one?force=true").await.ok();
    client.delete("/volumes/data").await.refused(409, "PodmanAPIError");
    client.delete("/containers/two?force=true").await.ok();
    with(client, "three", json!({"data": "/data"})).await;
    assert_eq!(client.exec("three", json!("cat /data/file")).await, "mine\n");
    client.delete("/containers/three?force=true").await.ok();
    client.delete("/volumes/data").await.ok();
    // A new one of the same name is empty.
    make(client, "data").await;
    with(client, "four", json!({"data": "/data"})).await;
    assert_eq!(client.exec("four", json!("ls /data")).await, "");
}

/// Podman would fill an empty volume with what lies at its target: as the host's root, with zeros for holes, past every quota.
#[tokio::test]
async fn what_lies_at_its_target_does_not_go_into_a_volume() {
    let story = Story::begin().await;
    let client = &story.client;
    for name in ["own", "image"] {
        make(client, name).await;
    }
    with(client, "c", json!({"own": "/v/data"})).await;
    client.exec("c", json!("mv /v /old && mkdir -p /v/data && truncate -s 64M /v/data/f && echo x > /v/data/g")).await;
    for _ in 0..2 {
        client.post("/containers/c/restart?timeout=0", json!(null)).await.ok();
        assert_eq!(client.exec("c", json!("grep -c ' /v/data ' /proc/mounts; ls -A /v/data")).await, "1\n");
    }
    client.create_with("debian", json!({"image": "debian", "volumes": {"image": "/usr/share/base-files"}})).await;
    assert_eq!(client.exec("debian", json!("ls -A /usr/share/base-files")).await, "");
}

/// A new volume is its first container's: of its user, or of the owner and mode of the directory that it lies upon.
#[tokio::test]
async fn who_is_not_root_writes_into_a_new_volume() {
    let story = Story::begin().await;
    let client = &story.client;
    for name in ["new", "open", "roots"] {
        make(client, name).await;
    }
    client.create_with("user", json!({"user": "1000:1001", "volumes": {"new": "/new"}})).await;
    assert_eq!(client.exec("user", json!("touch /new/f && stat -c %u:%g /new/f /new")).await, "1000:1001\n1000:1001\n");
    client.create_with("root", json!({"volumes": {"roots": "/roots"}})).await;
    assert_eq!(client.exec("root", json!("touch /roots/f && stat -c %u:%g /roots/f /roots")).await, "0:0\n0:0\n");
    client.create_with("debian", json!({"image": "debian", "user": "1000", "volumes": {"open": "/var/tmp"}})).await;
    assert_eq!(client.exec("debian", json!("touch /var/tmp/f && stat -c %u:%a /var/tmp")).await, "0:1777\n");
}

#[tokio::test]
async fn volumes_have_a_quota() {
    let story = Story::begin().await;
    let allow = |maximum: &str| {
        let quota = format!("volumes={maximum}");
        story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", &quota], "").succeeded();
    };
    allow("2");
    let creates: Vec<_> = (0..12)
        .map(|number| {
            let client = story.client.clone();
            tokio::spawn(async move { client.post("/volumes", json!({"name": format!("v{number}")})).await })
        })
        .collect();
    let mut made = 0;
    for create in creates {
        let answer = create.await.unwrap();
        match answer.status {
            200 => made += 1,
            _ => assert!(answer.refused(403, "QuotaError")["message"].as_str().unwrap().contains("volumes: 2 of 2")),
        }
    }
    assert_eq!((made, story.client.used().await["volumes"]), (2, 2));
    allow("3");
    make(&story.client, "another").await;
}

/// As Docker writes it; anything else behind a colon was meant as something, too.
#[tokio::test]
async fn a_volume_may_be_only_to_be_read() {
    let story = Story::begin().await;
    let client = &story.client;
    make(client, "data").await;
    for wrong in ["/data:z", "/data:ro,z", "/data:O", "/data:", "/data:ro:rw", "/data,ro", "/etc:ro"] {
        client.try_create("c", json!({"volumes": {"data": wrong}})).await.blames(&["volumes.data"]);
    }
    // Whoever comes first finds it empty, and leaves it so, running or not.
    client.create_with("c", json!({"volumes": {"data": "/data:ro"}, "start": false})).await;
    client.write_file("/data/file", &[], "no").await.refused(409, "PodmanAPIError");
    client.post("/containers/c/start", json!(null)).await.ok();
    with(client, "writer", json!({"data": "/data:rw"})).await;
    client.exec("writer", json!("echo written > /data/file")).await;
    assert_eq!(client.exec("c", json!("cat /data/file")).await, "written\n");
    let options = client.exec("c", json!("grep ' /data ' /proc/mounts")).await;
    assert!(options.contains(" ro,") && options.contains("nosuid") && options.contains("nodev"), "{options}");
    for write in ["echo x > /data/file", "touch /data/new", "rm /data/file", "mount -o remount,rw /data"] {
        let done = client.post("/containers/c/exec", json!({"command": write})).await.ok();
        assert_ne!(done["execution"]["exit_code"], 0, "{write}: {done}");
    }
    let refused = async || {
        client.write_file("/data/file", &[], "no").await.refused(409, "PodmanAPIError");
        let body = json!({"dest_path": "/data/file", "content": "no"});
        client.post("/containers/c/files", body).await.refused(409, "PodmanAPIError");
        client.delete(&at("", "/data/file")).await.refused(409, "PodmanAPIError");
        assert_eq!(client.read_file("/data/file", &[]).await.text(), "written\n");
    };
    refused().await;
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    refused().await;
    client.delete("/volumes/data").await.refused(409, "PodmanAPIError");
}

/// The seed's field takes host paths; here it takes names.
#[tokio::test]
async fn nothing_else_of_the_host_is_mounted() {
    let story = Story::begin().await;
    let client = &story.client;
    let (_, theirs) = story.another();
    make(&theirs, "hidden").await;
    make(client, "data").await;
    let foreign = story.podman.volumes(&Ledger::of(&story.site).await.installation().await.unwrap()).await;
    let sources = ["/etc", "/", "/var/run/docker.sock", "../x", "hidden", "absent", "tmpfs", "data:ro", "DATA"];
    for source in sources.into_iter().chain(foreign.iter().map(String::as_str)) {
        let refused = client.try_create("c", json!({"volumes": {source: "/mnt"}})).await;
        assert_eq!(refused.status, 403, "{source}: {}", refused.text());
        refused.refused(403, "PermissionError");
    }
    let refusal = async |source: &str| {
        let error = client.try_create("c", json!({"volumes": {source: "/mnt"}})).await.refused(403, "PermissionError");
        error.to_string().replace(source, "…")
    };
    assert_eq!(refusal("hidden").await, refusal("absent").await);
    client.try_create("c", json!({"volumes": {"": "/mnt"}})).await.blames(&["volumes."]);
    for target in [
        "/",
        "/proc",
        "/proc/sys",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/dev/shm",
        "/etc",
        "/.podgate",
        "relative",
        "",
        "/a/../etc",
        "//etc",
        "/etc/",
        "/./etc",
    ] {
        let refused = client.try_create("c", json!({"volumes": {"data": target}})).await;
        assert_eq!(refused.status, 400, "{target}: {}", refused.text());
        refused.blames(&["volumes.data"]);
    }
    // A volume in a place of its own below a system directory is fine.
    assert_eq!(client.listed().await, []);
    with(client, "c", json!({"data": "/etc/app"})).await;
    make(client, "more").await;
    let twice = json!({"data": "/data", "more": "/data"});
    client.try_create("d", json!({"volumes": twice})).await.blames(&["volumes.more"]);
}

#[tokio::test]
async fn a_declared_share_is_mounted_as_declared() {
    let site = Site::new();
    let (fixed, open) = (site.dir.join("fixed"), site.dir.join("open"));
    for dir in [&fixed, &open] {
        std::fs::create_dir_all(dir.join("below")).unwrap();
        std::fs::write(dir.join("file"), "shared\n").unwrap();
        std::fs::write(dir.join("secret"), "of the host\n").unwrap();
        std::fs::set_permissions(dir.join("secret"), Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    // The tenant's name must be known before the gateway starts.
    let (tenant, stranger) = (site.tenant(), site.tenant());
    let site = site.with(&format!(
        "[shares.fixed]\npath = {fixed:?}\ntenants = [{0:?}]\n\
         [shares.open]\npath = {open:?}\ntenants = [{0:?}]\nread_only = false\n\
         [shares.gone]\npath = \"/no/such/directory\"\ntenants = [{0:?}]",
        tenant.slug
    ));
    let gateway = site.start().await;
    let client = &gateway.client(&site.token(&tenant.login("operator")));
    let others = gateway.client(&site.token(&stranger.login("operator")));

    with(client, "c", json!({"fixed": "/fixed", "open": "/open"})).await;
    assert_eq!(client.exec("c", json!("cat /fixed/file /open/file")).await, "shared\nshared\n");
    // The host's users are nobody inside, and inside's are nobody on the host: they may what everybody may.
    let seen = client.exec("c", json!("stat -c %u /fixed/file /open/file")).await;
    assert_eq!(seen, "65534\n65534\n");
    let fails = async |command: &str| {
        let done = client.post("/containers/c/exec", json!({"command": command})).await.ok();
        assert_ne!(done["execution"]["exit_code"], 0, "{command}: {done}");
    };
    for write in ["echo x > /fixed/file", "touch /fixed/new", "rm /fixed/file", "mount -o remount,rw /fixed"] {
        fails(write).await;
    }
    assert_eq!(std::fs::read_to_string(fixed.join("file")).unwrap(), "shared\n");
    for secret in ["cat /fixed/secret", "cat /open/secret", "chmod 777 /open/file"] {
        fails(secret).await;
    }
    // More than was declared is nobody's, less is anybody's.
    let more = client.try_create("d", json!({"volumes": {"fixed": "/fixed:rw"}})).await;
    more.refused(403, "PermissionError");
    with(client, "d", json!({"fixed": "/fixed:ro", "open": "/open:ro"})).await;
    let done = client.post("/containers/d/exec", json!({"command": "cat /fixed/file; touch /open/new"})).await.ok();
    assert_eq!(done["execution"]["stdout"], "shared\n", "{done}");
    assert_ne!(done["execution"]["exit_code"], 0, "{done}");
    client.delete("/containers/d?force=true").await.ok();
    with(client, "d", json!({"open": "/open:rw"})).await;
    client.exec("d", json!("touch /open/by-d && rm /open/by-d")).await;
    client.delete("/containers/d?force=true").await.ok();
    client.exec("c", json!("echo written > /open/new; cp /bin/busybox /open/tool; chmod 4755 /open/tool")).await;
    assert_eq!(std::fs::read_to_string(open.join("new")).unwrap(), "written\n");
    let planted = std::fs::metadata(open.join("tool")).unwrap();
    assert!(planted.uid() >= 10_000_000, "a program that would be {}'s", planted.uid());
    // Of a writable mount, crun 1.8 drops these words.
    let options = client.exec("c", json!("grep ' /fixed ' /proc/mounts")).await;
    assert!(options.contains("nosuid") && options.contains("nodev"), "{options}");

    let refusal = async |client: &Client, source: &str| {
        let error = client.try_create("d", json!({"volumes": {source: "/mnt"}})).await.refused(403, "PermissionError");
        error.to_string().replace(source, "…")
    };
    assert_eq!(refusal(&others, "fixed").await, refusal(&others, "absent").await);
    // Exactly these, and nothing below or beside them.
    for near in
        ["fixed/below", "fixed/", "fixed/..", fixed.to_str().unwrap(), &fixed.join("below").display().to_string()]
    {
        refusal(client, near).await;
    }
    // A declared directory that is not there: nobody's fault but the host's, and nothing is left.
    let missing = client.try_create("d", json!({"volumes": {"gone": "/mnt"}})).await;
    assert!(missing.status >= 400, "{}", missing.text());
    assert!(!missing.text().contains("/no/such"), "{}", missing.text());
    assert_eq!(client.listed().await, [("c".into(), "running".into())]);
    // A volume of one's own comes before a share of that name.
    make(client, "fixed").await;
    with(client, "e", json!({"fixed": "/fixed"})).await;
    assert_eq!(client.exec("e", json!("ls /fixed")).await, "");
}

#[tokio::test]
async fn a_crash_leaves_no_half_volume() {
    let mut site = Site::new();
    let podman = Podman::of_the_tests();
    for (point, request) in [
        ("volume.reserved", ("POST", "/volumes", json!({"name": "data"}))),
        ("volume.created", ("POST", "/volumes", json!({"name": "data"}))),
        ("volume.marked", ("DELETE", "/volumes/data", json!(null))),
    ] {
        let tenant = site.tenant();
        let gateway = site.start().await;
        let client = gateway.client(&site.token(&tenant.login("operator")));
        make(&client, "other").await;
        if point == "volume.marked" {
            make(&client, "data").await;
        }
        drop(gateway);
        let (client, gateway) = die_at(point, &mut site, &tenant, request).await;
        eventually("one volume", || async { (listed(&client).await == ["other"]).then_some(()) }).await;
        eventually("its place", || async { (client.used().await["volumes"] == 1).then_some(()) }).await;
        make(&client, "data").await;
        for name in ["data", "other"] {
            client.delete(&format!("/volumes/{name}")).await.ok();
        }
        let left = podman.volumes(&Ledger::of(&site).await.installation().await.unwrap()).await;
        assert_eq!(left, [] as [&str; 0], "{point}");
        drop(gateway);
    }
}

#[tokio::test]
async fn a_removal_may_race_with_a_mount() {
    race(Site::new()).await;
}

#[tokio::test]
async fn a_removal_may_race_with_a_mount_on_postgresql() {
    race(Site::on_postgres().await).await;
}

async fn race(site: Site) {
    let story = Story::at(site).await;
    for round in 0..6 {
        make(&story.client, "data").await;
        let name = format!("c{round}");
        let (remover, maker) = (story.client.clone(), story.client.clone());
        let removal = tokio::spawn(async move { remover.delete("/volumes/data").await });
        let made = maker.try_create(&name, json!({"volumes": {"data": "/data"}, "start": false})).await;
        let removed = removal.await.unwrap();
        match (made.status, removed.status) {
            (200, 409) | (403 | 409, 200) => {}
            other => panic!("{other:?}: {} {}", made.text(), removed.text()),
        }
        for (name, _) in story.client.listed().await {
            story.client.delete(&format!("/containers/{name}?force=true")).await.ok();
        }
        if removed.status == 409 {
            story.client.delete("/volumes/data").await.ok();
        }
    }
    assert!(story.client.used().await.values().all(|used| *used == 0));
}
