//! Requests that never reach the endpoint: answered in the envelope of the API all the same.

use std::net::IpAddr;

use hyper::{HeaderMap, StatusCode, Version, body::Bytes, header};

use crate::domain::{World, timestamp};

/// Why a request never reaches the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Several `Content-Length`s, or one beside `Transfer-Encoding`, or a coding other than `chunked` alone, or a line
    /// that ends without a carriage return.
    Framing,
    /// HTTP/1.1 wants exactly one `Host` (RFC 9112, 3.2).
    Host,
    /// hyper enforces the count on HTTP/1 only.
    Headers,
    /// hyper could not read the head.
    Unreadable(StatusCode),
}

impl Refusal {
    /// Of a head that was read.
    pub fn of(version: Version, headers: &HeaderMap, max_headers: usize) -> Option<Self> {
        let count = |name| headers.get_all(name).iter().count();
        if headers.len() > max_headers {
            Some(Self::Headers)
        } else if count(header::TRANSFER_ENCODING) > 1
            || headers
                .get(header::TRANSFER_ENCODING)
                .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        {
            // hyper takes whatever ends in `chunked` and would hand over the rest still coded.
            Some(Self::Framing)
        } else if version == Version::HTTP_11 && count(header::HOST) != 1 {
            Some(Self::Host)
        } else {
            None
        }
    }

    /// The connection closes afterwards, because nobody can tell where the next request begins.
    pub fn response(self, peer: IpAddr, world: World) -> poem::Response {
        let (status, id, body) = self.told(peer, world);
        poem::Response::builder()
            .status(status)
            .header(header::CONNECTION, "close")
            .header("x-request-id", id)
            .content_type("application/json")
            .body(body)
    }

    fn told(self, peer: IpAddr, world: World) -> (StatusCode, String, String) {
        let (status, message) = match self {
            Self::Framing => (StatusCode::BAD_REQUEST, "the request's framing is ambiguous"),
            Self::Host => (StatusCode::BAD_REQUEST, "an HTTP/1.1 request needs exactly one Host header"),
            Self::Headers => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers"),
            Self::Unreadable(status @ StatusCode::URI_TOO_LONG) => (status, "the request's target is too long"),
            Self::Unreadable(status @ StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
                (status, "the request's head is too large, or has too many headers")
            }
            Self::Unreadable(status) => (status, "the request's head is not HTTP that can be read"),
        };
        let (code, id, timestamp) = (status.as_u16(), (world.new_id)(), timestamp((world.now)()));
        tracing::info!(http.status = code, request.id = id, client.address = %peer, "refused: {message}");
        let body = format!(
            r#"{{"error":{{"code":{code},"message":"{message}","type":"ValidationError"}},"request_id":"{id}","success":false,"timestamp":"{timestamp}"}}"#
        );
        (status, id, body)
    }
}

/// What to send instead of these bytes, where they are hyper's own answer to a head that it could not read: a status
/// line and no body.
pub(super) fn in_words(bytes: &[u8], peer: IpAddr, world: World) -> Option<Bytes> {
    let head =
        std::str::from_utf8(bytes).ok().filter(|text| text.find("\r\n\r\n").map(|at| at + 4) == Some(text.len()))?;
    let status = head.strip_prefix("HTTP/1.1 4").and(head.get(9..12))?.parse().ok()?;
    let (before, after) = head.split_once("content-length: 0\r\n")?;
    let (_, id, body) = Refusal::Unreadable(status).told(peer, world);
    let length = body.len();
    Some(
        format!(
            "{before}content-type: application/json\r\nx-request-id: {id}\r\ncontent-length: {length}\r\n{after}{body}"
        )
        .into(),
    )
}
