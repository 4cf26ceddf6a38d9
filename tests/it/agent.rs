//! The program inside containers: there for everybody, nobody's to change.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{ALPINE, DEBIAN, Ledger, Podman, STATIC, Site, Story, eventually};

const BUILT: &str = concat!(env!("CARGO_BIN_EXE_podgate"), "-agent");

/// The installation's volumes with agents.
async fn agents(podman: &Podman, site: &Site) -> Vec<String> {
    let installation = Ledger::of(site).await.installation().await.unwrap();
    let all = podman.all_volumes(&installation).await;
    all.into_iter().filter(|name| name.starts_with("podgate.agent.")).collect()
}

async fn supervised(story: &Story, container: &str) -> bool {
    let body = json!({"command": ["/app", "echo", "x"]});
    let shell = json!({"command": "echo x"});
    let answer = match story.client.post(&format!("/containers/{container}/exec"), shell).await {
        refused if refused.status == 400 => story.client.post(&format!("/containers/{container}/exec"), body).await,
        answer => answer,
    };
    let done = answer.ok()["execution"].clone();
    assert_eq!(done["output"], "x\n", "{done}");
    done["supervised"] == true
}

#[tokio::test]
async fn every_container_has_it_and_no_tenant_sees_it() {
    let story = Story::begin().await;
    let made = ["a", "b", "c"].map(|name| {
        let client = story.client.clone();
        tokio::spawn(async move { client.create_sleeping(name).await })
    });
    for one in made {
        one.await.unwrap();
    }
    story.client.create_with("static", json!({"image": STATIC, "command": ["/app"]})).await;
    for name in ["a", "b", "c", "static"] {
        assert!(supervised(&story, name).await, "{name}");
    }
    assert_eq!(agents(&story.podman, &story.site).await.len(), 1);
    assert_eq!(story.client.get("/volumes").await.ok()["volumes"], json!([]));
    let read = story.client.get("/containers/a").await.ok();
    assert!(!read.to_string().contains("podgate.agent"), "{read}");
    assert_eq!(story.client.used().await["volumes"], 0);
    // What it was installed through is gone.
    let installation = Ledger::of(&story.site).await.installation().await.unwrap();
    let filter = json!({"label": [format!("io.podgate.installation={installation}")]}).to_string();
    let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let all = story.podman.call("GET", &format!("/containers/json?all=true&filters={filter}")).await.json();
    assert_eq!(all.as_array().unwrap().len(), 4, "{all}");
    // A name below it is not to be had.
    let volumes = json!({"volumes": {"x": "/.podgate/y"}});
    story.client.try_create("d", volumes).await.blames(&["volumes.x"]);
}

#[tokio::test]
async fn a_container_cannot_harm_it() {
    let story = Story::begin().await;
    story.client.create_with("c", json!({"image": DEBIAN})).await;
    let before = story.client.exec("c", json!("sha256sum < /.podgate/podgate-agent; stat -c %a /.podgate")).await;
    for attempt in [
        "echo x > /.podgate/podgate-agent",
        "echo x > /.podgate/new",
        "rm -f /.podgate/podgate-agent",
        "mv /.podgate/podgate-agent /.podgate/x",
        "chmod 000 /.podgate/podgate-agent",
        "chmod 000 /.podgate",
        "chown 1:1 /.podgate",
        "touch /.podgate/podgate-agent",
        "truncate -s 0 /.podgate/podgate-agent",
        "ln /.podgate/podgate-agent /tmp/x",
        "mount -o remount,rw /.podgate",
        "mount -o remount,bind,rw /.podgate",
        "umount /.podgate",
        "umount -l /.podgate",
        "mv /.podgate /elsewhere",
        "rm -rf /.podgate",
        "setfattr -n user.x -v y /.podgate/podgate-agent || exit 1",
        "unshare -m true && unshare -m umount /.podgate",
    ] {
        let done = story.client.post("/containers/c/exec", json!({"command": attempt})).await.ok();
        assert_ne!(done["execution"]["exit_code"], 0, "{attempt}: {done}");
    }
    let after = story.client.exec("c", json!("sha256sum < /.podgate/podgate-agent; stat -c %a /.podgate")).await;
    assert_eq!(before, after);
    assert!(after.ends_with("755\n"));
    // Whoever a command runs as, it is there.
    for user in ["0", "1000:1000", "nobody", "65534:65534", "12345"] {
        let body = json!({"command": "id -u; test -w /.podgate/podgate-agent", "user": user});
        let done = story.client.post("/containers/c/exec", body).await.ok()["execution"].clone();
        assert_eq!((&done["supervised"], &done["exit_code"]), (&json!(true), &json!(1)), "{user}: {done}");
    }
}

