//! TLS 1.2 and 1.3 with a certificate that can be read again while connections are served.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use crate::config::Tls;

/// A certificate chain with its private key, and the files they came from.
///
/// It is checked whole before it replaces the one in use: new handshakes see either the old pair or the new one.
pub struct Certificate {
    files: Tls,
    provider: CryptoProvider,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Until when a certificate is good, seconds since 1970; none if it cannot be read.
pub fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

impl Certificate {
    /// Reads PEM files: the chain with the server's own certificate first, and one unencrypted key in PKCS#8, PKCS#1
    /// or SEC1.
    ///
    /// # Errors
    /// A file that can't be read, holds no such thing, or a key that is not the certificate's.
    pub async fn load(files: &Tls) -> Result<Self, ServeError> {
        let provider = aws_lc_rs::default_provider();
        let current = RwLock::new(Arc::new(read(files, &provider).await?));
        Ok(Self { files: files.clone(), provider, current })
    }

    /// Reads the files again and presents what they hold to every handshake from now on.
    /// Connections that stand keep what they have.
    ///
    /// # Errors
    /// As `load`; the certificate in use stays in use.
    pub async fn reload(&self) -> Result<(), ServeError> {
        let renewed = Arc::new(read(&self.files, &self.provider).await?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// Whether the files hold what could be presented; changes nothing.
    ///
    /// # Errors
    /// As `load`.
    pub async fn check(&self) -> Result<(), ServeError> {
        read(&self.files, &self.provider).await.map(drop)
    }

    /// Until when the one in use is good, seconds since 1970.
    pub fn not_after(&self) -> Option<i64> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        not_after(current.cert.first()?)
    }

    /// The files of the chain and of the key.
    pub fn files(&self) -> [&Path; 2] {
        [&self.files.cert_file, &self.files.key_file]
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    // One certificate whatever name the client asks for: several names go into one certificate.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS for one listener. The provider is given here: nothing depends on a default of the process.
pub(super) fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, ServeError> {
    let provider = Arc::new(certificate.provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(ServeError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn read(files: &Tls, provider: &CryptoProvider) -> Result<CertifiedKey, ServeError> {
    let Tls { cert_file, key_file } = files;
    let bad_chain = |cause: String| ServeError::Chain { file: cert_file.clone(), cause };
    let bad_key = |cause: String| ServeError::Key { file: key_file.clone(), cause };

    let chain = CertificateDer::pem_slice_iter(&contents(cert_file).await?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| bad_chain(cause.to_string()))?;
    if chain.is_empty() {
        return Err(bad_chain("it holds no PEM certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents(key_file).await?).map_err(|cause| bad_key(cause.to_string()))?;

    let key = provider.key_provider.load_private_key(key).map_err(|cause| bad_key(cause.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(ServeError::Pair { cert_file: cert_file.clone(), key_file: key_file.clone() })
        }
        Err(cause) => Err(bad_chain(cause.to_string())),
    }
}

async fn contents(file: &Path) -> Result<Vec<u8>, ServeError> {
    tokio::fs::read(file).await.map_err(|cause| ServeError::Read { file: file.to_owned(), cause })
}
