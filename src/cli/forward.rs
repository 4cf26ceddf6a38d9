//! `podgate forward`: ports of this machine that lead into a container.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use url::{Position, Url};

use super::{Failure, print, told_to_end};
use crate::api::PREFIX;
use crate::domain::{Error, Kind, Result};
use crate::outgoing::Dialer;

const TOKENS: &str =
    "A token from a sign-in is good for fifteen minutes of new connections, an API key for as long as it lives.";

/// Where a development gateway listens.
const HERE: &str = "http://127.0.0.1:5000";

/// Before the next attempt, where a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes carried at once, and longest refusal that is read.
const PIECE: usize = 32 * 1024;

#[derive(clap::Args)]
#[command(after_help = TOKENS)]
pub(super) struct Forward {
    /// The container, by name or id.
    #[arg(value_parser = segment)]
    container: String,
    /// A port of this machine's loopback and one inside; 0 takes a port that is free. Repeatable.
    #[arg(required = true, value_name = "LOCAL:PORT", value_parser = pair)]
    ports: Vec<(u16, u16)>,
    /// The gateway, with or without /api/v1. Without this: what PODGATE_URL says, else http://127.0.0.1:5000.
    #[arg(long)]
    url: Option<Url>,
    /// File that holds a token or an API key. Without: what PODGATE_TOKEN says.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with certificates of authorities to trust beside the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What goes into a path as it is.
fn segment(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fine { Ok(text.to_owned()) } else { Err("is no container's name".into()) }
}

fn pair(text: &str) -> Result<(u16, u16), String> {
    let (local, port) = text.split_once(':').ok_or("must be LOCAL:PORT, such as 8080:80")?;
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    match (number(local)?, number(port)?) {
        (_, 0) => Err("nothing listens on port 0".into()),
        ports => Ok(ports),
    }
}

pub(super) async fn run(forward: Forward) -> Result<(), Failure> {
    let Forward { container, ports, url, token_file, ca_file } = forward;
    let gateway = Arc::new(Gateway::new(url, token_file, ca_file)?);
    // Whatever is wrong with the token or the name is said now, and not to the first browser that comes.
    gateway.check(&container).await?;
    let mut listeners = JoinSet::new();
    for (local, port) in ports {
        let unusable = |error: std::io::Error| Error::new(Kind::Conflict, format!("127.0.0.1:{local}: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        print(&format!("{address} leads to port {port} of {container}\n"))?;
        let (gateway, path) = (Arc::clone(&gateway), format!("containers/{container}/ports/{port}"));
        listeners.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((local, _)) => {
                            let (gateway, path) = (Arc::clone(&gateway), path.clone());
                            open.spawn(async move {
                                if let Err(why) = gateway.carry(local, &path).await {
                                    eprintln!("podgate: {why}");
                                }
                            });
                        }
                        Err(error) => {
                            eprintln!("podgate: {address}: {error}");
                            // Out of files, most likely, until a connection ends.
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    },
                    Some(_) = open.join_next() => {}
                }
            }
        });
    }
    told_to_end().await;
    Ok(())
}

/// The gateway, as whoever has this token.
struct Gateway {
    url: Url,
    token: String,
    dialer: Dialer,
}

