//! More than can be: output without end, processes without end, more commands at once than there are places.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::engine_down::{site_at, socket};
use crate::support::client::{Answer, whole};
use crate::support::private::PrivatePodman;
use crate::support::processes::{alive, fork_bomb, marker};
use crate::support::sse::Stream;
use crate::support::websocket::streams;
use crate::support::{ALPINE, Client, DEBIAN, Forwarder, Site, Story, eventually};

/// How many bytes of output a story takes that wants much; by hand more.
fn much() -> u64 {
    std::env::var("PODGATE_TEST_OUTPUT_BYTES").ok().map_or(8 << 20, |bytes| bytes.parse().unwrap())
}

async fn watched(client: &Client, name: &str, body: Value) -> Stream {
    let path = format!("/containers/{name}/exec/stream");
    client.post_events(&path, body).await.unwrap_or_else(|answer| panic!("{}", answer.text()))
}

/// To the end, or until so many bytes came: how many there were, and the last event's data.
async fn drained(stream: &mut Stream, most: u64, mut look: impl FnMut()) -> (u64, Value) {
    let mut bytes = 0;
    loop {
        let event = stream.told().await;
        if event.name == "exit" || event.name == "end" {
            return (bytes, event.data);
        }
        bytes += event.data["data"].as_str().unwrap().len() as u64;
        look();
        if bytes >= most {
            return (bytes, Value::Null);
        }
    }
}

/// Whatever ends it: too much was said, its time is up, the caller leaves.
#[tokio::test]
async fn output_without_end_passes_through_little_memory() {
    let Story { client, gateway, .. } = &Story::begin().await;
    // Longer than a busy machine takes.
    client.create_with("c", json!({"command": "sleep 3600"})).await;
    let (much, mark) = (much(), marker());
    let yes = format!("sleep {mark} & cat /dev/zero | tr '\\0' x");
    // Everything that is needed once is there.
    let (warm, _) =
        drained(&mut watched(client, "c", json!({"command": yes, "max_output": 1_000_000})).await, 1 << 40, || {})
            .await;
    assert_eq!(warm, 1_000_000);
    let before = gateway.resident_bytes();
    let mut most = 0_u64;
    let mut look = || most = most.max(gateway.resident_bytes());

    let (bytes, exit) = drained(
        &mut watched(client, "c", json!({"command": "head -c 1000000000000 /dev/zero | tr '\\0' x", "timeout": 3}))
            .await,
        1 << 40,
        &mut look,
    )
    .await;
    assert_eq!(
        (&exit["timed_out"], &exit["truncated"], &exit["supervised"]),
        (&json!(true), &json!(false), &json!(true))
    );
    println!("{bytes} bytes in 3 s");
    let begun = Instant::now();
    let mut stream = watched(client, "c", json!({"command": yes, "timeout": 3600})).await;
    let (bytes, _) = drained(&mut stream, much, &mut look).await;
    println!("{bytes} bytes in {:?}", begun.elapsed());
    assert!(alive(&mark) > 0);
    drop(stream);
    eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
    let bound = json!({"command": yes, "max_output": 1_000_000});
    let (bytes, exit) = drained(&mut watched(client, "c", bound).await, 1 << 40, &mut look).await;
    assert_eq!((bytes, &exit["truncated"], alive(&mark)), (1_000_000, &json!(true), 0));

    let grown = most.saturating_sub(before);
    println!("{grown} bytes more at most, from {before}");
    assert!(grown < 16 << 20, "{grown} bytes more");
    streams(client, 0).await;
}

/// Who speaks and speaks hears no end when everybody is gone: it notices that nobody answers.
#[tokio::test]
async fn output_without_end_ends_with_whoever_goes() {
    let podman = PrivatePodman::start();
    podman.import_alpine();
    let between = socket();
    let forwarder = Forwarder::start(&between, podman.socket());
    let Story { client, gateway, site: _site, .. } = Story::at(site_at(&between)).await;
    client.create_with("c", json!({})).await;
    let begin = async |command: &str| {
        let mark = marker();
        let body = json!({"command": format!("sleep {mark} & {command}"), "timeout": 3600});
        let mut stream = watched(&client, "c", body).await;
        stream.told().await;
        (mark, stream)
    };
    let flood = "cat /dev/zero | tr '\\0' x";
    let gone = async |mark: String, why: &str| {
        let begun = Instant::now();
        eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
        println!("{why}: {:?}", begun.elapsed());
    };
    // The caller, who takes what comes, and who does not.
    for taken in [5_000_000, 0] {
        let (mark, mut stream) = begin(flood).await;
        drained(&mut stream, taken, || {}).await;
        drop(stream);
        gone(mark, "the caller").await;
    }
    // One who goes on to listen, however slowly, is not alone.
    let (slow, mut slowly) = begin(flood).await;
    let (quiet, _quietly) = begin("echo up; sleep 300").await;
    sleep(Duration::from_secs(3)).await;
    assert!(alive(&slow) > 0 && alive(&quiet) > 0);
    drained(&mut slowly, 5_000_000, || {}).await;
    // The connection to Podman.
    forwarder.turn_to(podman.socket());
    gone(slow, "the connection").await;
    gone(quiet, "the connection, of one who says nothing").await;
    // Podman itself.
    let (mark, mut stream) = begin(flood).await;
    drained(&mut stream, 5_000_000, || {}).await;
    podman.kill_service();
    gone(mark, "Podman").await;
    podman.serve();
    // The gateway.
    let runs = || async {
        let answer = client.post("/containers/c/exec", json!({"command": "true"})).await;
        (answer.status == 200).then_some(())
    };
    eventually("that Podman is back", runs).await;
    let (mark, mut stream) = begin(flood).await;
    drained(&mut stream, 5_000_000, || {}).await;
    drop(gateway);
    gone(mark, "the gateway").await;
}

