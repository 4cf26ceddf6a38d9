//! What an operator sees: metrics, probes, the log.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::between::Between;
use crate::support::client::{Answer, exchange, whole};
use crate::support::{Forwarder, Podman, Site, Story, eventually};

const OPERATOR: &str = "127.0.0.1:0";

async fn ask(address: SocketAddr, path: &str) -> Answer {
    let request = hyper::Request::builder().uri(path).header("host", "operator").body(whole("")).unwrap();
    exchange(TcpStream::connect(address).await.unwrap(), request).await
}

/// The metrics' text.
async fn scrape(address: SocketAddr) -> String {
    let answer = ask(address, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

/// The value of the only series that has all these words.
fn value(text: &str, words: &[&str]) -> Option<f64> {
    let has = |line: &&str| !line.starts_with('#') && words.iter().all(|word| line.contains(word));
    let found: Vec<&str> = text.lines().filter(has).collect();
    assert!(found.len() <= 1, "{words:?} are {found:?}");
    found.first().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Names of all series.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// Names of metrics in a text of any kind.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| {
        let roots = ["podgate_", "http_server_", "db_client_", "process_"];
        roots.iter().any(|root| word.starts_with(root) && word.len() > root.len())
    };
    words.filter(ours).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// One of everything, so that everything was counted.
async fn with_everything_counted() -> (Story, String) {
    let site = Site::new().set("operator.listen", OPERATOR);
    site.run(&["dev-certificate", site.dir.join("tls").to_str().unwrap()], "").succeeded();
    let tls = format!("{{ cert_file = \"{0}/tls/cert.pem\", key_file = \"{0}/tls/key.pem\" }}", site.dir.display());
    let listen = format!("[{{address = \"127.0.0.1:0\"}}, {{address = \"127.0.0.1:0\", tls = {tls}}}]");
    let story = Story::at(site.listen(2, &listen)).await;
    let name = "some-private-name";
    story.client.create_sleeping(name).await;
    story.client.exec(name, json!("true")).await;
    story.client.get("/containers/absent-container").await.refused(404, "PodmanAPIError");
    story.client.sign_in(&story.tenant.login("operator"), "wrong password").await.refused(401, "AuthenticationError");
    let text = scrape(story.gateway.operator()).await;
    (story, text)
}

#[tokio::test]
async fn requests_are_counted_by_template_and_never_by_name() {
    let (story, text) = with_everything_counted().await;
    let count = "http_server_request_duration_seconds_count";
    let created = [count, "http_request_method=\"POST\"", "http_route=\"/api/v1/containers\"", "status_code=\"200\""];
    assert_eq!(value(&text, &created), Some(1.0), "{text}");
    let missed =
        [count, "http_route=\"/api/v1/containers/{name}\"", "status_code=\"404\"", "error_type=\"PodmanAPIError\""];
    assert_eq!(value(&text, &missed), Some(1.0), "{text}");
    for secret in [story.tenant.slug.as_str(), "some-private-name", "absent-container", "operator\""] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    assert_eq!(value(&text, &["podgate_podman_up "]), Some(1.0));
    assert_eq!(value(&text, &["podgate_store_up "]), Some(1.0));
    assert_eq!(value(&text, &["podgate_wedged_containers "]), Some(0.0));
    assert_eq!(value(&text, &["podgate_containers{", "\"ready\""]), Some(1.0));
    assert_eq!(value(&text, &["podgate_records{", "\"tenants\""]), Some(1.0));
    assert_eq!(value(&text, &["podgate_logins_total", "\"password\"", "\"refused\""]), Some(1.0));
    let start = ["podgate_podman_call_duration_seconds_count", "\"POST containers/{id}/start\"", "\"ok\""];
    assert_eq!(value(&text, &start), Some(1.0), "{text}");
    let passed = value(&text, &["podgate_rate_limit_decisions_total", "\"tenant\"", "\"passed\""]).unwrap();
    assert_eq!(passed, 3.0, "{text}");
    let not_after = value(&text, &["podgate_certificate_not_after_timestamp_seconds"]).unwrap();
    let started = value(&text, &["process_start_time_seconds"]).unwrap();
    assert!(not_after > started, "{not_after} {started}");
    // A second look counts what happened since.
    story.client.delete("/containers/some-private-name?force=true").await.ok();
    let text = scrape(story.gateway.operator()).await;
    assert_eq!(value(&text, &["podgate_containers{", "\"ready\""]), Some(0.0));
}

#[tokio::test]
async fn dashboard_alerts_and_guide_name_only_what_exists() {
    let (_story, text) = with_everything_counted().await;
    let there = series(&text);
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<&str> = queries.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 15, "{queries:?}");
    let expressions = read("deploy/alerts.yml");
    let expressions: Vec<&str> = expressions.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    assert!(expressions.len() > 10, "{expressions:?}");
    for query in queries.into_iter().chain(expressions) {
        let named = named(query);
        assert!(!named.is_empty() || query.contains("up{"), "{query}");
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{missing:?} of {query} are not in {there:?}");
    }
    // The guide has all of them, by the name that the text declares.
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let declared: BTreeSet<String> = declared.map(str::to_owned).collect();
    let documented: BTreeSet<String> =
        read("docs/operations.md").lines().filter(|line| line.starts_with("| `")).flat_map(named).collect();
    assert_eq!(documented, declared);
}

#[tokio::test]
async fn the_api_gives_the_text_where_it_may() {
    let text = |client: &crate::support::Client| {
        client.request("GET", "/metrics").header("accept", "text/plain;version=0.0.4").body(whole("")).unwrap()
    };
    let closed = Story::begin().await;
    let answer = closed.client.send(text(&closed.client)).await;
    assert_eq!(answer.json()["max_workers"], 10, "the few numbers, whatever was asked for");
    closed.client.anonymous().send(text(&closed.client.anonymous())).await.refused(401, "AuthenticationError");

    let open = Story::at(Site::new().set("operator.metrics_in_api", true)).await;
    let answer = open.client.send(text(&open.client)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    assert!(answer.text().contains("\npodgate_build_info{version="), "{}", answer.text());
    assert!(!answer.text().contains(&open.tenant.slug));
    assert_eq!(open.client.get("/metrics").await.json()["max_workers"], 10, "who asks for nothing gets JSON");
    open.client.anonymous().send(text(&open.client.anonymous())).await.refused(401, "AuthenticationError");
}

/// Whatever the operator's listener serves, it does not serve the API, and the API's does not serve the metrics.
#[tokio::test]
async fn the_listeners_are_apart() {
    let story = Story::at(Site::new().set("operator.listen", OPERATOR)).await;
    let operator = story.gateway.operator();
    assert_eq!(ask(operator, "/livez").await.json(), json!({"status": "alive"}));
    assert_eq!(ask(operator, "/readyz").await.json(), json!({"status": "ready"}));
    for path in ["/api/v1/health", "/docs", "/"] {
        assert_eq!(ask(operator, path).await.status, 404, "{path}");
    }
    assert_eq!(ask(story.gateway.addresses[0], "/metrics").await.status, 404);
    let refused = Site::new().set("operator.listen", "0.0.0.0:9464").run(&["check-config"], "");
    assert_eq!(refused.code, 64);
    assert!(refused.stderr.contains("operator.listen: ") && refused.stderr.contains("beyond_loopback"));
    let said = Site::new().set("operator.listen", "0.0.0.0:9464").set("operator.beyond_loopback", true);
    said.run(&["check-config"], "").succeeded();
}

#[tokio::test]
async fn readiness_needs_podman() {
    let socket = std::env::temp_dir().join(format!("podgate-ready-{}.sock", crate::support::gateway::unique()));
    let forwarder = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let site = Site::new().set("engine.url", format!("unix://{}", socket.display())).set("operator.listen", OPERATOR);
    let story = Story::at(site).await;
    let operator = story.gateway.operator();
    for address in [operator, story.gateway.addresses[0]] {
        assert_eq!(ask(address, "/readyz").await.status, 200);
    }
    forwarder.turn_to("/nowhere".as_ref());
    assert_eq!(ask(operator, "/livez").await.status, 200);
    for address in [operator, story.gateway.addresses[0]] {
        is_not_ready(address).await;
    }
    let unhealthy = ask(story.gateway.addresses[0], "/api/v1/health").await;
    assert_eq!((unhealthy.status, unhealthy.header("retry-after")), (503, Some("5")));
    let text = scrape(operator).await;
    assert_eq!(value(&text, &["podgate_podman_up "]), Some(0.0));
    assert!(text.contains("outcome=\"unreachable\""), "{text}");
}

/// Waits for it: an answer is given again for a second.
async fn is_not_ready(address: SocketAddr) {
    eventually("that it is not ready", || async {
        let status = ask(address, "/readyz").await.status;
        assert!(matches!(status, 200 | 503), "{status}");
        (status == 503).then_some(())
    })
    .await;
}

/// However Podman fails, whoever probes is told the same.
#[tokio::test]
async fn a_podman_that_is_silent_or_broken_is_not_ready() {
    let socket = std::env::temp_dir().join(format!("podgate-broken-{}.sock", crate::support::gateway::unique()));
    let forwarder = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let site = Site::new().set("engine.url", format!("unix://{}", socket.display()));
    let gateway = site.start().await;
    let address = gateway.addresses[0];
    assert_eq!(ask(address, "/readyz").await.status, 200);
    forwarder.fail("_ping", "no space left on device");
    is_not_ready(address).await;
    forwarder.pass("_ping");
    eventually("that it is ready", || async { (ask(address, "/readyz").await.status == 200).then_some(()) }).await;
    forwarder.hold("_ping");
    is_not_ready(address).await;
}

/// Anybody may ask, and nobody makes Podman work by it.
#[tokio::test]
async fn readiness_is_looked_up_once_a_second() {
    let socket = std::env::temp_dir().join(format!("podgate-asked-{}.sock", crate::support::gateway::unique()));
    let forwarder = Forwarder::start(&socket, &Podman::of_the_tests().socket);
    let gateway = Site::new().set("engine.url", format!("unix://{}", socket.display())).start().await;
    let (before, begun) = (forwarder.asked("GET", "_ping"), std::time::Instant::now());
    for _ in 0..100 {
        assert_eq!(ask(gateway.addresses[0], "/readyz").await.status, 200);
    }
    let (asked, seconds) = (forwarder.asked("GET", "_ping") - before, begun.elapsed().as_secs() as usize);
    assert!(asked <= seconds + 2, "{asked} times in {seconds} s");
}

#[tokio::test]
async fn readiness_needs_the_store() {
    let mut site = Site::on_postgres().await;
    let between = Between::start(&site.database()).await;
    site.put("store.url", &between.url);
    site.put("operator.listen", OPERATOR);
    let gateway = site.start().await;
    assert_eq!(ask(gateway.operator(), "/readyz").await.status, 200);
    between.cut().await;
    is_not_ready(gateway.operator()).await;
    assert_eq!(ask(gateway.operator(), "/livez").await.status, 200);
    assert_eq!(value(&scrape(gateway.operator()).await, &["podgate_store_up "]), Some(0.0));
}

#[tokio::test]
async fn a_trace_goes_into_the_log() {
    let story = Story::at(Site::new().set("log.format", "json")).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traced = |value: &str| story.client.request("GET", "/containers").header("traceparent", value);
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let ids = [
        story.client.send(traced(&parent).body(whole("")).unwrap()).await,
        story.client.send(traced("00-nonsense-x-01").body(whole("")).unwrap()).await,
        story.client.send(traced(&parent).header("traceparent", &parent).body(whole("")).unwrap()).await,
    ]
    .map(|answer| answer.ok()["success"].as_bool().and(answer.header("x-request-id").map(str::to_owned)).unwrap());
    let log = story.gateway.logged(&ids[2]).await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: &str| lines.iter().find(|line| line["message"] == "request" && line["request.id"] == id).unwrap();
    assert_eq!(of(&ids[0])["trace.id"], trace);
    assert_eq!(of(&ids[1]).get("trace.id"), None);
    assert_eq!(of(&ids[2]).get("trace.id"), None);
}

/// A client that hangs up is in the log and in the metrics all the same.
#[tokio::test]
async fn whoever_leaves_is_logged() {
    let story = Story::at(Site::new().set("operator.listen", OPERATOR)).await;
    story.client.create_sleeping("web").await;
    let body = json!({"command": "echo running > /tmp/begun; sleep 20"}).to_string();
    let token = story.client.token.as_deref().unwrap();
    let mut connection = TcpStream::connect(story.client.address).await.unwrap();
    let request = format!(
        "POST /api/v1/containers/web/exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    eventually("the command runs", || async {
        let begun = story.client.post("/containers/web/exec", json!({"command": "cat /tmp/begun"})).await;
        (begun.json()["execution"]["exit_code"] == 0).then_some(())
    })
    .await;
    drop(connection);
    let log = story.gateway.logged("http.status=499").await;
    let line = log.lines().find(|line| line.contains("http.status=499")).unwrap();
    assert!(line.contains("/api/v1/containers/{name}/exec"), "{line}");
    let text = scrape(story.gateway.operator()).await;
    let left = ["http_server_request_duration_seconds_count", "status_code=\"499\"", "error_type=\"client_left\""];
    assert_eq!(value(&text, &left), Some(1.0), "{text}");
}
