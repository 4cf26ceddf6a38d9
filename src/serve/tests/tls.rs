//! Certificates: presented, renewed, and refused.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    super::{Certificate, ServeError, renewal::Watched},
    *,
};
use crate::config::Tls;

/// A directory with a certificate and its key; removed when dropped.
struct Files {
    directory: PathBuf,
    tls: Tls,
}

impl Files {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("podgate-serve-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let tls = Tls { cert_file: directory.join("cert.pem"), key_file: directory.join("key.pem") };
        let files = Self { directory, tls };
        files.renew();
        files
    }

    /// Writes a new pair and returns the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&self.tls.cert_file, made.cert.pem()).unwrap();
        std::fs::write(&self.tls.key_file, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn current(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.tls.cert_file).unwrap()
    }

    fn listen(&self) -> Listen {
        Listen { tls: Some(self.tls.clone()), ..loopback() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn handshake(
    server: &Server,
    root: &CertificateDer<'static>,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), server.connect().await)
        .await
}

#[tokio::test]
async fn serves_https_in_both_versions() {
    let files = Files::new("both");
    let server = Server::start(&[files.listen()], limits()).await;
    for alpn in ["h2", "http/1.1"] {
        let mut socket = handshake(&server, &files.current(), alpn).await.unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
        if alpn == "http/1.1" {
            socket.write_all(HELLO.as_bytes()).await.unwrap();
            response(&mut socket, "hello").await;
        }
    }
}

#[tokio::test]
async fn an_unfinished_handshake_is_dropped() {
    let files = Files::new("deadline");
    let hasty = Limits { handshake: Duration::from_millis(300), ..limits() };
    let server = Server::start(&[files.listen()], hasty).await;
    let begun = Instant::now();
    tokio::join!(server.ask(""), server.ask("\x16\x03\x01\x02"));
    took(begun, 300);
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let files = Files::new("renewal");
    let bound = bind(&[files.listen()]).await.unwrap();
    assert!(bound[0].is_tls());
    let certificate = bound[0].certificate().unwrap();
    let mut watched = Watched::new(Arc::clone(&certificate)).await;
    let server = Server::run(bound, limits());
    let first = files.current();
    handshake(&server, &first, "h2").await.unwrap();

    let second = files.renew();
    watched.look().await;
    handshake(&server, &second, "h2").await.unwrap();
    assert!(handshake(&server, &first, "h2").await.is_err());

    std::fs::write(&files.tls.cert_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(certificate.reload().await, Err(ServeError::Chain { .. })));
    watched.look().await;
    handshake(&server, &second, "h2").await.unwrap();

    let third = files.renew();
    watched.look().await;
    handshake(&server, &third, "h2").await.unwrap();
}

#[tokio::test]
async fn mistakes_name_the_file_or_the_address() {
    let files = Files::new("mistakes");
    let other = Files::new("others");
    let Tls { cert_file, key_file } = files.tls.clone();
    let load = async |tls: &Tls| Certificate::load(tls).await.unwrap_err().to_string();

    std::fs::copy(&other.tls.key_file, &key_file).unwrap();
    let error = load(&files.tls).await;
    assert!(error.contains(cert_file.to_str().unwrap()) && error.contains("belong together"), "{error}");
    std::fs::write(&key_file, "garbage").unwrap();
    let error = load(&files.tls).await;
    assert!(error.contains(key_file.to_str().unwrap()), "{error}");
    std::fs::write(&cert_file, "garbage").unwrap();
    let error = load(&files.tls).await;
    assert!(error.contains(cert_file.to_str().unwrap()), "{error}");
    std::fs::remove_file(&cert_file).unwrap();
    let error = load(&files.tls).await;
    assert!(error.contains(cert_file.to_str().unwrap()), "{error}");

    let taken = bind(&[loopback()]).await.unwrap();
    let address = taken[0].local_addr();
    let again = Listen { address, ..loopback() };
    let error = bind(&[again]).await.err().unwrap().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    let open = Listen { address: ([0, 0, 0, 0], 0).into(), ..loopback() };
    assert!(matches!(bind(&[open]).await, Err(ServeError::PlainHttp { .. })));
}