/// An image's directory of the same name has no say over what everybody gets, neither by its mode nor by its files.
#[tokio::test]
async fn an_image_cannot_spoil_it() {
    let site = Site::new();
    let podman = Podman::of_the_tests();
    let image = format!("localhost/podgate-{}:latest", crate::support::gateway::unique());
    let mut tar = tar::Builder::new(Vec::new());
    let mut directory = |name: &str, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        tar.append_data(&mut header, name, &[][..]).unwrap();
    };
    directory("bin", 0o755);
    directory(".podgate", 0o700);
    let busybox = std::fs::read("/bin/busybox").unwrap();
    for (name, content) in [("bin/sh", busybox.as_slice()), (".podgate/podgate-agent", b"evil"), (".podgate/more", b"")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o777);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    }
    podman.import(&image, tar.into_inner().unwrap()).await;
    let story = Story::with(site, &[&format!("--image={image}"), &format!("--image={ALPINE}")]).await;
    // The first container of all, through which it is installed, and the first that starts with it.
    let body = json!({"image": image, "command": ["/bin/sh", "-c", "while :; do :; done"], "limits": {"cpus": 0.1}});
    story.client.create_with("spoiler", body).await;
    assert!(supervised(&story, "spoiler").await);
    let (_, theirs) = story.another();
    theirs.create_sleeping("victim").await;
    for user in ["0", "12345"] {
        let body = json!({"command": "ls -a /.podgate", "user": user});
        let done = theirs.post("/containers/victim/exec", body).await.ok()["execution"].clone();
        assert_eq!((&done["output"], &done["supervised"]), (&json!(".\n..\npodgate-agent\n"), &json!(true)), "{done}");
    }
    story.client.delete("/containers/spoiler?force=true").await.ok();
    podman.remove_image(&image).await;
}

/// What a crash in the middle leaves: a volume that holds nothing, or half of it, and a container that never ran.
#[tokio::test]
async fn half_an_installation_is_made_whole() {
    let story = Story::begin().await;
    story.client.create_sleeping("c").await;
    let volume = agents(&story.podman, &story.site).await.remove(0);
    story.client.delete("/containers/c?force=true").await.ok();
    let Story { gateway, client, tenant, podman, site } = story;
    drop(gateway);
    let installation = Ledger::of(&site).await.installation().await.unwrap();
    let gateway_id = std::fs::read_to_string(site.data("gateway-id")).unwrap();
    let left = json!({
        "image": ALPINE,
        "name": format!("podgate-agent-{}", crate::support::gateway::unique()),
        "labels": {"io.podgate.installation": installation, "io.podgate.container": format!("agent.{gateway_id}")},
        "volumes": [{"Name": volume, "Dest": "/.podgate"}],
    });
    let left = podman.post("/containers/create", left).await.json()["Id"].as_str().unwrap().to_owned();
    podman.put(&left, "/.podgate", "podgate-agent", b"half").await;

    let gateway = site.start().await;
    let client = gateway.client(client.token.as_deref().unwrap());
    client.create_sleeping("c").await;
    assert_eq!(client.exec("c", json!("wc -c < /.podgate/podgate-agent")).await.trim(), size_of_agent());
    eventually("that the leftover is gone", || async {
        (podman.call("GET", &format!("/containers/{left}/json")).await.status == 404).then_some(())
    })
    .await;
    let story = Story { gateway, client, tenant, podman, site };
    assert!(supervised(&story, "c").await);

    // An operator prunes volumes while there are no containers: the next one has it again.
    story.client.delete("/containers/c?force=true").await.ok();
    assert_eq!(story.podman.call("DELETE", &format!("/volumes/{volume}")).await.status, 204);
    story.client.create_sleeping("d").await;
    assert!(supervised(&story, "d").await);
    assert_eq!(agents(&story.podman, &story.site).await, [volume]);
}

fn size_of_agent() -> String {
    std::fs::metadata(BUILT).expect("scripts/build-agent was run").len().to_string()
}

/// Another program comes with another gateway: containers keep what they have, and what nobody has goes.
#[tokio::test]
async fn an_old_one_stays_as_long_as_it_is_used() {
    let story = Story::begin().await;
    story.client.create_sleeping("old").await;
    let old = agents(&story.podman, &story.site).await;
    let Story { gateway, client, tenant, podman, mut site } = story;
    drop(gateway);
    // The same and one byte.
    let another = site.dir.join("another-agent");
    let mut program = std::fs::read(BUILT).unwrap();
    program.push(0);
    std::fs::write(&another, program).unwrap();
    std::fs::set_permissions(&another, PermissionsExt::from_mode(0o755)).unwrap();
    site.put("agent.path", another.display());
    let token = client.token.unwrap();
    let gateway = site.start().await;
    let client = gateway.client(&token);
    client.create_sleeping("new").await;
    let story = Story { gateway, client, tenant, podman, site };
    assert!(supervised(&story, "old").await && supervised(&story, "new").await);
    let both = agents(&story.podman, &story.site).await;
    assert!(both.len() == 2 && both.contains(&old[0]), "{both:?}");
    story.client.delete("/containers/old?force=true").await.ok();

    let Story { gateway, client, tenant, podman, site } = story;
    drop(gateway);
    let gateway = site.start().await;
    let client = gateway.client(client.token.as_deref().unwrap());
    eventually("that the old one is gone", || async {
        (!agents(&podman, &site).await.contains(&old[0])).then_some(())
    })
    .await;
    let story = Story { gateway, client, tenant, podman, site };
    assert!(supervised(&story, "new").await);
}

