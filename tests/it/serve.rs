//! Connections: slow ones, encrypted ones, and the last ones.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::client::{exchange, whole};
use crate::support::gateway::program;
use crate::support::{Answer, Client, PATIENCE, Site, Story, eventually};

/// Sends bytes as they are and reads until the other side closes.
pub async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the gateway takes connections");
    // The other side may refuse, and close, before it has read all.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    // A reset is a close, too.
    let _ = reading.await.expect("the gateway closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_headers_end_the_connection() {
    let story = Story::at(Site::new().set("http.header_deadline_seconds", 1)).await;
    let begun = Instant::now();
    // Nothing at all, half a head, and one that drips.
    let silent = async { rest(&mut TcpStream::connect(story.client.address).await.unwrap()).await };
    let half = talk(story.client.address, b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nX-Half: ");
    let dripping = async {
        let mut stream = TcpStream::connect(story.client.address).await.unwrap();
        stream.write_all(b"GET /api/v1/health HTTP/1.1\r\n").await.unwrap();
        while begun.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if stream.write_all(b"X-Drip: 1\r\n").await.is_err() {
                break;
            }
        }
    };
    let (silent, half, ()) = tokio::join!(silent, half, dripping);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for answer in [silent, half] {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    story.client.get("/containers").await.ok();
}

#[tokio::test]
async fn slow_bodies_get_408() {
    let story = Story::at(Site::new().set("http.body_deadline_seconds", 1)).await;
    let head = format!(
        "POST /api/v1/containers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{{\"image\":",
        story.client.token.as_ref().unwrap()
    );
    let begun = Instant::now();
    let answer = talk(story.client.address, head.as_bytes()).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["error"]["code"], &body["error"]["type"]), (&json!(408), &json!("ValidationError")), "{body}");
    assert_eq!(story.client.listed().await, []);
}

