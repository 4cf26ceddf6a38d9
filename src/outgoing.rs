//! Connections to elsewhere: plain, or TLS by the system's authorities and more.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::domain::{Error, Result};

/// A connection, of whatever kind.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Makes connections. Its caller keeps the time.
#[derive(Clone)]
pub struct Dialer {
    tls: TlsConnector,
}

impl Dialer {
    /// One that trusts these authorities beside the system's.
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

    /// A connection to where an `http` or `https` URL leads, or why there is none.
    pub async fn dial(&self, url: &Url) -> Result<Box<dyn Connection>, String> {
        let host = url.host_str().ok_or("it names no host")?.trim_matches(['[', ']']);
        let port = url.port_or_known_default().ok_or("it names no port")?;
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        Ok(Box::new(self.tls.connect(name, stream).await.map_err(|error| error.to_string())?))
    }
}

/// The authorities of the system, read once.
fn system() -> &'static [CertificateDer<'static>] {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            tracing::warn!(errors = ?found.errors, "the system has no authorities; servers need a ca_file");
        }
        found.certs
    })
}
