//! Real sockets on loopback, with deadlines short enough for a test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deadlines;
mod drain;
mod requests;
mod tls;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use poem::{Endpoint, Request, Response, Result, http::StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::{bind, limits::Limits, serve};
use crate::config::Listen;
use crate::domain::World;
use crate::metrics::Connections;

const WORLD: World = World { now: || time::OffsetDateTime::UNIX_EPOCH, new_id: || "an-id".into() };
const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

struct App;

impl Endpoint for App {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let ask = request.uri().path().trim_start_matches('/').to_owned();
        Ok(match ask.split_once('/') {
            Some(("sleep", millis)) => {
                tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
                Response::from("slept")
            }
            Some(("send", bytes)) => Response::from(vec![b'x'; bytes.parse().unwrap()]),
            _ if ask == "who" => Response::from(format!("{} {:?}", request.remote_addr(), request.version())),
            _ if ask == "early" => StatusCode::PAYLOAD_TOO_LARGE.into(),
            _ if ask == "echo" => Response::from(request.into_body().into_vec().await.unwrap()),
            _ if ask == "panic" => panic!("wanted by a test"),
            _ if ask == "upgrade" => {
                let upgrade = request.take_upgrade()?;
                tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(upgrade.await.unwrap());
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
                Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "upgrade")
                    .header("upgrade", "echo")
                    .finish()
            }
            _ => Response::from("hello"),
        })
    }
}

fn limits() -> Limits {
    Limits {
        handshake: Duration::from_secs(5),
        header: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        drain: Duration::from_secs(3),
        max_header_bytes: 16 << 10,
        max_headers: 50,
        max_connections: 100,
        max_connections_per_address: 100,
        max_streams: 50,
    }
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<usize>,
}

impl Server {
    async fn plain(limits: Limits) -> Self {
        Self::start(&[loopback()], limits).await
    }

    async fn start(listen: &[Listen], limits: Limits) -> Self {
        let bound = bind(listen).await.unwrap();
        Self::run(bound, limits)
    }

    fn run(bound: Vec<super::Bound>, limits: Limits) -> Self {
        let address = bound[0].local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(serve(bound, App, limits, WORLD, Connections::default(), async {
            let _ = stopped.await;
        }));
        Self { address, stop, done }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which something was sent.
    async fn sent(&self, text: &str) -> TcpStream {
        let mut socket = self.connect().await;
        socket.write_all(text.as_bytes()).await.unwrap();
        socket
    }

    /// What comes back until the server closes.
    async fn ask(&self, text: &str) -> String {
        rest(&mut self.sent(text).await).await
    }
}

fn loopback() -> Listen {
    Listen { address: ([127, 0, 0, 1], 0).into(), tls: None, plain_http_beyond_loopback: false }
}

/// Reads until the other side closes; fails the test when it does not in 4 seconds.
async fn rest(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let end = timeout(Duration::from_secs(4), socket.read_to_end(&mut read)).await;
    let _ = end.expect("the server should have closed");
    String::from_utf8_lossy(&read).into_owned()
}

/// Reads one response whose body ends in `end`.
async fn response(socket: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut read = String::new();
    let mut space = [0; 1024];
    while !read.ends_with(end) {
        let count = timeout(Duration::from_secs(4), socket.read(&mut space)).await;
        let count = count.expect("a response in time").unwrap();
        assert_ne!(count, 0, "closed after {read:?}");
        read.push_str(&String::from_utf8_lossy(&space[..count]));
    }
    read
}

/// Asserts that something took about this many milliseconds; generous upwards, for machines that are busy.
fn took(since: Instant, millis: u64) {
    let taken = since.elapsed();
    let wanted = Duration::from_millis(millis);
    assert!(taken >= wanted && taken < wanted + Duration::from_millis(700), "took {taken:?}, not {wanted:?}");
}
