//! WebSockets as operations: the handshake (RFC 6455, 4.2), and the switch of protocols.
//!
//! An operation takes an [`Upgrade`] and answers with a [`Switching`]; `streams` says how the rest goes. The document
//! knows such an operation by its answer 101: it takes a ticket in place of a token, and only handshakes reach it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem::http::{HeaderValue, StatusCode, Version, header, uri::Scheme};
use poem::{FromRequest, IntoResponse, OnUpgrade, Request, RequestBody, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::error::invalid_parameter;
use crate::domain::{Error, Kind, Result};
use crate::streams::Open;
use crate::streams::socket::{self, Close, Socket};

/// The only version there is.
pub(super) const VERSION: &str = "13";

/// Where a ticket stands.
pub const TICKET: &str = "ticket";

/// The ticket that a request shows.
pub fn ticket(request: &Request) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == TICKET).map(|(_, ticket)| ticket.into_owned())
}

/// Whether the request asks for the switch at all.
pub fn is_upgrade(request: &Request) -> bool {
    has_token(request, "upgrade", "websocket")
}

/// Whether the request is a whole handshake. The same for everybody.
pub fn check_handshake(request: &Request) -> Result<()> {
    let needed =
        || Error::new(Kind::UpgradeNeeded, "this is a WebSocket: it needs a handshake of RFC 6455, on HTTP/1.1");
    if request.version() != Version::HTTP_11 || !is_upgrade(request) || !has_token(request, "connection", "upgrade") {
        return Err(needed());
    }
    if request.header("sec-websocket-version") != Some(VERSION) {
        return Err(needed());
    }
    let key = request.header("sec-websocket-key").and_then(|key| STANDARD.decode(key).ok());
    match key {
        Some(key) if key.len() == 16 => Ok(()),
        _ => Err(invalid_parameter("Sec-WebSocket-Key", "must be 16 bytes in base64")),
    }
}

/// Whether a page may open it: browsers say where a page came from, and no rule of theirs keeps a foreign page from
/// trying (SECURITY rule 32). Who says nothing is no browser.
pub fn check_origin(request: &Request, allowed: &[String]) -> Result<()> {
    let origins: Vec<_> = request.headers().get_all(header::ORIGIN).iter().collect();
    let fine = match origins[..] {
        [] => true,
        [origin] => origin.to_str().is_ok_and(|origin| {
            let ours = request.header(header::HOST).unwrap_or_default();
            allowed.iter().any(|one| one == origin) || is_own(origin, ours, request.scheme())
        }),
        _ => false,
    };
    if fine { Ok(()) } else { Err(Error::new(Kind::Forbidden, "pages of this origin may not open WebSockets here")) }
}

/// Whether a page of this origin came from the host that it now asks. Behind a proxy that speaks TLS we do not.
fn is_own(origin: &str, host: &str, scheme: &Scheme) -> bool {
    let Some((page, from)) = origin.split_once("://") else { return false };
    let port = match page {
        "https" => ":443",
        "http" if *scheme == Scheme::HTTP => ":80",
        _ => return false,
    };
    let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    !host.is_empty() && bare(from) == bare(host)
}

fn has_token(request: &Request, header: &str, token: &str) -> bool {
    let values = request.headers().get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// A handshake that passed the layers. Taking one makes an operation a WebSocket.
pub struct Upgrade {
    accept: String,
    upgraded: OnUpgrade,
}

impl<'a> FromRequest<'a> for Upgrade {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let key = request.header("sec-websocket-key").ok_or_else(|| Error::internal("a handshake without a key"))?;
        Ok(Self { accept: derive_accept_key(key.as_bytes()), upgraded: request.take_upgrade()? })
    }
}

impl Upgrade {
    /// Switches, and lets `handler` talk until it returns or `open` ends.
    pub fn serve<Handler>(self, open: Open, handler: impl FnOnce(Socket) -> Handler + Send + 'static) -> Switching
    where
        Handler: Future<Output = Close> + Send,
    {
        let Self { accept, upgraded } = self;
        tokio::spawn(async move {
            match upgraded.await {
                Ok(io) => {
                    let close = socket::serve(io, open.ended(), handler).await;
                    tracing::debug!(?close, "a WebSocket closed");
                }
                Err(error) => tracing::debug!(%error, "a client left before the protocol was switched"),
            }
            drop(open);
        });
        Switching { accept }
    }
}

/// The protocol is switched.
pub struct Switching {
    accept: String,
}

impl ApiResponse for Switching {
    fn meta() -> MetaResponses {
        let switched = MetaResponse {
            description: "The protocol is switched to WebSocket (RFC 6455).",
            status: Some(101),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![switched] }
    }

    fn register(_: &mut Registry) {}
}

impl IntoResponse for Switching {
    fn into_response(self) -> Response {
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, HeaderValue::from_static("upgrade"))
            .header(header::UPGRADE, HeaderValue::from_static("websocket"));
        response.header(header::SEC_WEBSOCKET_ACCEPT, self.accept).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_our_own_if_it_came_from_where_it_asks() {
        let own =
            |origin: &str, host: &str| (is_own(origin, host, &Scheme::HTTP), is_own(origin, host, &Scheme::HTTPS));
        assert_eq!(own("https://gw.example", "gw.example"), (true, true));
        assert_eq!(own("https://gw.example", "GW.example:443"), (true, true));
        assert_eq!(own("https://gw.example:8443", "gw.example:8443"), (true, true));
        assert_eq!(own("http://127.0.0.1:5000", "127.0.0.1:5000"), (true, false), "never from plain to TLS");
        for (origin, host) in [
            ("https://gw.example:8443", "gw.example"),
            ("https://gw.example.evil.example", "gw.example"),
            ("https://evil.example", "gw.example"),
            ("null", "gw.example"),
            ("file://", ""),
            ("https://", ""),
            ("wss://gw.example", "gw.example"),
        ] {
            assert_eq!(own(origin, host), (false, false), "{origin} {host}");
        }
    }
}
