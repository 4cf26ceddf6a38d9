//! What an image's own configuration may not bring about.

use std::io::Read;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::engine_down::{site_at, socket};
use crate::hostile::image;
use crate::support::gateway::unique;
use crate::support::{Forwarder, Podman, Site, Story, eventually};

/// A check that Podman ran by itself would be no command of anybody's, with no quota, deadline or entry.
#[tokio::test]
async fn an_image_has_nothing_run_but_its_command() {
    let name = format!("localhost/{}:checked", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    let check = json!({"Test": ["CMD", "/app", "check"], "Interval": 1_000_000_000, "Timeout": 1_000_000_000});
    let config = json!({"Cmd": ["/app", "sleep"], "Healthcheck": check});
    story.podman.load(image(&name, "/nowhere", &config)).await;
    let id = story.client.create(json!({"image": name, "name": "c"})).await;
    let inspected = story.podman.inspect(&id).await;
    let check = &inspected["Config"]["Healthcheck"];
    assert!(check.is_null() || check["Test"] == json!(["NONE"]), "{check}");
    story.client.delete("/containers/c?force=true").await.ok();
    story.podman.remove_image(&name).await;
}

#[tokio::test]
async fn a_stop_signal_that_is_none_is_the_images_fault() {
    let name = format!("localhost/{}:odd", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    story.podman.load(image(&name, "/nowhere", &json!({"Cmd": ["/app", "sleep"], "StopSignal": "99"}))).await;
    let refused = story.client.post("/containers", json!({"image": name, "name": "c"})).await;
    let error = refused.refused(400, "ValidationError");
    assert!(error.to_string().contains("STOPSIGNAL"), "{error}");
    story.podman.remove_image(&name).await;
}

/// Podman writes an image's labels into each event, as a line that its readers take for two when it is long.
#[tokio::test]
async fn an_image_that_says_too_much_is_refused() {
    let name = format!("localhost/{}:wordy", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    let labels =
        |count: usize| (0..count).map(|number| (format!("l{number}"), json!("x".repeat(1000)))).collect::<Map<_, _>>();
    for (count, is_refused) in [(70, true), (20, false)] {
        let mut labels = labels(count);
        labels.insert("io.containers.autoupdate".into(), json!("registry"));
        labels.insert("PODMAN_SYSTEMD_UNIT".into(), json!("ssh.service"));
        story.podman.load(image(&name, "/nowhere", &json!({"Cmd": ["/app", "sleep"], "Labels": labels}))).await;
        let answer = story.client.post("/containers", json!({"image": name, "name": "c"})).await;
        if is_refused {
            assert!(answer.refused(400, "ValidationError").to_string().contains("64 KiB"));
        } else {
            let id = answer.ok()["container"]["id"].as_str().unwrap().to_owned();
            let labels = story.podman.inspect(&id).await["Config"]["Labels"].clone();
            // No unit of the host is restarted in the image's name.
            assert_eq!(
                (&labels["io.containers.autoupdate"], &labels["PODMAN_SYSTEMD_UNIT"]),
                (&json!("disabled"), &json!(""))
            );
        }
    }
    story.client.delete("/containers/c?force=true").await.ok();
    story.podman.remove_image(&name).await;
}

/// By our labels, what is whose is known after a crash.
#[tokio::test]
async fn an_image_does_not_speak_for_the_gateway() {
    let name = format!("localhost/{}:posing", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    for label in ["io.podgate.visitor", "io.podgate.container"] {
        story.podman.load(image(&name, "/nowhere", &json!({"Cmd": ["/app", "sleep"], "Labels": {label: "x.y"}}))).await;
        let answer = story.client.post("/containers", json!({"image": name, "name": "c"})).await;
        let said = answer.refused(400, "ValidationError").to_string();
        assert!(said.contains("io.podgate."), "{said}");
    }
    story.podman.remove_image(&name).await;
}

/// The runtime would make it name by name, at every start.
#[tokio::test]
async fn an_image_has_a_workdir_of_a_paths_length() {
    let name = format!("localhost/{}:far", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    for (workdir, why) in
        [("/x".repeat(40_000), "64 KiB"), ("/x".repeat(3000), "WORKDIR"), ("/a/../b".into(), "WORKDIR")]
    {
        story.podman.load(image(&name, "/nowhere", &json!({"Cmd": ["/app", "sleep"], "WorkingDir": workdir}))).await;
        let answer = story.client.post("/containers", json!({"image": name, "name": "c"})).await;
        let said = answer.refused(400, "ValidationError").to_string();
        assert!(said.contains(why), "{said}");
    }
    story.podman.remove_image(&name).await;
}

/// For what it takes for init, Podman mounts the control groups, writable.
#[tokio::test]
async fn a_command_called_init_is_a_command() {
    let story = Story::begin().await;
    for (name, command) in [("init", "/sbin/init"), ("systemd", "/usr/lib/systemd/systemd")] {
        let made = story.client.create_with(name, json!({"command": [command], "start": false})).await;
        let inspected = story.podman.inspect(made["id"].as_str().unwrap()).await;
        assert_eq!(inspected["Config"]["Cmd"], json!([command]));
        assert!(inspected["Config"]["SystemdMode"] != true, "{}", inspected["Config"]);
    }
}

/// An image that does nothing, whose manifest has these annotations.
fn annotated(name: &str, annotations: &Value) -> Vec<u8> {
    let mut parts = std::collections::HashMap::new();
    let docker = image(name, "/nowhere", &json!({"Cmd": ["/app", "sleep"]}));
    for entry in tar::Archive::new(&*docker).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, mut bytes) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        parts.insert(path, bytes);
    }
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let described = |kind: &str, bytes: &[u8]| {
        let media = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media, "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
    };
    let (config, layer) = (&parts["config.json"], &parts["layer.tar"]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", config),
        "layers": [described("layer.v1.tar", layer)],
        "annotations": annotations,
    });
    let manifest = manifest.to_string().into_bytes();
    let mut listed = described("manifest.v1+json", &manifest);
    listed["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", digest(bytes)), bytes.to_vec());
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("oci-layout".into(), json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes()),
        ("index.json".into(), json!({"schemaVersion": 2, "manifests": [listed]}).to_string().into_bytes()),
        blob(config),
        blob(layer),
        blob(&manifest),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &*content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A seccomp filter that allows everything, as crun takes it in place of the profile.
fn no_filter() -> Value {
    json!({"run.oci.seccomp_bpf_data": "BgAAAAAA/38=", "org.opencontainers.image.title": "harmless"})
}

/// Podman 4 hands the annotations of an image's manifest to the runtime, which takes some for orders.
#[tokio::test]
async fn an_image_gives_no_orders_to_its_runtime() {
    let name = format!("localhost/{}:annotated", unique());
    let story = Story::with(Site::new(), &[&format!("--image={name}")]).await;
    let client = &story.client;
    let orders = [
        no_filter(),
        json!({"org.systemd.property.MemoryMax": "uint64 1099511627776"}),
        json!({"module.wasm.image/variant": "compat"}),
        json!({"io.podman.annotations.privileged": "TRUE"}),
    ];
    for annotations in orders {
        story.podman.load(annotated(&name, &annotations)).await;
        let refused = client.post("/containers", json!({"image": name, "name": "c"})).await;
        let said = refused.refused(400, "ValidationError").to_string();
        assert!(said.contains("annotation"), "{said}");
    }
    assert_eq!(client.listed().await, []);
    assert_eq!(client.used().await["containers"], 0);

    let plain = json!({
        "org.opencontainers.image.title": "a title",
        "org.opencontainers.image.base.name": "docker.io/library/alpine:latest",
        "com.example.built-by": "somebody",
    });
    story.podman.load(annotated(&name, &plain)).await;
    client.create(json!({"image": name, "name": "c"})).await;
    client.delete("/containers/c?force=true").await.ok();
    story.podman.remove_image(&name).await;
}

/// One image may have several manifests, of which the last that came counts: what was looked at need not be what is used.
#[tokio::test]
async fn orders_that_come_late_are_no_orders() {
    let name = format!("localhost/{}:late", unique());
    let socket = socket();
    let between = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let story = Story::with(site_at(&socket), &[&format!("--image={name}")]).await;
    story.podman.load(annotated(&name, &json!({}))).await;
    between.delay("/containers/create");
    let create = tokio::spawn({
        let (client, body) = (story.client.clone(), json!({"image": name, "name": "c"}));
        async move { client.post("/containers", body).await }
    });
    eventually("that it is looked at", async || (between.delayed() > 0).then_some(())).await;
    story.podman.load(annotated(&name, &no_filter())).await;
    between.pass("/containers/create");
    let made = create.await.unwrap();
    if made.status == 200 {
        // Podman 5 leaves them out.
        let (id, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
        assert!(story.podman.inspect(&id).await["Config"]["Annotations"]["run.oci.seccomp_bpf_data"].is_null());
        story.client.delete("/containers/c?force=true").await.ok();
    } else {
        made.refused(400, "ValidationError");
        assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
    }
    story.podman.remove_image(&name).await;
}
