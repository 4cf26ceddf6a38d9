//! A client that is slow, silent or gone holds nothing for long.

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
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(rest(&mut socket).await.len() < 50_000_000, "it was cut short");
}