#[tokio::test]
async fn heads_have_a_size() {
    let story = Story::begin().await;
    let many: String = (0..100).map(|at| format!("X-{at}: y\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let long = "x".repeat(20_000);
    let heads = [
        (format!("GET /api/v1/health HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431),
        (format!("GET /api/v1/health HTTP/1.1\r\nHost: x\r\n{large}\r\n"), 431),
        (format!("GET /api/v1/containers/{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431),
        (format!("GET /api/v1/containers/{} HTTP/1.1\r\nHost: x\r\n\r\n", long.repeat(4)), 431),
        ("GET /api/v1/health HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), 400),
        ("G\u{e4}T / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/3.7\r\nHost: x\r\n\r\n".to_owned(), 400),
    ];
    for (head, status) in heads {
        let answer = talk(story.client.address, head.as_bytes()).await;
        let shown = &head[..head.len().min(60)];
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{shown:?}: {answer}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{shown:?}: {answer}"));
        assert_eq!((&body["error"]["code"], &body["error"]["type"]), (&json!(status), &json!("ValidationError")));
        assert!(head.contains(&format!("x-request-id: {}", body["request_id"].as_str().unwrap())), "{answer}");
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let story = Story::at(Site::new().set("http.max_connections_per_address", 3)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(story.client.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(story.client.address).await.unwrap();
    let begun = Instant::now();
    let _ = refused.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let answer = rest(&mut refused).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(held);
    eventually("a free place", || async {
        let answer = talk(story.client.address, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_runs_may_finish() {
    let mut story = Story::begin().await;
    story.client.create_sleeping("c").await;
    let client = story.client.clone();
    let running = tokio::spawn(async move {
        client.post("/containers/c/exec", json!({"command": "touch /tmp/begun; sleep 8; echo finished"})).await
    });
    let client = &story.client;
    eventually("the exec to run", || async {
        let look = client.post("/containers/c/exec", json!({"command": "ls /tmp/begun"})).await;
        (look.ok()["execution"]["exit_code"] == 0).then_some(())
    })
    .await;
    story.gateway.terminate();
    eventually("new connections to be refused", || async {
        TcpStream::connect(story.client.address).await.is_err().then_some(())
    })
    .await;
    assert!(!running.is_finished(), "refused while the old one still runs");
    assert_eq!(running.await.unwrap().ok()["execution"]["output"], "finished\n");
    let status = story.gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", story.gateway.log());
}

#[tokio::test]
async fn what_never_finishes_is_cut() {
    let mut story = Story::at(Site::new().set("http.drain_seconds", 1)).await;
    story.client.create_sleeping("c").await;
    // An idle connection is no reason to wait, a request that runs is, for a while.
    let _idle = TcpStream::connect(story.client.address).await.unwrap();
    let mut busy = TcpStream::connect(story.client.address).await.unwrap();
    let token = story.client.token.as_ref().unwrap();
    let body = json!({"command": "sleep 20"}).to_string();
    let request = format!(
        "POST /api/v1/containers/c/exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    busy.write_all(request.as_bytes()).await.unwrap();
    let running = "the exec to run";
    eventually(running, || async {
        let look = story.client.exec("c", json!("ps | grep -c '[s]leep 20' || true")).await;
        (look.trim() != "0").then_some(())
    })
    .await;
    let begun = Instant::now();
    story.gateway.terminate();
    assert_eq!(story.gateway.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

/// A TLS connection that trusts nothing but this certificate.
pub async fn encrypted(address: SocketAddr, certificate: &std::path::Path, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

#[tokio::test]
async fn https_speaks_http_1_and_2() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let dir = site.dir.join("tls");
    site.run(&["dev-certificate", dir.to_str().unwrap()], "").succeeded();
    let key_mode = std::fs::metadata(dir.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(key_mode & 0o777, 0o600);
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let listen = format!(
        "[{{address=\"127.0.0.1:0\"}}, {{address=\"127.0.0.1:0\", tls={{cert_file={cert:?}, key_file={key:?}}}}}]"
    );
    let story = Story::at(site.listen(2, &listen)).await;
    let address = story.gateway.addresses[1];
    let request = || story.client.request("GET", "/containers").body(whole("")).unwrap();

    exchange(encrypted(address, &cert, b"http/1.1").await, request()).await.ok();

    let stream = encrypted(address, &cert, b"h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let mut request = request();
        let uri = format!("https://localhost{}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        request.headers_mut().remove("host");
        Answer::read(sender.send_request(request).await.unwrap()).await.ok();
    }
    // Plain HTTP on the encrypted port gets nothing, and the plain port still works.
    let answer = talk(address, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    story.client.get("/containers").await.ok();
}

#[test]
fn plain_http_beyond_loopback_must_be_said() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let site = Site::new().set("listen", format!("[{{address=\"{address}\"}}]"));
        let refused = site.run(&["serve"], "");
        assert_eq!(refused.code, 64, "{address}: {}", refused.stderr);
        assert!(refused.stderr.contains("listen[0]") && refused.stderr.contains("plain_http_beyond_loopback"));
        assert!(!refused.stderr.contains("listening on"));
    }
    let said = Site::new().set("listen", "[{address=\"0.0.0.0:0\", plain_http_beyond_loopback=true}]");
    said.run(&["check-config"], "").succeeded();
}

#[test]
fn a_broken_certificate_is_told_at_start() {
    let site = Site::new();
    let dir = site.dir.join("tls");
    site.run(&["dev-certificate", dir.to_str().unwrap()], "").succeeded();
    std::fs::write(dir.join("key.pem"), "no key").unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let listen = format!("[{{address=\"127.0.0.1:0\", tls={{cert_file={cert:?}, key_file={key:?}}}}}]");
    let refused = site.set("listen", listen).run(&["serve"], "");
    assert!(refused.code != 0 && refused.stderr.contains("key.pem"), "{}", refused.stderr);
    // The program says what it is without any configuration.
    assert!(program().arg("--version").output().unwrap().status.success());
}

/// Headers that operations of the document take.
async fn in_headers(client: &Client) -> BTreeSet<String> {
    let document = client.get("/openapi.json").await.json();
    let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let parameters = items.filter_map(|operation| operation["parameters"].as_array()).flatten();
    let in_header = parameters.filter(|parameter| parameter["in"] == "header");
    in_header.map(|parameter| parameter["name"].as_str().unwrap().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn browsers_are_told_whose_pages_may_call() {
    let story = Story::at(Site::new().set("http.cors_origins", r#"["https://app.example.org"]"#)).await;
    let nobody = story.client.anonymous();
    let send = async |method: &str, origin: &str, preflight: bool| {
        let mut request = nobody.request(method, "/containers").header("origin", origin);
        if preflight {
            request = request.header("access-control-request-method", "POST");
        }
        nobody.send(request.body(whole("")).unwrap()).await
    };
    let allowed = send("OPTIONS", "https://app.example.org", true).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example.org"));
    let names = |answer: &Answer, header: &str| -> Vec<String> {
        answer.header(header).unwrap().split(", ").map(str::to_ascii_lowercase).collect()
    };
    // Whatever the document takes in a header, and what signs in.
    let takes = names(&allowed, "access-control-allow-headers");
    for header in in_headers(&story.client).await.iter().chain(&["authorization".to_owned(), "x-api-key".to_owned()]) {
        assert!(takes.contains(header), "{header}: {takes:?}");
    }
    assert_eq!(allowed.header("access-control-allow-credentials"), None, "there are no cookies");
    let refused = send("GET", "https://app.example.org", false).await;
    refused.refused(401, "AuthenticationError");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example.org"), "failures can be read");
    let shown = names(&refused, "access-control-expose-headers");
    for header in ["etag", "content-range", "content-disposition", "accept-ranges", "last-modified", "retry-after"] {
        assert!(shown.contains(&header.to_owned()), "{header}: {shown:?}");
    }
    for stranger in
        ["https://app.example.org.evil.example", "http://app.example.org", "null", "https://APP.example.org"]
    {
        for (method, preflight) in [("OPTIONS", true), ("GET", false)] {
            let answer = send(method, stranger, preflight).await;
            if preflight {
                let error = answer.refused(403, "PermissionError");
                assert!(error["message"].as_str().unwrap().contains("http.cors_origins"), "{error}");
            }
            assert_eq!(answer.header("access-control-allow-origin"), None, "{stranger}");
        }
    }
}