#[tokio::test]
async fn a_fork_bomb_that_is_watched_ends() {
    let Story { client, .. } = &Story::begin().await;
    for (name, image) in [("alpine", ALPINE), ("debian", DEBIAN)] {
        client.create_with(name, json!({"image": image, "limits": {"pids": 100, "cpus": 0.5}})).await;
        let mark = marker();
        let bomb = format!("echo up; {}", fork_bomb(&mark));
        let mut late = watched(client, name, json!({"command": bomb, "timeout": 2})).await;
        let exit = late.until("exit").await.pop().unwrap().data;
        assert_eq!((&exit["timed_out"], &exit["supervised"], alive(&mark)), (&json!(true), &json!(true), 0), "{exit}");
        assert_eq!(client.exec(name, json!("echo fine")).await, "fine\n");
        let mut left = watched(client, name, json!({"command": bomb, "timeout": 300})).await;
        left.told().await;
        eventually("that it is full", || async { (alive(&mark) > 10).then_some(()) }).await;
        drop(left);
        eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
        assert_eq!(client.exec(name, json!("echo fine")).await, "fine\n");
    }
    assert_eq!(client.used().await["execs"], 0);
}

/// Three run, twelve wait, and all the others are told so at once, of both kinds.
#[tokio::test]
async fn a_hundred_at_once_run_wait_or_are_refused() {
    let story = &Story::at(Site::new().set("engine.request_timeout_seconds", 300)).await;
    let client = &story.client;
    client.create_sleeping("c").await;
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "execs=3"], "").succeeded();
    eventually("the new quota", || async { (client.quotas("limit").await["execs"] == 3).then_some(()) }).await;
    let body = json!({"command": "until [ -e /tmp/go ]; do sleep 0.1; done; echo done", "timeout": 300});
    let mut all = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (client, body) = (client.clone(), body.clone());
        all.spawn(async move {
            if number % 2 == 0 {
                let answer = client.post("/containers/c/exec", body).await;
                return (answer.status == 200)
                    .then(|| answer.json()["execution"]["output"].as_str().unwrap().to_owned())
                    .ok_or(answer);
            }
            match client.post_events("/containers/c/exec/stream", body).await {
                Ok(mut stream) => {
                    let said = stream.told().await.data["data"].as_str().unwrap().to_owned();
                    assert_eq!(stream.until("exit").await.len(), 1);
                    Ok(said)
                }
                Err(answer) => Err(answer),
            }
        });
    }
    let mut refused = 0;
    while refused < 85 {
        let answer = all.join_next().await.unwrap().unwrap().expect_err("nothing ends before it may");
        answer.refused(429, "RateLimitError");
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s > 0)));
        refused += 1;
    }
    assert_eq!(client.used().await["execs"], 3);
    // None of those who wait is forgotten, however they come free.
    client.post("/containers/c/files", json!({"dest_path": "/tmp/go", "content": ""})).await.ok();
    while let Some(ended) = all.join_next().await {
        assert_eq!(ended.unwrap().expect("a place"), "done\n");
    }
    assert_eq!(client.used().await["execs"], 0);
    streams(client, 0).await;
    // Somebody who waits and leaves gives its place up.
    client.exec("c", json!("rm /tmp/go")).await;
    let mut leaving = Vec::new();
    for _ in 0..15 {
        leaving.push(client.send_only("/containers/c/exec", &body).await);
    }
    eventually("that they run", || async { (client.used().await["execs"] == 3).then_some(()) }).await;
    sleep(Duration::from_millis(200)).await;
    drop(leaving);
    eventually("that they are gone", || async { (client.used().await["execs"] == 0).then_some(()) }).await;
    assert_eq!(client.exec("c", json!("echo fine")).await, "fine\n");
}

/// Whoever opens connections, without a token, takes no descriptor that work in Podman needs.
#[tokio::test]
async fn connections_leave_files_for_the_work() {
    let site = Site::new();
    let tenant = site.tenant();
    let token = site.token(&tenant.login("operator"));
    let gateway = site.start_with_files(64, 320).await;
    let client = gateway.client(&token);
    client.create_sleeping("web").await;
    let stream = TcpStream::connect(client.address).await.unwrap();
    let (mut standing, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut idle = Vec::new();
    // No more than the system lets wait.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(client.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        idle.push(stream);
    }
    let log = gateway.logged("all connections are taken").await;
    assert!(log.contains("fewer connections than http.max_connections"), "{log}");
    for _ in 0..3 {
        let body = whole(json!({"command": "echo hi"}).to_string());
        let request = client.request("POST", "/containers/web/exec").header("content-type", "application/json");
        let answer = Answer::read(standing.send_request(request.body(body).unwrap()).await.unwrap()).await;
        assert_eq!(answer.ok()["execution"]["output"], "hi\n");
        let request = client.request("GET", "/readyz").body(whole("")).unwrap();
        assert_eq!(Answer::read(standing.send_request(request).await.unwrap()).await.status, 200);
    }
    assert!(!gateway.log().contains("Too many open files"), "{}", gateway.log());
}
