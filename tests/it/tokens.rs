//! Tokens, and what passes for one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use crate::support::gateway::PASSWORD;
use crate::support::{Client, Ledger, Story, eventually};

/// The installation's own signing key, in the wrong hands: whatever it signs, only a whole token passes.
struct Forger {
    kid: String,
    key: EncodingKey,
    public: KeyPair,
    claims: Value,
}

impl Forger {
    async fn new(story: &Story) -> Self {
        let (kid, pem) = Ledger::of(&story.site).await.signing_key().await;
        let claims = claims(story.client.token.as_ref().unwrap());
        Self {
            kid,
            key: EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
            public: KeyPair::from_pem(&pem).unwrap(),
            claims,
        }
    }

    /// Signed well, with any header.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    /// The usual header, and the usual claims but for these.
    fn with(&self, changes: Value) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.sign(&json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid}), &claims)
    }

    fn without(&self, claim: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(claim).unwrap();
        self.sign(&json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid}), &claims)
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encoded(header), encoded(claims))
}

pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn is_taken(client: &Client, token: &str) -> bool {
    let answer = client.with_token(token).get("/containers").await;
    if answer.status != 200 {
        answer.refused(401, "AuthenticationError");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"podgate\""), "{challenge}");
    }
    answer.status == 200
}

