//! What reaches the endpoint, and what is refused before.

use http_body_util::Empty;
use hyper::{Version, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

#[tokio::test]
async fn the_endpoint_learns_who_asks() {
    let server = Server::plain(limits()).await;
    let mut socket = server.sent("GET /who HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let me = socket.local_addr().unwrap();
    response(&mut socket, &format!("socket://{me} HTTP/1.1")).await;
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let server = Server::plain(limits()).await;
    for (lines, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ("Content-Length: 5, 5\r\n", "hello"),
        ("Content-Length : 5\r\n", "hello"),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", ""),
        ("Host: y\r\n", ""),
    ] {
        let smuggled = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = server.ask(&format!("POST /echo HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}{smuggled}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?} gave {answer:?}");
        assert!(!answer.contains("hello"), "{lines:?} gave {answer:?}");
    }
}

#[tokio::test]
async fn ambiguous_framing_is_seen_on_a_connection_kept_alive() {
    let server = Server::plain(limits()).await;
    let mut socket = server.connect().await;
    // The body looks like a head; it is none of our business.
    let body = "\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n.";
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for _ in 0..3 {
        socket.write_all(chunked.as_bytes()).await.unwrap();
        let answer = response(&mut socket, body).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    socket.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n.").await.unwrap();
    assert!(rest(&mut socket).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn pipelined_ambiguity_is_read_safely_and_ends_the_connection() {
    let server = Server::plain(limits()).await;
    let doubtful =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = server.ask(&format!("{HELLO}{doubtful}{HELLO}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
}

#[tokio::test]
async fn large_heads_are_refused() {
    let server = Server::plain(limits()).await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(17_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(50));
    for head in [long, many] {
        let answer = server.ask(&head).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_body_was_not_read() {
    let server = Server::plain(limits()).await;
    let mut socket = server.sent("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n").await;
    let _ = socket.write_all(&vec![b'x'; 20_000_000]).await;
    assert!(rest(&mut socket).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn http2_has_the_same_limits() {
    let server = Server::plain(Limits { idle: Duration::from_millis(600), ..limits() }).await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = async |headers: usize| {
        let mut request = hyper::Request::get("http://x/hello").version(Version::HTTP_2);
        for _ in 0..headers {
            request = request.header("a", "b");
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap().status().as_u16()
    };
    assert_eq!([ask(10).await, ask(51).await, ask(10).await], [200, 431, 200]);
    let idle = Instant::now();
    timeout(Duration::from_secs(4), connection).await.unwrap().unwrap().unwrap();
    took(idle, 590);
}

/// Whether the second of two requests is ambiguous, the first having a body of "hello\n" that was read or not.
fn second(head: &[u8], is_read: bool) -> bool {
    let activity = super::super::activity::Activity::new(&limits());
    activity.received(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n");
    let (running, ambiguous) = activity.begin(false, true);
    assert!(!ambiguous);
    if is_read {
        activity.received(b"hello\n");
        activity.body_ended();
    }
    drop(running);
    if !is_read {
        activity.received(b"hello\n");
    }
    activity.received(head);
    activity.begin(false, false).1
}

#[test]
fn the_rest_of_a_body_is_no_head() {
    let (good, bad) = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"GET / HTTP/1.1\nHost: x\r\n\r\n".as_slice());
    assert!(!second(good, false));
    assert!(!second(good, true));
    assert!(second(bad, true));
}
