//! An identity provider on a socket of its own, with TLS by an authority of its own: it signs tokens, changes its keys,
//! goes down, and lies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub struct Provider {
    /// What its tokens say as `iss`.
    pub issuer: String,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    authority: String,
    task: JoinHandle<()>,
}

struct State {
    keys: Vec<Value>,
    mood: Mood,
    asked: Vec<String>,
    issuer: String,
    jwks_uri: String,
}

/// How it answers.
#[derive(Clone, PartialEq)]
pub enum Mood {
    Honest,
    /// Connections end at once.
    Down,
    /// Connections are taken, and nothing comes.
    Silent,
    /// The discovery document is another issuer's.
    Impostor,
    /// The keys are in a document of 3 MB.
    Huge,
    /// Everything is elsewhere.
    Moved(String),
    /// Everything fails.
    Broken,
    /// No JSON.
    Garbage,
    /// An empty set of keys.
    Keyless,
    /// The discovery document names another place for the keys.
    Elsewhere(String),
}

/// A key that signs.
pub struct Signer {
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub pair: KeyPair,
    key: EncodingKey,
}

impl Signer {
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        let kind: &SignatureAlgorithm = match algorithm {
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            _ => &rcgen::PKCS_RSA_SHA256,
        };
        let pair = KeyPair::generate_for(kind).unwrap();
        let pem = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        Self { kid: Some(kid.to_owned()), algorithm, pair, key: key.unwrap() }
    }

    /// The public half, as a member of a JWK set.
    pub fn jwk(&self) -> Value {
        let mut jwk = match self.algorithm {
            Algorithm::EdDSA => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.pair.der_bytes())})
            }
            other => serde_json::to_value(Jwk::from_encoding_key(&self.key, other).unwrap()).unwrap(),
        };
        jwk["use"] = json!("sig");
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// Signs with the usual header.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({}), claims)
    }

    /// Signs with the usual header and these members in it; null takes one away.
    pub fn sign_as(&self, changes: &Value, claims: &Value) -> String {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm, "kid": self.kid});
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

impl Provider {
    pub async fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("https://localhost:{}/realms/corp", address.port());
        let (authority, acceptor) = certified();
        let state = State {
            keys: keys.iter().map(|key| key.jwk()).collect(),
            mood: Mood::Honest,
            asked: Vec::new(),
            jwks_uri: format!("{issuer}/keys"),
            issuer: issuer.clone(),
        };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(serve(listener, acceptor, Arc::clone(&state)));
        Self { issuer, address, state, authority, task }
    }

    /// The certificate of its authority, in a file.
    pub fn ca_file(&self, dir: &Path) -> String {
        let file = dir.join(format!("ca-{}.pem", self.address.port()));
        std::fs::write(&file, &self.authority).unwrap();
        file.display().to_string()
    }

    /// From now on these are its keys.
    pub fn rotate(&self, keys: &[&Signer]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| key.jwk()).collect();
    }

    /// The same with sets of any shape.
    pub fn publish(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    pub fn is(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|path| path.ends_with("/keys")).count()
    }

    /// What it would say about alice now, with changes; null takes a claim away.
    pub fn claims(&self, changes: Value) -> Value {
        let now = (podgate::app::world().now)().unix_timestamp();
        let mut claims = json!({
            "iss": self.issuer, "sub": "248289761001", "aud": ["account", "podgate"], "iat": now, "exp": now + 300,
            "preferred_username": "Alice", "jti": "1",
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An authority, and a server that it vouches for.
fn certified() -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    (pem, TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            if state.lock().unwrap().mood == Mood::Down {
                return;
            }
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, Arc::clone(&state)));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let (mood, keys, mut discovery) = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        let discovery = json!({"issuer": state.issuer, "jwks_uri": state.jwks_uri});
        (state.mood.clone(), json!({"keys": state.keys}), discovery)
    };
    let is_discovery = path == "/realms/corp/.well-known/openid-configuration";
    let mut body = match (is_discovery, path.as_str()) {
        (true, _) => discovery.clone(),
        (false, "/realms/corp/keys") => keys.clone(),
        _ => return Ok(Response::builder().status(404).body(Full::default()).unwrap()),
    };
    match mood {
        Mood::Honest | Mood::Down => {}
        Mood::Silent => tokio::time::sleep(Duration::from_secs(600)).await,
        Mood::Impostor if is_discovery => discovery["issuer"] = json!("https://login.example.org"),
        Mood::Elsewhere(uri) if is_discovery => discovery["jwks_uri"] = json!(uri),
        Mood::Impostor | Mood::Elsewhere(_) => {}
        Mood::Huge => body["padding"] = json!("x".repeat(3_000_000)),
        Mood::Moved(to) => {
            return Ok(Response::builder().status(302).header("location", to).body(Full::default()).unwrap());
        }
        Mood::Broken => return Ok(Response::builder().status(500).body(Full::default()).unwrap()),
        Mood::Garbage => return Ok(Response::new(Full::from("<html>"))),
        Mood::Keyless if !is_discovery => body = json!({"keys": []}),
        Mood::Keyless => {}
    }
    if is_discovery && body.get("padding").is_none() {
        body = discovery;
    }
    Ok(Response::new(Full::from(body.to_string())))
}
