//! One GET: a bound on the answer, no redirects.

use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Position, Url};

use crate::domain::Result;
use crate::outgoing::Dialer;

/// Most bytes of a document.
const MOST_BYTES: usize = 1024 * 1024;

/// Fetches small documents. Its caller keeps the time.
pub struct Fetcher(Dialer);

impl Fetcher {
    pub fn new(authorities: &[CertificateDer<'static>]) -> Result<Self> {
        Dialer::new(authorities).map(Self)
    }

    /// The document at this URL, or why there is none.
    pub async fn get(&self, url: &Url) -> Result<Vec<u8>, String> {
        let got = async { exchange(self.0.dial(url).await?, url).await };
        got.await.map_err(|why: String| format!("{url}: {why}"))
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send, url: &Url) -> Result<Vec<u8>, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("podgate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        if status != StatusCode::OK {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.map(|to| format!(" to {to}, which is not followed")).unwrap_or_default();
            return Err(format!("it answers {status}{to}"));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
    };
    // Both in this one task, so that whoever keeps the time ends both.
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        done = &mut answer => return done,
        _ = connection => {}
    }
    answer.await
}
