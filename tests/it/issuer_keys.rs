//! Tokens of an identity provider, and what passes for one; its keys, and what becomes of them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::PublicKeyData;
use serde_json::{Value, json};

use crate::issuers::issuer;
use crate::support::provider::{Mood, Provider, Signer};
use crate::support::{Client, Podman, Site, Story, eventually};

const EVERYBODY: &str = "role = \"viewer\"\n";

/// A gateway that trusts this provider; every token of it means a viewer.
async fn trusting(provider: &Provider, more: &str) -> Story {
    let site = Site::new();
    let tenant = site.tenant();
    let table = issuer("corp", provider, &site, &format!("{EVERYBODY}tenant = {:?}\n{more}", tenant.slug));
    let site = site.with(&table);
    let gateway = site.start().await;
    let client = gateway.client("");
    Story { gateway, client, tenant, podman: Podman::of_the_tests(), site }
}

async fn status(client: &Client, token: &str) -> u16 {
    let answer = client.with_token(token).get("/containers").await;
    if answer.status == 401 {
        answer.refused(401, "AuthenticationError");
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    answer.status
}

fn now() -> i64 {
    (podgate::app::world().now)().unix_timestamp()
}

#[tokio::test]
async fn a_providers_token_is_taken_only_whole() {
    let signer = Signer::new("k1", Algorithm::RS256);
    let provider = Provider::start(&[&signer]).await;
    let story = trusting(&provider, "").await;
    let taken = async |changes: Value| status(&story.client, &signer.sign(&provider.claims(changes))).await == 200;
    let now = now();
    for good in [
        json!({}),
        json!({"aud": "podgate"}),
        json!({"aud": "other"}),
        json!({"nbf": now}),
        json!({"exp": (now + 300) as f64 + 0.5}),
        json!({"iat": now + 5}),
        json!({"jti": null}),
    ] {
        assert!(taken(good.clone()).await, "{good}");
    }
    // Clocks may differ by ten seconds.
    assert!(taken(json!({"exp": self::now() - 3})).await);
    for claim in ["iss", "aud", "sub", "iat", "exp"] {
        assert!(!taken(json!({claim: null})).await, "without {claim}");
    }
    for changes in [
        json!({"exp": now - 60}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": (now + 600).to_string()}),
        json!({"exp": [now + 600]}),
        json!({"exp": true}),
        json!({"exp": 1e300}),
        json!({"iat": (now).to_string()}),
        json!({"iat": now + 600}),
        json!({"iat": {}}),
        json!({"nbf": now + 600}),
        json!({"nbf": "soon"}),
        json!({"iss": format!("{}/", provider.issuer)}),
        json!({"iss": provider.issuer.to_uppercase()}),
        json!({"iss": [provider.issuer]}),
        json!({"iss": "podgate"}),
        json!({"aud": "podgate2"}),
        json!({"aud": ["account"]}),
        json!({"aud": []}),
        json!({"aud": {"podgate": 1}}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": "a\nb"}),
    ] {
        assert!(!taken(changes.clone()).await, "{changes}");
    }
    // Hints that lead elsewhere are not followed; what must not be ignored is not ignored.
    let with = async |header: Value| status(&story.client, &signer.sign_as(&header, &provider.claims(json!({})))).await;
    let other = Signer::new("k1", Algorithm::RS256);
    for (header, expected) in [
        (json!({"typ": "at+jwt"}), 200),
        (json!({"typ": null}), 200),
        (json!({"kid": null}), 200),
        (json!({"jku": "http://127.0.0.1:1/keys"}), 200),
        (json!({"jwk": other.jwk()}), 200),
        (json!({"typ": "logout+jwt"}), 401),
        (json!({"typ": "id_token"}), 401),
        (json!({"crit": ["exp"]}), 401),
        (json!({"crit": []}), 401),
        (json!({"b64": false, "crit": ["b64"]}), 401),
        (json!({"kid": "k2"}), 401),
        (json!({"kid": 1}), 401),
        (json!({"alg": "RS384"}), 401),
        (json!({"alg": "PS256"}), 401),
    ] {
        assert_eq!(with(header.clone()).await, expected, "{header}");
    }
}

#[tokio::test]
async fn a_providers_token_is_taken_only_by_its_keys() {
    let (signer, twin) = (Signer::new("k1", Algorithm::RS256), Signer::new("k1", Algorithm::RS256));
    let (provider, sister) = (Provider::start(&[&signer]).await, Provider::start(&[&twin]).await);
    let site = Site::new();
    let tenant = site.tenant();
    let lines = format!("algorithms = [\"RS256\", \"ES256\"]\n{EVERYBODY}tenant = {:?}", tenant.slug);
    let tables = [issuer("corp", &provider, &site, &lines), issuer("sister", &sister, &site, &lines)];
    let site = site.with(&tables.concat());
    let gateway = site.start().await;
    let client = gateway.client("");
    let claims = provider.claims(json!({}));
    let genuine = signer.sign(&claims);
    assert_eq!(status(&client, &genuine).await, 200);
    assert_eq!(status(&client, &twin.sign(&sister.claims(json!({})))).await, 200);
    // The sister's key of the same name, and ours.
    assert_eq!(status(&client, &twin.sign(&claims)).await, 401);
    assert_eq!(status(&client, &signer.sign(&sister.claims(json!({})))).await, 401);
    let own = crate::support::Ledger::of(&site).await.signing_key().await;
    let ours = EncodingKey::from_ed_pem(own.1.as_bytes()).unwrap();
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = |header: Value, key: &EncodingKey, algorithm: Algorithm| {
        let message = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
        format!("{message}.{signature}")
    };
    for kid in [&*own.0, "k1"] {
        let token = signed(json!({"alg": "EdDSA", "kid": kid}), &ours, Algorithm::EdDSA);
        assert_eq!(status(&client, &token).await, 401);
    }
    // And the provider's key under our name.
    let ours = crate::tokens::claims(&site.token(&tenant.login("operator")));
    for kid in [&*own.0, "k1"] {
        assert_eq!(status(&client, &signer.sign_as(&json!({"kid": kid}), &ours)).await, 401);
    }
    // The public key as a secret; an algorithm of the list that the key is not for.
    let (pem, der) = (signer.pair.public_key_pem(), signer.pair.subject_public_key_info());
    let n = URL_SAFE_NO_PAD.decode(signer.jwk()["n"].as_str().unwrap()).unwrap();
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der, signer.pair.der_bytes(), &n, b"k1"] {
        for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            let token =
                signed(json!({"alg": name, "typ": "JWT", "kid": "k1"}), &EncodingKey::from_secret(secret), algorithm);
            assert_eq!(status(&client, &token).await, 401, "{name}");
        }
    }
    let stranger = Signer::new("k1", Algorithm::ES256);
    assert_eq!(status(&client, &stranger.sign(&claims)).await, 401);
    // No algorithm, another's key and every way to point to it.
    let parts: Vec<&str> = genuine.split('.').collect();
    for alg in ["none", "None", "NONE", "", "rs256", "RS256 "] {
        let header = encoded(&json!({"alg": alg, "typ": "JWT", "kid": "k1"}));
        for signature in ["", parts[2]] {
            assert_eq!(status(&client, &format!("{header}.{}.{signature}", parts[1])).await, 401, "{alg}");
        }
    }
    for hint in [
        json!({"jwk": stranger.jwk()}),
        json!({"jwk": twin.jwk()}),
        json!({"jku": format!("{}/keys", sister.issuer)}),
        json!({"x5u": format!("{}/keys", sister.issuer)}),
        json!({"x5c": [STANDARD.encode(twin.pair.der_bytes())]}),
        json!({"kid": "../../../dev/null"}),
        json!({"kid": "x' UNION SELECT 'x"}),
        json!({"kid": ""}),
    ] {
        assert_eq!(status(&client, &twin.sign_as(&hint, &claims)).await, 401, "{hint}");
    }
    // Edited claims under a genuine signature.
    let edited = encoded(&provider.claims(json!({"sub": "somebody else"})));
    assert_eq!(status(&client, &format!("{}.{edited}.{}", parts[0], parts[2])).await, 401);
    assert_eq!(status(&client, &format!("{}.{}.", parts[0], parts[1])).await, 401);
    assert_eq!(status(&client, &genuine).await, 200);
    assert_eq!(
        (provider.asked(), sister.asked()),
        (2, 1),
        "once, and once more for all names of keys that there are not"
    );
}

#[tokio::test]
async fn every_kind_of_key_verifies() {
    let kinds =
        [Algorithm::RS256, Algorithm::RS512, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    let signers: Vec<Signer> =
        kinds.into_iter().enumerate().map(|(number, kind)| Signer::new(&format!("k{number}"), kind)).collect();
    let provider = Provider::start(&[]).await;
    let mut keys: Vec<Value> = signers.iter().map(Signer::jwk).collect();
    // What is no use, and what only looks so.
    let encrypts = Signer::new("enc", Algorithm::RS256);
    let mut jwk = encrypts.jwk();
    jwk["use"] = json!("enc");
    keys.extend([
        jwk,
        json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "AKP", "kid": "new"}),
        json!(7),
    ]);
    provider.publish(keys);
    let story =
        trusting(&provider, "algorithms = [\"RS256\", \"RS512\", \"PS256\", \"ES256\", \"ES384\", \"EdDSA\"]").await;
    let claims = provider.claims(json!({}));
    for signer in &signers {
        assert_eq!(status(&story.client, &signer.sign(&claims)).await, 200, "{:?}", signer.algorithm);
        // One key of its kind needs no name.
        assert_eq!(status(&story.client, &signer.sign_as(&json!({"kid": null}), &claims)).await, 200);
    }
    assert_eq!(status(&story.client, &encrypts.sign(&claims)).await, 401);
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"oct"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(b"secret"), Algorithm::HS256);
    assert_eq!(status(&story.client, &format!("{message}.{}", signature.unwrap())).await, 401);
}

