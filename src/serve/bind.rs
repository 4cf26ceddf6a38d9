//! Addresses and certificates, all or nothing.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::tls::{self, Certificate};
use crate::config::Listen;

/// Why an address can't be served. Each names the address or the file, and the cause; the texts are for the operator.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum ServeError {
    #[error("cannot listen on {address}: {cause}")]
    Bind { address: SocketAddr, cause: io::Error },
    #[error(
        "refusing plain HTTP on {address}, which is not a loopback address: give it a certificate, \
         or set plain_http_beyond_loopback"
    )]
    PlainHttp { address: SocketAddr },
    #[error("cannot read {}: {cause}", file.display())]
    Read { file: PathBuf, cause: io::Error },
    #[error("no usable certificate chain in {}: {cause}", file.display())]
    Chain { file: PathBuf, cause: String },
    #[error("no usable private key (PKCS#8, PKCS#1 or SEC1, not encrypted) in {}: {cause}", file.display())]
    Key { file: PathBuf, cause: String },
    #[error("the certificate {} and the private key {} do not belong together", cert_file.display(), key_file.display())]
    Pair { cert_file: PathBuf, key_file: PathBuf },
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// How many bytes of a connection may wait in the system to be sent. By default as many as it has room for, megabytes on
/// a fast network, and Linux tells of room once a third of them went: a slow reader would look like one who takes nothing.
const MOST_UNSENT: u32 = 128 * 1024;

/// An address that is bound and, where it speaks TLS, has its certificate loaded.
///
/// The system queues connections from here on; they are served once `run` accepts them.
pub struct Bound {
    pub(super) listener: TcpListener,
    pub(super) local: SocketAddr,
    pub(super) tls: Option<(TlsAcceptor, Arc<Certificate>)>,
}

impl Bound {
    /// The address that was bound, with the port that the system chose where the configuration says 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether it speaks HTTPS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The certificate it presents; `None` for plain HTTP. Keep it to call `reload` while `run` serves.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.tls.as_ref().map(|(_, certificate)| Arc::clone(certificate))
    }
}

/// Binds every address and loads every certificate; all or nothing, so a mistake is reported before any request is
/// served.
///
/// # Errors
/// The first thing that is wrong, in the order of `listen`; certificates before addresses.
/// Plain HTTP beyond loopback is refused here too, whatever validated the configuration.
pub async fn bind(listen: &[Listen]) -> Result<Vec<Bound>, ServeError> {
    let mut prepared = Vec::with_capacity(listen.len());
    for Listen { address, tls, plain_http_beyond_loopback } in listen {
        let address = *address;
        let tls = match tls {
            Some(files) => {
                let certificate = Arc::new(Certificate::load(files).await?);
                Some((tls::acceptor(Arc::clone(&certificate))?, certificate))
            }
            None if address.ip().to_canonical().is_loopback() || *plain_http_beyond_loopback => None,
            None => return Err(ServeError::PlainHttp { address }),
        };
        prepared.push((address, tls));
    }

    let mut bound = Vec::with_capacity(prepared.len());
    for (address, tls) in prepared {
        let failed = |cause| ServeError::Bind { address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        // Connections have it from their listener.
        if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(MOST_UNSENT) {
            tracing::debug!(%address, %error, "cannot set TCP_NOTSENT_LOWAT");
        }
        bound.push(Bound { listener, local, tls });
    }
    Ok(bound)
}