#[tokio::test]
async fn without_it_commands_run_all_the_same() {
    let site = Site::new().set("agent.path", "/no/such/agent");
    let story = Story::at(site).await;
    story.gateway.logged("no agent").await;
    story.client.create_sleeping("bare").await;
    assert!(!supervised(&story, "bare").await);
    let body = json!({
        "command": "echo $A; pwd; cat", "environment": {"A": "b c"}, "workdir": "/tmp", "stdin": "in", "user": "12:34",
    });
    let done = story.client.post("/containers/bare/exec", body).await.ok()["execution"].clone();
    assert_eq!((&done["output"], &done["supervised"]), (&json!("b c\n/tmp\nin"), &json!(false)), "{done}");
    // As long as Podman may take to begin it.
    let late = json!({"command": "echo begun; sleep 60", "timeout": 6});
    let done = story.client.post("/containers/bare/exec", late).await.ok()["execution"].clone();
    assert_eq!((&done["output"], &done["timed_out"]), (&json!("begun\n"), &json!(true)));
    assert_eq!(done["supervised"], false);
    for body in [
        json!({"command": ["/no/such/program"]}),
        json!({"command": "true", "workdir": "/no/such/directory"}),
        json!({"command": "true", "user": "nobodyhere"}),
        json!({"command": ["/etc/passwd"]}),
    ] {
        story.client.post("/containers/bare/exec", body.clone()).await.refused(400, "ValidationError");
        match story.client.post_events("/containers/bare/exec/stream", body.clone()).await {
            Err(refused) => drop(refused.refused(400, "ValidationError")),
            // It took Podman longer to find out than the gateway waits for its word.
            Ok(mut begun) => {
                let exit = begun.until("exit").await.pop().unwrap().data;
                assert!((125..=127).contains(&exit["exit_code"].as_i64().unwrap()), "{body}: {exit}");
            }
        }
    }
    watched_plainly(&story).await;
    // A gateway that has one leaves older containers as they are.
    let Story { gateway, client, tenant, podman, mut site } = story;
    drop(gateway);
    site.unset("agent.path");
    let gateway = site.start().await;
    let client = gateway.client(client.token.as_deref().unwrap());
    client.create_sleeping("new").await;
    let story = Story { gateway, client, tenant, podman, site };
    assert!(!supervised(&story, "bare").await && supervised(&story, "new").await);
}

/// A stream of a command that Podman runs.
async fn watched_plainly(story: &Story) {
    let client = &story.client;
    let watch = async |name: &str, body: Value| {
        let stream = client.post_events(&format!("/containers/{name}/exec/stream"), body).await;
        stream.unwrap_or_else(|answer| panic!("{}", answer.text()))
    };
    let whole = async |name: &str, body: Value| {
        let mut events = watch(name, body).await.until("exit").await;
        let exit = events.pop().unwrap().data;
        assert_eq!(exit["supervised"], false, "{exit}");
        // Podman reads two pipes: what is said on both within a moment comes in any order.
        events.sort_by(|one, other| one.name.cmp(&other.name));
        let said = events.iter().map(|event| event.data["data"].as_str().unwrap());
        (said.collect::<String>(), exit)
    };
    let body = json!({"command": "echo Error: mine >&2; read x; echo $x; exit 3", "stdin": "in\n"});
    let (said, exit) = whole("bare", body).await;
    assert_eq!((said.as_str(), &exit["exit_code"]), ("Error: mine\nin\n", &json!(3)));
    let (said, exit) = whole("bare", json!({"command": "echo begun; sleep 60", "timeout": 6})).await;
    assert_eq!((said.as_str(), &exit["timed_out"]), ("begun\n", &json!(true)));
    let (said, exit) = whole("bare", json!({"command": "yes", "max_output": 100_000})).await;
    assert!(said.len() <= 100_000 && exit["truncated"] == true, "{} {exit}", said.len());
    assert_eq!(whole("bare", json!({"command": "sleep 2; exit 127"})).await.1["exit_code"], 127);
    // Who leaves cuts the connection, and a command that reads its input sees that.
    let mark = crate::support::processes::marker();
    let mut left = watch("bare", json!({"command": format!("echo up; sleep {mark} & cat; kill $!")})).await;
    left.told().await;
    drop(left);
    // Where there is no shell, a string's words run.
    client.create_with("static", json!({"image": STATIC, "command": ["/app"]})).await;
    let (said, exit) = whole("static", json!({"command": "/app echo a b"})).await;
    assert_eq!((said.as_str(), &exit["exit_code"]), ("a b\n", &json!(0)));
    assert_eq!(client.used().await["execs"], 0);
    client.handshake("/containers/bare/terminal").await.refused(409, "PodmanAPIError");
    client.handshake("/containers/bare/ports/80").await.refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn what_is_no_static_program_is_refused() {
    let site = Site::new().set("agent.path", "/bin/sh");
    let story = Story::at(site).await;
    story.gateway.logged("it is not static").await;
}
