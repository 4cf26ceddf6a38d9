//! The configuration as durations and counts, in the types that the parts of this module want.

use std::time::Duration;

use crate::config::Http;

/// hyper panics on a smaller HTTP/1 buffer (`http1::Builder::max_buf_size`).
const HTTP1_BUFFER_MIN: usize = 8192;

#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// From accepting the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request head to its last; on a new connection from the end of the handshake.
    pub header: Duration,
    /// Between two requests; also how long a peer may refuse to take what is being sent to it.
    pub idle: Duration,
    pub drain: Duration,
    /// Size of a request head. HTTP/1 can't go below 8192.
    pub max_header_bytes: usize,
    pub max_headers: usize,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_streams: u32,
}

impl Limits {
    pub fn http1_buffer(&self) -> usize {
        self.max_header_bytes.max(HTTP1_BUFFER_MIN)
    }

    pub fn http2_header_list(&self) -> u32 {
        u32::try_from(self.max_header_bytes).unwrap_or(u32::MAX)
    }
}

impl From<&Http> for Limits {
    fn from(http: &Http) -> Self {
        Self {
            handshake: Duration::from_secs(http.handshake_deadline_seconds),
            header: Duration::from_secs(http.header_deadline_seconds),
            idle: Duration::from_secs(http.idle_seconds),
            drain: Duration::from_secs(http.drain_seconds),
            max_header_bytes: http.max_header_bytes,
            max_headers: http.max_headers,
            max_connections: http.max_connections,
            max_connections_per_address: http.max_connections_per_address,
            max_streams: http.max_streams_per_connection,
        }
    }
}
