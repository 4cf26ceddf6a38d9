//! Bad input gets a clear answer and changes nothing.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::support::client::{keys, whole};
use crate::support::{Client, Site, Story};

/// None of the answers may have made anything.
async fn nothing_was_made(story: &Story) {
    assert_eq!(story.client.listed().await, []);
    assert_eq!(story.podman.containers(&story.tenant.slug).await, []);
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let story = Story::begin().await;
    let deep = |open: &str, close: &str| {
        format!(r#"{{"image":"alpine","name":"x","command":{}{}}}"#, open.repeat(100_000), close.repeat(100_000))
    };
    let bad: Vec<Vec<u8>> = vec![
        b"".into(),
        b"{".into(),
        b"not json".into(),
        br#"{"image":"alpine","name":"x"} trailing"#.into(),
        br#"{"image":"alpine","name":"x"}{}"#.into(),
        br#"{"image":"alpine","name":"x",}"#.into(),
        br#"{'image':'alpine','name':'x'}"#.into(),
        br#"{"image":"alpine","name":"\ud800"}"#.into(),
        b"{\"image\":\"alpine\",\"name\":\"\xff\"}".into(),
        b"\xef\xbb\xbf{\"image\":\"alpine\",\"name\":\"x\"}".into(),
        br#"{"image":"alpine","name":"x","start":NaN}"#.into(),
        deep("[", "]").into(),
        deep("{\"a\":", "}").into(),
        "[".repeat(500_000).into(),
    ];
    for body in bad {
        let answer = story.client.post_text("/containers", body.clone()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        answer.refused(400, "ValidationError");
    }
    for body in ["null", "[]", "\"text\"", "1", "true"] {
        story.client.post_text("/containers", body).await.refused(400, "ValidationError");
    }
    nothing_was_made(&story).await;
}

#[tokio::test]
async fn fields_are_those_of_the_document_each_once() {
    let story = Story::begin().await;
    let client = &story.client;
    let fields: &[(&str, &[&str])] = &[
        // Missing, all at once.
        (r#"{}"#, &["image", "name"]),
        (r#"{"name":"x"}"#, &["image"]),
        (r#"{"image":null,"name":null}"#, &["image", "name"]),
        // Unknown, also in another case: Podman would take it.
        (r#"{"image":"alpine","name":"x","privileged":true}"#, &["privileged"]),
        (r#"{"image":"alpine","name":"x","Image":"debian","a b":1}"#, &["Image", "a b"]),
        (r#"{"Image":"alpine","NAME":"x"}"#, &["Image", "NAME", "image", "name"]),
        // Of the wrong type, all at once.
        (r#"{"image":1,"name":[],"start":"yes","ports":[]}"#, &["image", "name", "start", "ports"]),
        (r#"{"image":"alpine","name":"x","start":1}"#, &["start"]),
        (r#"{"image":"alpine","name":"x","command":{"a":1}}"#, &["command"]),
        (r#"{"image":"alpine","name":"x","command":1}"#, &["command"]),
        (r#"{"image":"alpine","name":"x","command":["sleep",300]}"#, &["command"]),
        (r#"{"image":"alpine","name":"x","command":[]}"#, &["command"]),
        (r#"{"image":"alpine","name":"x","entrypoint":"sh"}"#, &["entrypoint"]),
        (r#"{"image":"alpine","name":"x","environment":{"A":1}}"#, &["environment.A"]),
        (r#"{"image":"alpine","name":"x","environment":"A=1"}"#, &["environment"]),
        (r#"{"image":"alpine","name":"x","ports":{"8080":80}}"#, &["ports.8080"]),
        (r#"{"image":"alpine","name":"x","nothing":null}"#, &["nothing"]),
        (r#"{"image":"alpine","name":"x","labels":{"a":null}}"#, &["labels.a"]),
        // Of the right type, and still wrong, all at once.
        (r#"{"image":"","name":"/","user":"a b","workdir":"x"}"#, &["image", "name", "user", "workdir"]),
    ];
    for (body, blamed) in fields {
        let answer = client.post_text("/containers", *body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.blames(blamed);
    }
    let twice = [
        (r#"{"image":"alpine","name":"x","name":"y"}"#, "name"),
        (r#"{"image":"alpine","im\u0061ge":"debian","name":"x"}"#, "image"),
        (r#"{"image":"alpine","name":"x","environment":{"A":"1","\u0041":"2"}}"#, "environment.A"),
    ];
    for (body, blamed) in twice {
        client.post_text("/containers", body).await.blames(&[blamed]);
    }
    // Beyond what their types hold.
    for number in ["9223372036854775808", "18446744073709551615", "-9223372036854775809", "1e300"] {
        let body = format!(r#"{{"image":"alpine","name":"x","expires_in":{number}}}"#);
        client.post_text("/containers", body).await.blames(&["expires_in"]);
        let body = format!(r#"{{"command":"id","max_output":{number}}}"#);
        client.post_text("/containers/x/exec", body).await.blames(&["max_output"]);
    }
    for (path, blamed) in [("exec", "command"), ("users", "username")] {
        client.post_text(&format!("/containers/x/{path}"), "{}").await.blames(&[blamed]);
    }
    client.post_text("/containers/x/files", "{}").await.blames(&["dest_path", "content"]);
    nothing_was_made(&story).await;

    // Null means absent.
    let mut body = json!({"image": "alpine", "name": "x"});
    for field in ["entrypoint", "environment", "ports", "volumes", "user", "workdir", "labels", "start", "command"] {
        body[field] = Value::Null;
    }
    client.post("/containers", body).await.ok();
}

#[tokio::test]
async fn what_takes_no_body_is_given_none() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    for body in [r#"{"timeout": 60}"#, "[]", "timeout=60", "{"] {
        for (method, path) in [("POST", "/containers/c/stop"), ("DELETE", "/containers/c"), ("GET", "/containers")] {
            let request = client.request(method, path).body(whole(body)).unwrap();
            client.send(request).await.refused(400, "ValidationError");
        }
    }
    assert_eq!(client.get("/containers/c").await.ok()["container"]["status"], "running");
    // Some clients always send this.
    client.post_text("/containers/c/stop", "{}").await.ok();
}

#[tokio::test]
async fn a_body_has_a_size_and_a_type() {
    let story = Story::at(Site::new().set("http.max_body_bytes", 4096)).await;
    let client = &story.client;
    let large = json!({"image": "alpine", "name": "x", "workdir": "x".repeat(5000)}).to_string();
    client.post_text("/containers", large.clone()).await.refused(413, "ValidationError");
    // The same without a length.
    let parts: Vec<Bytes> = large.as_bytes().chunks(1000).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(parts.into_iter().map(|part| Ok(Frame::data(part))));
    let chunked = client.request("POST", "/containers").header("content-type", "application/json");
    let chunked = chunked.body(StreamBody::new(frames).boxed()).unwrap();
    client.send(chunked).await.refused(413, "ValidationError");
    client.anonymous().post_text("/auth/token", large).await.refused(413, "ValidationError");

    let good = json!({"image": "alpine", "name": "x"}).to_string();
    let send = async |headers: &[(&str, &str)]| {
        let mut request = client.request("POST", "/containers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        client.send(request.body(whole(good.clone())).unwrap()).await
    };
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "multipart/form-data",
        "json",
        "",
        "application/json; charset=utf-16",
        "application/json;charset=\"latin-1\"",
    ] {
        send(&[("content-type", wrong)]).await.refused(415, "ValidationError");
    }
    send(&[]).await.refused(415, "ValidationError");
    for encoding in ["gzip", "br", "deflate", "gzip, identity"] {
        let refused = send(&[("content-type", "application/json"), ("content-encoding", encoding)]).await;
        refused.refused(415, "ValidationError");
    }
    nothing_was_made(&story).await;
    send(&[("content-type", "Application/JSON; charset=\"UTF-8\""), ("content-encoding", "identity")]).await.ok();
    // Where no body is asked for, none of this matters.
    client.call("POST", "/containers/x/start", None).await.ok();
}

/// Whoever sent parameters as JSON is told where they belong.
#[tokio::test]
async fn a_body_where_none_is_taken_is_shown_to_the_query() {
    let Story { client, .. } = &Story::begin().await;
    for (method, path, body, words) in [
        (
            "POST",
            "/containers/x/stop",
            json!({"timeout": 1}),
            "this operation takes no body; its parameters are in the query: ?timeout=",
        ),
        (
            "DELETE",
            "/containers/x",
            json!({"force": true}),
            "this operation takes no body; its parameters are in the query: ?force=",
        ),
        ("POST", "/containers/x/start", json!({"timeout": 1}), "this operation takes no body"),
    ] {
        let error = client.call(method, path, Some(body)).await.refused(400, "ValidationError");
        assert_eq!(error["message"], words);
    }
}

#[tokio::test]
async fn methods_and_paths_are_those_of_the_document() {
    let story = Story::begin().await;
    let client = &story.client;
    for (method, path, allow) in [
        ("PUT", "/containers", "GET, POST, HEAD"),
        ("DELETE", "/containers", "GET, POST, HEAD"),
        ("PATCH", "/containers/x", "DELETE, GET, HEAD"),
        ("GET", "/containers/x/start", "POST"),
        ("GET", "/containers/x/exec", "POST"),
        ("POST", "/containers/x/logs", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("GET", "/auth/token", "POST"),
        ("POST", "/containers/x/terminal", "GET"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ] {
        let answer = client.call(method, path, None).await;
        answer.refused(405, "ValidationError");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    for path in [
        "/",
        "/nothing",
        "/container",
        "/containers/",
        "/containers//start",
        "/containers/x/",
        "/containers/x/nothing",
        "/containers/x/exec/y",
        "/Containers",
        "/api/v2/containers",
        "/api/v1",
        "/api/",
        "/docs/nothing",
        "/docs/../livez",
        "/livez/",
    ] {
        client.get(path).await.refused(404, "PodmanAPIError");
        client.anonymous().get(path).await.refused(404, "PodmanAPIError");
    }
    nothing_was_made(&story).await;
}

/// The same status and headers, and nothing behind them: else a client that asks again on the connection reads it there.
#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    client.write_file("/tmp/file", &[], "twelve bytes").await.ok();
    let anonymous = client.anonymous();
    for (client, path, status) in [
        (client, "/containers", 200),
        (client, "/containers/c/files/content?path=/tmp/file", 200),
        (client, "/containers/c/logs?follow=true", 200),
        (client, "/openapi.json", 200),
        (client, "/docs", 200),
        (client, "/containers/nothing", 404),
        (client, "/containers?limit=x", 400),
        (&anonymous, "/containers", 401),
        (&anonymous, "/health", 200),
    ] {
        let got = client.call("HEAD", path, None).await;
        assert_eq!((got.status, got.body.len()), (status, 0), "{path}");
        if path.contains("follow") {
            continue;
        }
        let whole = client.get(path).await;
        for name in ["content-type", "content-length", "etag", "www-authenticate", "cache-control"] {
            assert_eq!(got.header(name), whole.header(name), "{name} of {path}");
        }
    }
    for (path, allow) in [("/containers/c/terminal", "GET"), ("/auth/token", "POST")] {
        let got = client.call("HEAD", path, None).await;
        assert_eq!((got.status, got.header("allow")), (405, Some(allow)), "{path}");
    }
}

#[tokio::test]
async fn probes_take_get_only() {
    let story = Story::begin().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(story.client.anonymous().get(path).await.status, 200);
        for method in ["POST", "DELETE", "PUT"] {
            let answer = story.client.call(method, path, None).await;
            answer.refused(405, "ValidationError");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn queries_are_those_of_the_document() {
    let story = Story::begin().await;
    let client = &story.client;
    client.get("/containers?nope=1&also").await.blames(&["nope", "also"]);
    client.get("/containers/x/logs?tail=1&tail=2").await.blames(&["tail"]);
    client.get("/containers/x/logs?tail=1&t%61il=2").await.blames(&["tail"]);
    client.get("/containers/x/logs?Tail=1").await.blames(&["Tail"]);
    client.delete("/containers/x?force=true&v=1").await.blames(&["v"]);
    client.post("/containers?name=y", json!({"image": "alpine", "name": "x"})).await.blames(&["name"]);
    client.get("/health?x=1").await.blames(&["x"]);
    client.get("/metrics?token=x").await.blames(&["token"]);
    // Bad syntax is the same for everybody: it comes before the question who owns what.
    for query in ["tail=x", "tail=10001", "since=x"] {
        client.get(&format!("/containers/never-existed/logs?{query}")).await.refused(400, "ValidationError");
    }
    client.delete("/containers/never-existed?force=maybe").await.blames(&["force"]);
    client.post("/containers/never-existed/exec", json!({"command": 1})).await.blames(&["command"]);
    nothing_was_made(&story).await;
}

/// What cannot be decoded is refused: U+FFFD in its place is another file's name.
#[tokio::test]
async fn a_query_that_is_no_utf8_means_nothing_else() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let precious = json!({"dest_path": "/tmp/v\u{fffd}", "content": "precious"});
    client.post("/containers/c/files", precious).await.ok();
    client.delete("/containers/c/files?path=/tmp/v%ff").await.blames(&["path"]);
    client.put("/containers/c/files/content?path=/tmp/v%FF", "application/octet-stream", "x").await.blames(&["path"]);
    for path in ["/tmp/v%zz", "/tmp/v%", "/tmp/v%f"] {
        client.get(&format!("/containers/c/files/content?path={path}")).await.blames(&["path"]);
    }
    client.get("/containers?%ff=1").await.blames(&["%ff"]);
    let kept = client.get("/containers/c/files/content?path=/tmp/v%EF%BF%BD").await;
    assert_eq!((kept.status, kept.text().as_str()), (200, "precious"));
    let refused = client.get("/containers/%ff").await.refused(400, "ValidationError");
    assert!(refused["message"].as_str().unwrap().contains("UTF-8"), "{refused}");
    let form = client.request("POST", "/auth/token").header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(whole("grant_type=password&username=a/b&password=%ff")).unwrap();
    let refused = client.send(form).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn everything_wrong_is_told_at_once() {
    let story = Story::begin().await;
    let client = &story.client;
    for (path, blamed) in [
        ("/containers/x/files", &["path"][..]),
        ("/containers/x/files/content?mode=9&owner=bob", &["mode", "owner"]),
        ("/containers/x/files/content?x=1&range=", &["path", "x", "range"]),
        ("/containers/x/files?path=rel&limit=0", &["path", "limit"]),
        ("/containers/x/logs?tail=-1&since=x&follow=maybe&timestamps=2", &["tail", "since", "follow", "timestamps"]),
        ("/containers?limit=1001&status=fine", &["limit", "status"]),
    ] {
        if blamed[0] != "mode" {
            client.get(path).await.blames(blamed);
        } else {
            client.put(path, "application/octet-stream", "x").await.blames(&["path", "mode", "owner"]);
            let path = format!("{path}&path=rel");
            client.put(&path, "application/octet-stream", "x").await.blames(&["path", "mode", "owner"]);
        }
    }
    let missing = client.get("/containers/x/files").await.refused(400, "ValidationError");
    assert_eq!(missing["details"][0]["message"], "is missing");
    let tail = client.get("/containers/x/logs?tail=-1").await.refused(400, "ValidationError");
    assert_eq!(tail["details"][0]["message"], "must be a whole number from 0 to 10000");
    let since = client.get("/containers/x/logs?since=2025-01-01").await.refused(400, "ValidationError");
    assert!(since["details"][0]["message"].as_str().unwrap().contains("seconds since 1970"), "{since}");

    let body = json!({
        "name": "a b", "image": "??", "foo": 1, "command": [], "expires_in": -1, "profile": "", "entrypoint": [],
    });
    let blamed = ["name", "image", "foo", "command", "expires_in", "profile", "entrypoint"];
    client.post("/containers", body).await.blames(&blamed);
    // Not whether it is allowed, but that it can be none.
    for profile in ["", "a b", "/"] {
        client
            .post("/containers", json!({"image": "alpine", "name": "x", "profile": profile}))
            .await
            .blames(&["profile"]);
    }
    client
        .post("/containers", json!({"image": "alpine", "name": "x", "volumes": {"": "/x"}}))
        .await
        .blames(&["volumes."]);
    story.site.account(&story.tenant.login("auditor"), "admin");
    let auditor = story.gateway.client(&story.site.token(&story.tenant.login("auditor")));
    auditor.get("/audit?since=x&until=y&limit=0&outcome=z").await.blames(&["since", "until", "limit", "outcome"]);
    auditor.get("/audit?since=x&until=y&outcome=z").await.blames(&["since", "until", "outcome"]);
    nothing_was_made(&story).await;
}

/// Whoever stands before the gateway may go by the other one.
#[tokio::test]
async fn what_may_be_there_once_is_there_once() {
    let story = Story::begin().await;
    let Client { address, token } = &story.client;
    let token = token.as_ref().unwrap();
    for head in [
        "Host: a b",
        "Host: a/b",
        "Host: user@a",
        "Host: x\r\nHost: y",
        "Host: x\r\nRange: bytes=0-1\r\nRange: bytes=2-3",
        "Host: x\r\nContent-Type: application/json\r\nContent-Type: text/plain",
    ] {
        let request = format!(
            "GET /api/v1/containers HTTP/1.1\r\n{head}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let answer = crate::serve::talk(*address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
    }
    for host in ["x", "x:80", "[::1]:5000", "10.0.0.1", "a_b.example"] {
        let request = format!(
            "GET /api/v1/containers HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = crate::serve::talk(*address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
}

/// What request smuggling is made of.
#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let story = Story::begin().await;
    let Client { address, token } = &story.client;
    let token = token.as_ref().unwrap();
    let body = json!({"image": "alpine", "name": "x", "command": "sleep 300"}).to_string();
    let mut explained = 0;
    let (length, chunk) = (body.len(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    for (framing, body) in [
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &chunk),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), &chunk),
        (format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), &body),
        (format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), &body),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), &chunk),
        (format!("Content-Length: +{length}\r\n"), &body),
        (format!("Content-Length: {length}\n"), &body),
    ] {
        let request = format!(
            "POST /api/v1/containers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nConnection: close\r\n{framing}\r\n{body}"
        );
        let answer = crate::serve::talk(*address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{framing}: {answer}");
        // What hyper itself refuses has no body.
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        if let Ok(body) = serde_json::from_str::<serde_json::Value>(body) {
            assert_eq!(keys(&body), ["error", "request_id", "success", "timestamp"].into(), "{body}");
            assert_eq!(body["error"]["code"], 400, "{body}");
            assert!(head.contains(&format!("x-request-id: {}", body["request_id"].as_str().unwrap())), "{head}");
            explained += 1;
        }
    }
    assert!(explained >= 4, "{explained}");
    nothing_was_made(&story).await;
}
