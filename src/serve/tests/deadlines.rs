//! A client that is slow, silent or gone holds nothing for long.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// A server on which a head has 200 ms and idleness 600.
async fn impatient() -> Server {
    Server::plain(Limits { header: Duration::from_millis(200), idle: Duration::from_millis(600), ..limits() }).await
}

#[tokio::test]
async fn a_new_connection_brings_a_head_in_time() {
    let server = impatient().await;
    // All but the last are what hyper waits for without a timer.
    let (half, preface) = ("GET / HTTP/1.1\r\nHost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let begun = Instant::now();
    let ask = |sent| server.ask(sent);
    tokio::join!(ask(""), ask("G"), ask("PRI"), ask(preface), ask(half));
    took(begun, 200);
}

#[tokio::test]
async fn dripping_does_not_help() {
    let server = impatient().await;
    for (first, drip) in [("GET / HTTP/1.1\r\n", "A: b\r\n"), ("", "\r\n")] {
        let begun = Instant::now();
        let mut socket = server.sent(first).await;
        while socket.write_all(drip.as_bytes()).await.is_ok() && begun.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        took(begun, 200);
    }
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_a_head_may_take() {
    let server = impatient().await;
    let mut socket = server.sent(HELLO).await;
    response(&mut socket, "hello").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    socket.write_all(HELLO.as_bytes()).await.unwrap();
    response(&mut socket, "hello").await;
    let idle = Instant::now();
    assert_eq!(rest(&mut socket).await, "");
    took(idle, 600);
}

#[tokio::test]
async fn the_next_head_has_its_own_deadline() {
    let server = impatient().await;
    let mut socket = server.sent(HELLO).await;
    response(&mut socket, "hello").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    socket.write_all(b"GET").await.unwrap();
    let begun = Instant::now();
    assert_eq!(rest(&mut socket).await, "");
    took(begun, 190);
}

#[tokio::test]
async fn a_running_request_is_not_idle() {
    let server = impatient().await;
    let answer = server.ask("GET /sleep/900 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("slept"), "{answer}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped() {
    let server = impatient().await;
    let mut socket = server.sent("GET /send/50000000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(rest(&mut socket).await.len() < 50_000_000, "it was cut short");
}

/// However much of it waits in the system: what counts is that it is taken, steadily.
#[tokio::test]
async fn a_slow_reader_is_not_one_that_reads_nothing() {
    let server = Server::plain(Limits { idle: Duration::from_secs(2), ..limits() }).await;
    let client = tokio::net::TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(16 << 10).unwrap();
    let mut socket = client.connect(server.address).await.unwrap();
    socket.write_all(b"GET /send/50000000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let (begun, mut taken, mut piece) = (Instant::now(), 0, vec![0; 10 << 10]);
    while begun.elapsed() < Duration::from_secs(10) {
        let read = socket.read(&mut piece).await.expect("it was not cut");
        assert!(read > 0, "it was closed after {taken} bytes");
        taken += read;
        tokio::time::sleep(Duration::from_millis(read as u64 / 200)).await;
    }
}

/// A system that holds megabytes for its reader asks for more when half of them are read.
#[tokio::test]
async fn who_took_much_is_waited_for_longer() {
    let server = Server::plain(Limits { idle: Duration::from_secs(1), ..limits() }).await;
    let mut socket = server.sent("GET /send/50000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let mut much = vec![0; 4 << 20];
    socket.read_exact(&mut much).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let all = much.len() + tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.unwrap() as usize;
    assert!(all > 50_000_000, "{all}");
}

/// One request over HTTP/2 for that many bytes, by a client whose streams have a window of so many.
async fn over_http2(server: &Server, bytes: usize, window: u32) -> Http2 {
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window);
    let (mut sender, connection) = client.handshake(TokioIo::new(server.connect().await)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://x/send/{bytes}")).body(Empty::<Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body();
    Http2 { body, connection, _open: sender }
}

struct Http2 {
    body: hyper::body::Incoming,
    connection: JoinHandle<hyper::Result<()>>,
    /// Without it the client closes.
    _open: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
}

/// Its socket is not blocked, and it answers our PINGs.
#[tokio::test]
async fn a_stream_without_a_window_holds_nothing_for_long() {
    let server = impatient().await;
    let begun = Instant::now();
    let http2 = over_http2(&server, 10, 0).await;
    let _ = timeout(Duration::from_secs(4), http2.connection).await.expect("the server should have closed");
    took(begun, 590);
}

#[tokio::test]
async fn a_slow_reader_on_http2_gets_all() {
    let server = impatient().await;
    let mut http2 = over_http2(&server, 300_000, 65_535).await;
    let (mut taken, begun) = (0, Instant::now());
    while let Some(frame) = http2.body.frame().await {
        let data = frame.expect("it was not cut").into_data().unwrap();
        taken += data.len();
        // As long as the window is not given back, nothing more comes.
        tokio::time::sleep(Duration::from_millis(data.len() as u64 / 200)).await;
    }
    assert_eq!(taken, 300_000);
    assert!(begun.elapsed() > Duration::from_millis(1200), "slower than the idle time allows all of it");
}
