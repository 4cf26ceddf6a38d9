//! SIGHUP: the configuration is taken over whole, or not at all.

use serde_json::json;

use crate::support::{Client, Site, Story, eventually};

const TAKEN: &str = "the configuration was taken over";
const NOT_TAKEN: &str = "the configuration was not taken over; the old one stays";

/// Sends SIGHUP and waits for these words, so many times in all.
async fn reload(story: &Story, words: &str, times: usize) -> String {
    story.gateway.hang_up();
    eventually(words, || async { Some(story.gateway.log()).filter(|log| log.matches(words).count() == times) }).await
}

async fn burst(client: &Client) -> String {
    client.get("/containers").await.header("ratelimit-policy").unwrap().to_owned()
}

/// One after the other on one gateway, as an operator's day goes.
#[tokio::test]
async fn what_can_change_changes_without_a_restart() {
    let site = Site::new().with(
        "[http]\ncors_origins = []\nmax_body_bytes = 1048576\n[images]\npull = \"never\"\n[quotas]\nexecs = 20\n\
         [log]\nlevel = \"info\"\n[profiles.other]\npids = 10\n",
    );
    let story = Story::with(
        site,
        &["--image=docker.io/library/alpine:latest", "--profile=other", "--alias=own=docker.io/library/alpine:latest"],
    )
    .await;
    let client = &story.client;
    let origin = "https://app.example.org";
    let allowed = async || {
        let request = client.request("GET", "/containers").header("origin", origin);
        let answer = client.send(request.body(crate::support::client::whole("")).unwrap()).await;
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(burst(client).await, "\"tenant\";q=10000;w=1");
    assert_eq!(allowed().await, None);
    assert_eq!(client.quotas("limit").await["execs"], 20);
    let web = client.create_with("web", json!({"profile": "other", "image": "own"})).await;
    client.try_create("next", json!({"limits": {"pids": 11}, "profile": "other"})).await.blames(&["limits.pids"]);
    client.try_create("next", json!({"image": "extra"})).await.refused(403, "PermissionError");

    let file = &story.site;
    file.edit("requests_per_second = 10000\nburst = 10000\n", "requests_per_second = 500\nburst = 5000\n");
    file.edit("cors_origins = []", &format!("cors_origins = [\"{origin}\"]"));
    file.edit("execs = 20", "execs = 21");
    file.edit("pids = 10\n", "pids = 50\n");
    file.edit("level = \"info\"", "level = \"debug\"");
    file.edit("max_body_bytes = 1048576", "max_body_bytes = 1024");
    file.edit("pull = \"never\"\n", "pull = \"never\"\naliases = { extra = \"docker.io/library/alpine:latest\" }\n");
    reload(&story, TAKEN, 1).await;

    assert_eq!(burst(client).await, "\"tenant\";q=5000;w=10");
    assert_eq!(allowed().await.as_deref(), Some(origin));
    assert_eq!(client.quotas("limit").await["execs"], 21);
    client.create_with("next", json!({"limits": {"pids": 11}, "profile": "other"})).await;
    client.create_with("third", json!({"image": "extra"})).await;
    let long = json!({"image": "extra", "name": "x", "labels": {"a": "b".repeat(2000)}});
    client.post("/containers", long).await.refused(413, "ValidationError");
    client.with_token("junk").get("/containers").await.refused(401, "AuthenticationError");
    story.gateway.logged("DEBUG").await;
    assert_eq!(client.get("/containers/web").await.ok()["container"]["id"], web["id"], "and nothing was lost");
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing() {
    let story = Story::at(Site::new().with("[quotas]\nexecs = 20\npids = 100\n")).await;
    // One mistake beside a good change.
    story.site.edit("execs = 20\npids = 100", "execs = 21\npids = -1\nnonsense = 1");
    let log = reload(&story, NOT_TAKEN, 1).await;
    assert!(log.contains("quotas.pids: ") && log.contains("quotas.nonsense: "), "every mistake is told: {log}");
    assert_eq!(story.client.quotas("limit").await["execs"], 20, "the good change was not taken either");
    std::fs::remove_file(story.site.dir.join("podgate.toml")).unwrap();
    reload(&story, NOT_TAKEN, 2).await;
    story.client.get("/containers").await.ok();
}

#[tokio::test]
async fn what_needs_a_restart_is_told() {
    let story = Story::at(Site::new().with("[quotas]\nexecs = 20\n")).await;
    let port = story.gateway.addresses[0];
    story.site.edit("[engine]\n", "[engine]\nmax_workers = 3\n");
    story.site.edit("listen = [{ address = \"127.0.0.1:0\" }]", "listen = [{ address = \"127.0.0.1:1\" }]");
    story.site.edit("execs = 20", "execs = 21");
    let log = reload(&story, "these keys hold only after a restart", 1).await;
    assert!(log.contains("keys=\"listen, engine\""), "{log}");
    assert_eq!(story.client.address, port);
    assert_eq!(story.client.get("/metrics").await.json()["max_workers"], 10);
    assert_eq!(story.client.quotas("limit").await["execs"], 21, "all else holds");
}

/// A certificate that is broken keeps everything as it is; one that is whole is presented at once.
#[tokio::test]
async fn certificates_are_read_again() {
    let site = Site::new().with("[quotas]\nexecs = 20\n");
    let tls = site.dir.join("tls");
    let make = |site: &Site| {
        let _ = std::fs::remove_dir_all(&tls);
        site.run(&["dev-certificate", tls.to_str().unwrap()], "").succeeded();
    };
    make(&site);
    let files = format!("{{ cert_file = \"{0}/cert.pem\", key_file = \"{0}/key.pem\" }}", tls.display());
    let listen = format!("[{{address = \"127.0.0.1:0\"}}, {{address = \"127.0.0.1:0\", tls = {files}}}]");
    let story = Story::at(site.listen(2, &listen)).await;
    let presented = async || {
        let port = story.gateway.addresses[1].to_string();
        let shown = tokio::process::Command::new("openssl")
            .args(["s_client", "-connect", &port, "-showcerts"])
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let lines = |file: &str| std::fs::read_to_string(tls.join(file)).unwrap().lines().nth(3).unwrap().to_owned();
    let first = lines("cert.pem");
    assert!(presented().await.contains(&first));

    std::fs::write(tls.join("key.pem"), "broken").unwrap();
    story.site.edit("execs = 20", "execs = 21");
    reload(&story, NOT_TAKEN, 1).await;
    assert_eq!(story.client.quotas("limit").await["execs"], 20);
    assert!(presented().await.contains(&first));

    make(&story.site);
    reload(&story, TAKEN, 1).await;
    assert_eq!(story.client.quotas("limit").await["execs"], 21);
    let second = lines("cert.pem");
    assert!(second != first && presented().await.contains(&second));
}
