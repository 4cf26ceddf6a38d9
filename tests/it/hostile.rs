//! What a hostile tenant sends that no other story does, rule by rule of the table in SECURITY.md.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::client::whole;
use crate::support::{ALPINE, Client, DEBIAN, Site, Story};

/// Fields of Podman's own create body, of its Docker-compatible one, and of what this API calls its own, in another case.
const PODMANS: &[&str] = &[
    "privileged",
    "mounts",
    "devices",
    "device_cgroup_rule",
    "overlay_volumes",
    "image_volumes",
    "image_volume_mode",
    "volumes_from",
    "rootfs",
    "secrets",
    "init_path",
    "oci_runtime",
    "cap_add",
    "cap_drop",
    "no_new_privileges",
    "selinux_opts",
    "apparmor_profile",
    "seccomp_policy",
    "seccomp_profile_path",
    "unmask",
    "mask",
    "procfs_opts",
    "netns",
    "Networks",
    "pidns",
    "ipcns",
    "utsns",
    "userns",
    "cgroupns",
    "idmappings",
    "portmappings",
    "publish_image_ports",
    "hostadd",
    "dns_server",
    "base_hosts_file",
    "log_configuration",
    "conmon_pid_file",
    "cgroup_parent",
    "cgroups_mode",
    "resource_limits",
    "r_limits",
    "sysctl",
    "systemd",
    "annotations",
    "restart_policy",
    "pod",
    "groups",
    "env_host",
    "httpproxy",
    "work_dir",
    "raw_image_name",
    "sdnotifyMode",
    "containerCreateCommand",
    "passwd_entry",
    "chroot_directories",
    "HostConfig",
    "Binds",
    "Privileged",
    "NetworkMode",
    "SecurityOpt",
    "Command",
    "ENTRYPOINT",
    "Volumes",
    "User",
    "iMage",
];

/// Rules 1 and 13.
#[tokio::test]
async fn what_podman_would_take_is_not_taken() {
    let story = Story::begin().await;
    let client = &story.client;
    for field in PODMANS {
        for value in [json!(true), json!("host"), json!([]), json!({}), Value::Null] {
            client.try_create("c", json!({*field: value})).await.blames(&[*field]);
        }
    }
    assert_eq!(client.listed().await, []);
    assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
    client.create_sleeping("c").await;
    for field in ["privileged", "Privileged", "Tty", "Detach", "Cmd", "Env", "WorkingDir", "preserve_fds", "Command"] {
        let answer = client.post("/containers/c/exec", json!({"command": "true", field: true})).await;
        answer.blames(&[field]);
    }
}

/// Rule 3: the last two end Podman 4.3.1's service.
#[tokio::test]
async fn so_many_lines_are_not_asked_for() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    for tail in ["-1", "1e3", "0x10", "all", "", "1.5", "10001", "4294967297", "100000000", "20000000000"] {
        client.get(&format!("/containers/c/logs?tail={tail}")).await.blames(&["tail"]);
        client.get(&format!("/containers/c/logs?follow=true&tail={tail}")).await.blames(&["tail"]);
    }
    client.get("/containers/c/logs?tail=10000").await.ok();
    assert_eq!(client.anonymous().get("/health").await.status, 200);
}

/// One layer with a link that leads to the host's `outside`, and this configuration; as `podman load` takes it.
pub fn image(name: &str, outside: &str, config: &Value) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_mode(0o777);
    link.set_size(0);
    layer.append_link(&mut link, "way", outside).unwrap();
    let busybox = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-images/static.tar")).unwrap();
    let mut programs = tar::Archive::new(&*busybox);
    for entry in programs.entries().unwrap() {
        let entry = entry.unwrap();
        let (mut header, path) = (entry.header().clone(), entry.path().unwrap().into_owned());
        if header.entry_type().is_file() {
            layer.append_data(&mut header, path, entry).unwrap();
        }
    }
    let layer = layer.into_inner().unwrap();
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let described = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("manifest.json", manifest.to_string().into_bytes()),
        ("config.json", described.to_string().into_bytes()),
        ("layer.tar", layer),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &*content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Rule 5: CVE-2026-55686, where Podman makes a missing working directory on the host, behind a link of the image; and