impl Gateway {
    fn new(url: Option<Url>, token_file: Option<PathBuf>, ca_file: Option<PathBuf>) -> Result<Self, Failure> {
        let wrong = |message: String| Failure::Other(Error::invalid(message));
        let from_variable = || std::env::var("PODGATE_URL").unwrap_or_else(|_| HERE.into());
        let url = match url {
            Some(url) => url,
            None => from_variable().parse().map_err(|error| wrong(format!("PODGATE_URL: {error}")))?,
        };
        let mut url = url;
        // The API's own address is the one that people have at hand.
        if let Some(base) = url.path().trim_end_matches('/').strip_suffix(PREFIX).map(str::to_owned) {
            url.set_path(&base);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("{url} is neither http nor https")));
        }
        let token = match token_file {
            Some(file) => {
                std::fs::read_to_string(&file).map_err(|error| wrong(format!("{}: {error}", file.display())))?
            }
            None => std::env::var("PODGATE_TOKEN")
                .map_err(|_| wrong("neither --token-file nor PODGATE_TOKEN names a token".into()))?,
        };
        let authorities = match ca_file {
            Some(file) => CertificateDer::pem_file_iter(&file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| wrong(format!("{}: {error}", file.display())))?,
            None => Vec::new(),
        };
        Ok(Self { url, token: token.trim().to_owned(), dialer: Dialer::new(&authorities)? })
    }

    /// Whether the container is there for this token, as far as that may look.
    async fn check(&self, container: &str) -> Result<(), Failure> {
        let got = self.send(&format!("containers/{container}"), None).await.map_err(Failure::Told)?;
        // A key that is for commands only opens tunnels all the same.
        let is_fine = got.status().is_success() || got.status() == StatusCode::FORBIDDEN;
        if is_fine { Ok(()) } else { Err(Failure::Told(refusal(got).await)) }
    }

    /// Carries one connection to its end.
    async fn carry(&self, local: TcpStream, path: &str) -> Result<(), String> {
        let (mut to_container, mut from_container) = self.open(path).await?.split();
        let (mut from_local, mut to_local) = local.into_split();
        let inwards = async {
            let mut piece = vec![0; PIECE];
            loop {
                let read = from_local.read(&mut piece).await.unwrap_or_default();
                // An empty message ends this direction.
                if to_container.send(Message::Binary(Bytes::copy_from_slice(&piece[..read]))).await.is_err()
                    || read == 0
                {
                    return std::future::pending::<()>().await;
                }
            }
        };
        let outwards = async {
            while let Some(Ok(message)) = from_container.next().await {
                let Message::Binary(bytes) = message else { continue };
                if to_local.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = inwards => {}
            () = outwards => {}
        }
        Ok(())
    }

    /// Opens a WebSocket.
    async fn open(&self, path: &str) -> Result<WebSocketStream<TokioIo<Upgraded>>, String> {
        let key = generate_key();
        let response = self.send(path, Some(&key)).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
        let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(format!("{} does not speak WebSocket", self.url));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| error.to_string())?;
        Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
    }

    /// Asks for what is below `/api/v1/`; with a key, for a WebSocket.
    async fn send(&self, path: &str, websocket_key: Option<&str>) -> Result<Response<Incoming>, String> {
        let why = |error: String| format!("{}: {error}", self.url);
        let stream = self.dialer.dial(&self.url).await.map_err(why)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| why(error.to_string()))?;
        tokio::spawn(connection.with_upgrades());
        let base = self.url.path().trim_end_matches('/');
        let mut request = Request::get(format!("{base}{PREFIX}/{path}"))
            .header(header::HOST, &self.url[Position::BeforeHost..Position::AfterPort])
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if let Some(key) = websocket_key {
            request = request
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_VERSION, "13")
                .header(header::SEC_WEBSOCKET_KEY, key);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        sender.send_request(request).await.map_err(|error| why(error.to_string()))
    }
}

/// What the gateway says is wrong.
async fn refusal(response: Response<Incoming>) -> String {
    let status = response.status();
    let body =
        Limited::new(response.into_body(), PIECE).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    match said["error"]["message"].as_str() {
        Some(message) => format!("{status}: {message}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_pairs() {
        assert_eq!(pair("8080:80"), Ok((8080, 80)));
        assert_eq!(pair("0:1"), Ok((0, 1)));
        for wrong in ["80", "80:", ":80", "1:0", "1:65536", "x:1", "1:2:3", "-1:2"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_stay_in_their_segment() {
        assert_eq!(segment("web-1").as_deref(), Ok("web-1"));
        for wrong in ["", "a/b", "a?b", "%2e", "a b"] {
            assert!(segment(wrong).is_err(), "{wrong}");
        }
    }
}