#[tokio::test]
async fn a_token_is_taken_only_whole() {
    let story = Story::begin().await;
    let forger = Forger::new(&story).await;
    let now = (podgate::app::world().now)().unix_timestamp();
    // The forger's craft is good: this one passes.
    assert!(is_taken(&story.client, &forger.with(json!({}))).await);
    assert!(is_taken(&story.client, &forger.with(json!({"exp": now + 5}))).await);

    for claim in ["iss", "aud", "sub", "jti", "iat", "nbf", "exp", "sid", "epoch"] {
        assert!(!is_taken(&story.client, &forger.without(claim)).await, "without {claim}");
    }
    for changes in [
        json!({"exp": now - 60}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": (now + 600).to_string()}),
        json!({"exp": null}),
        json!({"exp": [now + 600]}),
        json!({"nbf": now + 600}),
        json!({"nbf": "soon"}),
        json!({"iat": now + 600, "nbf": now}),
        json!({"iss": "someone-else"}),
        json!({"iss": "Podgate"}),
        json!({"iss": null}),
        json!({"aud": "someone-else"}),
        json!({"aud": ["someone-else"]}),
        json!({"aud": []}),
        json!({"sub": ""}),
        json!({"sub": "nobody"}),
        json!({"sub": story.tenant.login("operator")}),
        json!({"sub": 1}),
        json!({"sub": "' OR 1=1 --"}),
        json!({"jti": ""}),
        json!({"jti": 7}),
        json!({"sid": ""}),
        json!({"sid": "another"}),
        json!({"epoch": 1}),
        json!({"epoch": "0"}),
    ] {
        assert!(!is_taken(&story.client, &forger.with(changes.clone())).await, "{changes}");
    }
    let expired = story.client.with_token(forger.with(json!({"exp": now - 60}))).get("/containers").await;
    assert!(expired.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    // What must not be ignored, and an algorithm that is not the key's, by the right key.
    for header in [json!({"crit": ["exp"]}), json!({"crit": []}), json!({"alg": "RS256"}), json!({"alg": "none"})] {
        let mut whole = json!({"alg": "EdDSA", "typ": "JWT", "kid": forger.kid});
        whole.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
        assert!(!is_taken(&story.client, &forger.sign(&whole, &forger.claims)).await, "{header}");
    }
    // A token that was taken is looked at again each time.
    let brief = forger.with(json!({"exp": now - 8}));
    assert!(is_taken(&story.client, &brief).await);
    eventually("its end", || async { (!is_taken(&story.client, &brief).await).then_some(()) }).await;
    // Claims that we do not make say nothing.
    assert!(is_taken(&story.client, &forger.with(json!({"role": "platform", "tenant": "other"}))).await);
}

#[tokio::test]
async fn a_token_is_taken_only_from_our_key() {
    let story = Story::begin().await;
    let forger = Forger::new(&story).await;
    let client = &story.client;
    let genuine = client.token.clone().unwrap();
    let parts: Vec<&str> = genuine.split('.').collect();

    // No algorithm.
    for alg in ["none", "None", "NONE", ""] {
        let message = unsigned(&json!({"alg": alg, "typ": "JWT", "kid": forger.kid}), &forger.claims);
        for token in [format!("{message}."), message.clone(), format!("{message}.{}", parts[2])] {
            assert!(!is_taken(client, &token).await, "alg {alg}");
        }
    }
    // The public key as a secret.
    let pem = forger.public.public_key_pem();
    let der = forger.public.subject_public_key_info();
    for (alg, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        for secret in [forger.public.der_bytes(), pem.as_bytes(), pem.trim().as_bytes(), &der, b""] {
            let message = unsigned(&json!({"alg": name, "typ": "JWT", "kid": forger.kid}), &forger.claims);
            let key = EncodingKey::from_secret(secret);
            let Ok(signature) = jsonwebtoken::crypto::sign(message.as_bytes(), &key, alg) else { continue };
            assert!(!is_taken(client, &format!("{message}.{signature}")).await, "{name}");
        }
    }
    // Another key, and every way to point to it.
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = EncodingKey::from_ed_der(&other.serialize_der());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": URL_SAFE_NO_PAD.encode(other.der_bytes())});
    for hint in [
        json!({}),
        json!({"jwk": jwk}),
        json!({"kid": "../../../dev/null"}),
        json!({"kid": "x' UNION SELECT 'x"}),
        json!({"jku": format!("http://{}/jwks.json", client.address)}),
        json!({"x5u": "http://127.0.0.1:1/cert.pem"}),
        json!({"x5c": [STANDARD.encode(other.der_bytes())]}),
        json!({"crit": ["exp"]}),
    ] {
        let mut header = json!({"alg": "EdDSA", "typ": "JWT", "kid": forger.kid});
        header.as_object_mut().unwrap().extend(hint.as_object().unwrap().clone());
        let message = unsigned(&header, &forger.claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        assert!(!is_taken(client, &format!("{message}.{signature}")).await, "{header}");
    }
    // A genuine signature under other claims, and pieces of a genuine token.
    let mut edited = forger.claims.clone();
    edited["exp"] = json!(edited["exp"].as_i64().unwrap() + 1);
    let signature = parts[2];
    for token in [
        format!("{}.{}.{signature}", parts[0], encoded(&edited)),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{genuine}."),
        format!("{genuine}.{signature}"),
        format!("{}.{}.{}", parts[0], parts[1], &signature[..signature.len() - 4]),
        format!("{}.{}.{signature}=", parts[0], parts[1]),
        "a.b.c".to_owned(),
        "..".to_owned(),
        "x".repeat(8000),
    ] {
        assert!(!is_taken(client, &token).await, "{token}");
    }
    assert!(is_taken(client, &genuine).await);
}

#[tokio::test]
async fn one_authorization_and_nowhere_else() {
    let story = Story::begin().await;
    let token = story.client.token.clone().unwrap();
    let nobody = story.client.anonymous();
    let send = async |values: &[&str]| {
        let mut request = nobody.request("GET", "/containers");
        for value in values {
            request = request.header("authorization", *value);
        }
        nobody.send(request.body(crate::support::client::whole("")).unwrap()).await
    };
    let bearer = format!("Bearer {token}");
    send(&[&bearer]).await.ok();
    for values in [&[&*bearer, &*bearer][..], &["Bearer junk", &bearer], &[&bearer, "Basic eDp5"]] {
        send(values).await.refused(401, "AuthenticationError");
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{PASSWORD}", story.tenant.login("operator"))));
    let joined = format!("{bearer}, {bearer}");
    for value in [&*token, "Bearer", "Bearer ", &basic, &joined, &format!("Token {token}"), ""] {
        send(&[value]).await.refused(401, "AuthenticationError");
    }
    // Not in a URL.
    nobody.get(&format!("/containers?access_token={token}")).await.refused(401, "AuthenticationError");
}

/// What the records say counts, not what the token once meant.
#[tokio::test]
async fn a_token_is_worth_what_its_account_is_now() {
    let story = Story::begin().await;
    let client = &story.client;
    let ledger = Ledger::of(&story.site).await;
    let login = story.tenant.login("operator");
    let change = async |statement: &'static str| ledger.change(statement, &login).await;
    client.create_sleeping("c").await;
    change("UPDATE accounts SET role = 'viewer' WHERE login = $1").await;
    client.delete("/containers/c?force=true").await.refused(403, "PermissionError");
    client.get("/containers").await.ok();
    change("UPDATE accounts SET role = 'operator', disabled = 1 WHERE login = $1").await;
    client.get("/containers").await.refused(401, "AuthenticationError");
    client.sign_in(&login, PASSWORD).await.refused(401, "AuthenticationError");
    change("UPDATE accounts SET disabled = 0 WHERE login = $1").await;
    client.get("/containers").await.ok();
    change("DELETE FROM accounts WHERE login = $1").await;
    client.get("/containers").await.refused(401, "AuthenticationError");
    client.sign_in(&login, PASSWORD).await.refused(401, "AuthenticationError");
}
