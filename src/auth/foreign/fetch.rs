//! One GET: TLS by the system's authorities and the operator's, a bound on the answer, no redirects.

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use crate::domain::{Error, Result};

/// Most bytes of a document.
const MOST_BYTES: usize = 1024 * 1024;

/// Fetches small documents. Its caller keeps the time.
pub struct Fetcher {
    tls: TlsConnector,
}

impl Fetcher {
    pub fn new(authorities: &[CertificateDer<'static>]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system().iter().cloned());
        for certificate in authorities {
            roots.add(certificate.clone()).map_err(Error::internal)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(Error::internal)?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// The document at this URL, or why there is none.
    pub async fn get(&self, url: &Url) -> Result<Vec<u8>, String> {
        let got = async {
            let host = url.host_str().ok_or("it names no host")?.trim_matches(['[', ']']);
            let port = url.port_or_known_default().ok_or("it names no port")?;
            let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
            if url.scheme() != "https" {
                return exchange(stream, url).await;
            }
            let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
            exchange(self.tls.connect(name, stream).await.map_err(|error| error.to_string())?, url).await
        };
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

/// The authorities of the system, read once.
fn system() -> &'static [CertificateDer<'static>] {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            tracing::warn!(errors = ?found.errors, "the system has no authorities; issuers need a ca_file");
        }
        found.certs
    })
}