/// CVE-2026-57231, where it hands out its service's environment.
#[tokio::test]
async fn an_image_reaches_nothing_of_the_host() {
    let site = Site::new();
    let outside = site.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let name = |what: &str| format!("localhost/{}:{what}", crate::support::gateway::unique());
    let (workdir, environment) = (name("workdir"), name("environment"));
    let story = Story::with(site, &[&format!("--image={workdir}"), &format!("--image={environment}")]).await;
    let podman = &story.podman;
    let outside = outside.to_str().unwrap();
    podman.load(image(&workdir, outside, &json!({"WorkingDir": "/way/made", "Cmd": ["/app", "sleep"]}))).await;
    for (number, more) in [json!({"start": false}), json!({}), json!({"workdir": "/way/there"})].into_iter().enumerate()
    {
        let mut body = json!({"image": workdir, "name": format!("c{number}")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        story.client.post("/containers", body).await;
    }
    let made = std::fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(made, [] as [std::path::PathBuf; 0]);

    for greedy in [json!(["*"]), json!(["PATH=/bin", "CONTAINERS_*"]), json!(["HOME"])] {
        podman.load(image(&environment, outside, &json!({"Env": greedy, "Cmd": ["/app", "sleep"]}))).await;
        let refused = story.client.post("/containers", json!({"image": environment, "name": "e"})).await;
        refused.refused(403, "PermissionError");
    }
    for image in [workdir, environment] {
        podman.remove_image(&image).await;
    }
}

/// Rule 6: host root's keyring is not there to be read.
#[tokio::test]
async fn keyrings_are_out_of_reach() {
    let story = Story::begin().await;
    story.client.create_with("c", json!({"image": DEBIAN})).await;
    let numbers = if cfg!(target_arch = "aarch64") { "217, 218, 219" } else { "248, 249, 250" };
    // add_key, request_key and keyctl, each with arguments that would be wrong in another way.
    let script = format!(
        "for my $call ({numbers}) {{ $! = 0; syscall($call, -9, 0, 0, 0, 0); print $!{{EPERM}} ? 'no ' : \"$! \" }}"
    );
    let said = story.client.exec("c", json!(["perl", "-MErrno", "-e", script])).await;
    assert_eq!(said, "no no no ");
}

/// Rule 15: what would be Podman's options behind a target is part of a name here, and a driver has none.
#[tokio::test]
async fn a_volume_has_no_options() {
    let story = Story::begin().await;
    let client = &story.client;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    let mut options = Vec::new();
    for (number, target) in ["/mnt", "/mnt:rw"].iter().enumerate() {
        let name = format!("c{number}");
        client.create_with(&name, json!({"volumes": {"data": target}})).await;
        let mounts = client.exec(&name, json!("cat /proc/mounts")).await;
        let mount = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/mnt"));
        options.push(mount.unwrap_or_else(|| panic!("no {target} in {mounts}")).to_owned());
        client.delete(&format!("/containers/{name}?force=true")).await.ok();
    }
    options.dedup();
    assert_eq!(options.len(), 1, "{options:?}");
    for target in ["/mnt:O", "/mnt:U", "/mnt:rw,suid", "/mnt:/proc", "/mnt,Z", "/mnt\u{0}", "/mnt\n"] {
        client.try_create("c", json!({"volumes": {"data": target}})).await.blames(&["volumes.data"]);
    }
    for field in ["driver", "Driver", "options", "opts", "Options", "labels", "mountpoint"] {
        let options = json!({"type": "none", "o": "bind", "device": "/etc"});
        client.post("/volumes", json!({"name": "other", field: options})).await.blames(&[field]);
    }
    assert_eq!(client.listed().await, []);
}

/// Rule 27: what is kept of the log, whatever is said. Podman's own answer is asked, which cuts nothing.
#[tokio::test]
async fn a_log_takes_no_more_than_its_profile_has() {
    let story = Story::at(Site::new().set("profiles.default.log_bytes", 65536)).await;
    let said =
        "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done";
    story.client.create_with("c", json!({"command": ["sh", "-c", format!("{said}; echo done; sleep 300")]})).await;
    crate::support::eventually("the end of the log", || async {
        let logs = story.client.get("/containers/c/logs?tail=1").await.ok();
        (logs["container"]["logs"] == "done\n").then_some(())
    })
    .await;
    let (id, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
    let kept = story.podman.call("GET", &format!("/containers/{id}/logs?stdout=true&stderr=true")).await;
    assert!(kept.body.len() < 3 * 65536, "{} bytes of two million", kept.body.len());
}

async fn send(client: &Client, path: &str, headers: &[(&str, &str)], body: &str) {
    let mut request = client.request("POST", path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(whole(body.to_owned())).unwrap()).await;
}

/// Rule 35: a line of the log is the gateway's own, and shows no terminal what to do.
#[tokio::test]
async fn nobody_writes_the_log() {
    for format in ["text", "json"] {
        let story = Story::at(Site::new().set("log.format", format).set("log.level", "debug")).await;
        let client = &story.client;
        let forged = "x\n2026-01-01T00:00:00Z  INFO forged\r\n\u{1b}[2J\u{9b}31mred";
        for body in [
            json!({"username": forged, "password": forged}).to_string(),
            json!({"username": story.tenant.login("operator"), "password": forged}).to_string(),
        ] {
            send(client, "/auth/token", &[("user-agent", "a\tb"), ("x-request-id", "forged%0aline")], &body).await;
        }
        send(
            client,
            "/containers",
            &[],
            &json!({"image": forged, "name": forged, "labels": {"a": forged}}).to_string(),
        )
        .await;
        send(client, "/containers/x%0aINFO%20forged%1b%5b2J/start", &[], "").await;
        send(client, "/nothing%0d%0aforged/%1b%5b2J?x=%0aforged", &[("traceparent", "00-forged")], "").await;
        client.create_sleeping("c").await;
        let user = json!({"username": "a\nforged", "password": "b\nforged"});
        client.post("/containers/c/users", user).await.refused(400, "ValidationError");
        client.delete("/containers/c?force=true").await.ok();
        let log = story.gateway.logged("/containers/{name}").await;
        for line in log.lines() {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.trim_start().starts_with("forged") && !line.contains("INFO forged"), "{line:?}");
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            }
        }
        // Nor the audit log, which an operator prints.
        let printed = story.site.run(&["audit", "export"], "").succeeded();
        for line in printed.lines() {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        }
    }
}

/// Rule 36: what anybody may ask says nothing of who is here.
#[tokio::test]
async fn health_and_metrics_are_no_oracle() {
    let story = Story::begin().await;
    story.client.create_sleeping("a-name-of-its-own").await;
    let (_, theirs) = story.another();
    let nobody = theirs.anonymous();
    let health = nobody.get("/health").await.json();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&health), ["podman", "status", "timestamp"], "{health}");
    let metrics = theirs.get("/metrics").await.json();
    for text in [health.to_string(), metrics.to_string(), nobody.get("/readyz").await.text().to_string()] {
        for telling in [&*story.tenant.slug, "a-name-of-its-own", ALPINE] {
            assert!(!text.contains(telling), "{telling} in {text}");
        }
    }
}