#[tokio::test]
async fn new_keys_are_found_and_old_ones_forgotten() {
    let (first, second, third) =
        (Signer::new("k1", Algorithm::ES256), Signer::new("k2", Algorithm::ES256), Signer::new("k3", Algorithm::ES256));
    let provider = Provider::start(&[&first]).await;
    let story = trusting(&provider, "algorithms = [\"ES256\"]").await;
    let claims = provider.claims(json!({}));
    assert_eq!(status(&story.client, &first.sign(&claims)).await, 200);
    assert_eq!(provider.asked(), 1);
    provider.rotate(&[&first, &second]);
    // Many at once: one reading, for which all wait.
    let token = second.sign(&claims);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (client, token) = (story.client.clone(), token.clone());
            tokio::spawn(async move { status(&client, &token).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(provider.asked(), 2);
    // A flood of names does not become a flood of readings.
    for number in 0..50 {
        let header = json!({"kid": format!("x{number}")});
        assert_eq!(status(&story.client, &first.sign_as(&header, &claims)).await, 401);
    }
    assert_eq!(provider.asked(), 2);
    drop(story);

    // Keys have their time: here a second. What is gone is gone for tokens that were taken before, too.
    let story = trusting(&provider, "algorithms = [\"ES256\"]\nkeys_seconds = 1").await;
    assert_eq!(status(&story.client, &first.sign(&claims)).await, 200);
    provider.rotate(&[&third]);
    let token = first.sign(&claims);
    eventually("the end of the first key", || async { (status(&story.client, &token).await == 401).then_some(()) })
        .await;
    assert_eq!(status(&story.client, &third.sign(&claims)).await, 200);
}

#[tokio::test]
async fn a_provider_that_is_away_is_not_the_tokens_fault() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    provider.is(Mood::Down);
    let story = trusting(&provider, "algorithms = [\"ES256\"]\nkeys_seconds = 2").await;
    let token = signer.sign(&provider.claims(json!({})));
    let refused = story.client.with_token(&token).get("/containers").await;
    refused.refused(503, "PodmanAPIError");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(status(&story.client, "a.b.c").await, 401, "whose token it is not is no matter of the provider");
    // It comes back, and goes again: the keys that are known stay in use.
    provider.is(Mood::Honest);
    eventually("the keys", || async { (status(&story.client, &token).await == 200).then_some(()) }).await;
    for mood in [Mood::Broken, Mood::Garbage, Mood::Keyless, Mood::Impostor, Mood::Down] {
        provider.is(mood);
        let begun = provider.asked();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        for _ in 0..5 {
            let fresh = signer.sign(&provider.claims(json!({"jti": "fresh"})));
            assert_eq!((status(&story.client, &token).await, status(&story.client, &fresh).await), (200, 200));
        }
        assert!(provider.asked() <= begun + 3);
    }
    let log = story.gateway.logged("stay in use").await;
    assert!(!log.contains(&token));
    provider.is(Mood::Honest);
    let second = Signer::new("k2", Algorithm::ES256);
    provider.rotate(&[&second]);
    eventually("the new key", || async {
        (status(&story.client, &second.sign(&provider.claims(json!({})))).await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_lies_is_not_believed() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let elsewhere = Provider::start(&[&signer]).await;
    let token = signer.sign(&provider.claims(json!({})));
    let keys = format!("{}/keys", elsewhere.issuer);
    for (mood, words) in [
        (Mood::Impostor, "another issuer's"),
        (Mood::Huge, "length limit"),
        (Mood::Moved(keys.clone()), "not followed"),
        (Mood::Broken, "500"),
        (Mood::Garbage, "no JSON"),
        (Mood::Keyless, "no key"),
        (Mood::Elsewhere("http://login.example.org/keys".into()), "not https"),
        (Mood::Elsewhere("file:///etc/passwd".into()), "names no host"),
        // Its certificate is of an authority that nobody named.
        (Mood::Elsewhere(keys), "certificate"),
    ] {
        provider.is(mood);
        let story = trusting(&provider, "algorithms = [\"ES256\"]").await;
        story.client.with_token(&token).get("/containers").await.refused(503, "PodmanAPIError");
        let log = story.gateway.logged("cannot be read").await;
        assert!(log.contains(words), "{words}: {log}");
    }
    assert_eq!(elsewhere.asked(), 0);
    // Without its authority nobody knows who is there.
    provider.is(Mood::Honest);
    let asked = provider.asked();
    let site = Site::new();
    let tenant = site.tenant();
    let table =
        issuer("corp", &provider, &site, &format!("algorithms = [\"ES256\"]\n{EVERYBODY}tenant = {:?}", tenant.slug));
    let table: String =
        table.lines().filter(|line| !line.starts_with("ca_file")).map(|line| format!("{line}\n")).collect();
    let site = site.with(&table);
    let gateway = site.start().await;
    gateway.client(&token).get("/containers").await.refused(503, "PodmanAPIError");
    assert_eq!(provider.asked(), asked);
}

/// One that takes the connection and says nothing: requests wait for it no longer than it may take, and once there are keys,
/// not at all.
#[tokio::test]
async fn a_provider_that_says_nothing_holds_nobody_up() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    provider.is(Mood::Silent);
    let story = trusting(&provider, "algorithms = [\"ES256\"]\nkeys_seconds = 4").await;
    let token = signer.sign(&provider.claims(json!({})));
    story.client.with_token(&token).get("/containers").await.refused(503, "PodmanAPIError");
    story.gateway.logged("no answer within").await;
    provider.is(Mood::Honest);
    eventually("the keys", || async { (status(&story.client, &token).await == 200).then_some(()) }).await;
    provider.is(Mood::Silent);
    let begun = tokio::time::Instant::now();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(10) {
        let asked = tokio::time::Instant::now();
        assert_eq!(status(&story.client, &token).await, 200);
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}

#[tokio::test]
async fn keys_can_lie_in_a_file() {
    let signer = Signer::new("k1", Algorithm::RS256);
    let ed = Signer::new("k2", Algorithm::EdDSA);
    let site = Site::new();
    let tenant = site.tenant();
    let (set, pem) = (site.dir.join("keys.json"), site.dir.join("key.pem"));
    std::fs::write(&set, json!({"keys": [signer.jwk()]}).to_string()).unwrap();
    std::fs::write(&pem, ed.pair.public_key_pem()).unwrap();
    let table = |name: &str, file: &std::path::Path, algorithm: &str| {
        format!(
            "[issuers.{name}]\nissuer = \"{name} of the machine room\"\naudiences = [\"podgate\"]\nkeys_file = {file:?}\nkeys_seconds = \
             1\nalgorithms = [{algorithm:?}]\n{EVERYBODY}tenant = {:?}\n",
            tenant.slug
        )
    };
    let site = site.with(&[table("set", &set, "RS256"), table("pem", &pem, "EdDSA")].concat());
    let gateway = site.start().await;
    let client = gateway.client("");
    let claims = |iss: &str| json!({"iss": format!("{iss} of the machine room"), "aud": "podgate", "sub": "job", "iat": now(), "exp": now() + 60});
    assert_eq!(status(&client, &signer.sign(&claims("set"))).await, 200);
    assert_eq!(status(&client, &ed.sign(&claims("pem"))).await, 200);
    assert_eq!(status(&client, &ed.sign(&claims("set"))).await, 401);
    assert_eq!(status(&client, &signer.sign(&claims("pem"))).await, 401);
    // Another file in its place.
    let next = Signer::new("k3", Algorithm::RS256);
    std::fs::write(&set, json!({"keys": [next.jwk()]}).to_string()).unwrap();
    eventually("the new key", || async { (status(&client, &next.sign(&claims("set"))).await == 200).then_some(()) })
        .await;
    assert_eq!(status(&client, &signer.sign(&claims("set"))).await, 401);
}
