//! How many connections there may be, and how they end.

use super::*;

#[tokio::test]
async fn one_address_has_its_share_and_no_more() {
    let server = Server::plain(Limits { max_connections_per_address: 2, ..limits() }).await;
    let mut kept = [server.sent(HELLO).await, server.sent(HELLO).await];
    for socket in &mut kept {
        response(socket, "hello").await;
    }
    assert_eq!(rest(&mut server.connect().await).await, "");
    drop(kept);
    tokio::time::sleep(Duration::from_millis(100)).await;
    response(&mut server.sent(HELLO).await, "hello").await;
}

#[tokio::test]
async fn beyond_the_cap_a_connection_waits() {
    let server = Server::plain(Limits { max_connections: 1, ..limits() }).await;
    let mut first = server.sent(HELLO).await;
    response(&mut first, "hello").await;
    let mut second = server.sent(HELLO).await;
    let early = timeout(Duration::from_millis(200), response(&mut second, "hello")).await;
    assert!(early.is_err(), "it was served beyond the cap");
    drop(first);
    response(&mut second, "hello").await;
}

#[tokio::test]
async fn shutdown_closes_what_is_idle_and_finishes_what_runs() {
    let server = Server::plain(limits()).await;
    let mut idle = server.sent(HELLO).await;
    response(&mut idle, "hello").await;
    let mut silent = server.connect().await;
    let mut running = server.sent("GET /sleep/700 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut silent).await, "");
    took(begun, 0);
    assert!(TcpStream::connect(server.address).await.is_err(), "it still accepts");
    let answer = rest(&mut running).await;
    assert!(answer.ends_with("slept") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.done.await.unwrap(), 0);
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_and_counted() {
    let server = Server::plain(Limits { drain: Duration::from_millis(300), ..limits() }).await;
    let mut running = server.sent("GET /sleep/9000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut upgraded =
        server.sent("GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    response(&mut upgraded, "\r\n\r\n").await;
    upgraded.write_all(b"ping").await.unwrap();
    response(&mut upgraded, "ping").await;

    let begun = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(server.done.await.unwrap(), 2);
    took(begun, 300);
    assert_eq!(rest(&mut running).await + &rest(&mut upgraded).await, "");
}

#[tokio::test]
async fn a_panic_stays_in_its_connection() {
    let server = Server::plain(limits()).await;
    let mut other = server.sent(HELLO).await;
    response(&mut other, "hello").await;
    assert_eq!(server.ask("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await, "");
    other.write_all(HELLO.as_bytes()).await.unwrap();
    response(&mut other, "hello").await;
    drop(other);
    server.stop.send(()).unwrap();
    assert_eq!(server.done.await.unwrap(), 0, "its slot was given back");
}

#[test]
fn pauses_grow_while_accepting_fails_and_start_over() {
    let mut backoff = super::super::accept::Backoff::default();
    let full = std::io::Error::from_raw_os_error(24);
    let pauses: Vec<_> = (0..7).map(|_| backoff.pause(&full).as_millis()).collect();
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    backoff.over();
    assert_eq!(backoff.pause(&full).as_millis(), 50);
}
