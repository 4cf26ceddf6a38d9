//! The token endpoint as OAuth2's tools use it (RFC 6749).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::client::whole;
use crate::support::gateway::PASSWORD;
use crate::support::{Answer, Client, Ledger, Site, Story};

const FORM: &str = "application/x-www-form-urlencoded";

/// A form, and what the client says of itself in a header.
async fn send(client: &Client, authorization: Option<&str>, form: &str) -> Answer {
    let mut request = client.anonymous().request("POST", "/auth/token").header("content-type", FORM);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    client.send(request.body(whole(form.to_owned())).unwrap()).await
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// Holds a refusal against RFC 6749, 5.2; what it says.
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) -> String {
    assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{}", answer.text());
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    assert_eq!(answer.header("content-type").map(|text| text.split(';').next().unwrap()), Some("application/json"));
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
    let said = body["error_description"].as_str().unwrap();
    assert!(!said.is_empty() && said.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte)));
    said.to_owned()
}

async fn key(client: &Client) -> (String, String) {
    let made = client.post("/api-keys", json!({"name": "ci"})).await.ok()["api_key"].clone();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_client_names_itself_in_a_header() {
    let story = Story::begin().await;
    let client = &story.client;
    let (id, secret) = key(client).await;
    let good = basic(&format!("{id}:{secret}"));
    let grant = "grant_type=client_credentials";
    for (header, form) in [
        (&*good, grant.to_owned()),
        (&*good.replace("Basic", "bASIC"), grant.to_owned()),
        // Encoded as forms are (2.3.1).
        (&*basic(&format!("{id}:{}", secret.replace('_', "%5F"))), grant.to_owned()),
        // What has no value is not there (3.2), and the name alone shows no secret twice.
        (&*good, format!("{grant}&client_id=&client_secret=&scope=")),
        (&*good, format!("{grant}&client_id={id}")),
        (&*good, format!("grant_type=&{grant}")),
    ] {
        let answer = send(client, Some(header), &form).await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
    }
    // Who tried it in the header is answered there.
    for header in [
        &*basic(&format!("{id}:wrong")),
        &*basic(&format!("nobody:{secret}")),
        &*basic("no colon"),
        "Basic",
        "Basic =broken=",
        "Basic /w==",
    ] {
        let answer = send(client, Some(header), grant).await;
        refused(&answer, 401, "invalid_client");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"podgate\""), "{header}");
    }
    // In the form, it is not.
    let answer = send(client, None, &format!("{grant}&client_id={id}&client_secret=wrong")).await;
    refused(&answer, 400, "invalid_client");
    assert_eq!(answer.header("www-authenticate"), None);
    for (header, form) in [
        (Some(&*good), format!("{grant}&client_id={id}&client_secret={secret}")),
        (Some(&*good), format!("{grant}&client_id=another")),
        (None, format!("{grant}&client_id={id}")),
        (None, format!("{grant}&client_id=&client_secret=")),
        (None, format!("{grant}&{grant}")),
        (None, "grant_type=".to_owned()),
        (None, "grant_type=password&username=&password=x".to_owned()),
    ] {
        refused(&send(client, header, &form).await, 400, "invalid_request");
    }
    // Swagger UI sends an empty one along; a client without a secret of its own is nobody in particular.
    let login = story.tenant.login("operator");
    let password = format!("grant_type=password&username={login}&password={}", PASSWORD.replace(' ', "+"));
    for header in [basic(":"), basic("swagger:"), "Bearer x".to_owned()] {
        assert_eq!(send(client, Some(&header), &password).await.status, 200, "{header}");
    }
}

/// Whatever keeps a form from being looked at is said in the form's words.
#[tokio::test]
async fn every_failure_of_a_form_is_oauths() {
    let site = Site::new()
        .set("limits.account_sign_ins_from_address_per_minute", 1)
        .set("limits.account_sign_ins_from_address_burst", 1)
        .set("http.max_body_bytes", 2000)
        .set("http.body_deadline_seconds", 1);
    let story = Story::at(site).await;
    let client = &story.client;
    let login = story.tenant.login("operator");
    let form = format!("grant_type=password&username={login}&password=wrong");
    refused(&send(client, None, &form).await, 400, "invalid_grant");
    let limited = send(client, None, &form).await;
    refused(&limited, 429, "temporarily_unavailable");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    refused(&send(client, None, &format!("{form}{}", "x".repeat(3000))).await, 413, "invalid_request");
    let slow = client.anonymous().request("POST", "/auth/token").header("content-type", FORM);
    let slow =
        slow.body(http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<hyper::body::Frame<bytes::Bytes>, std::convert::Infallible>,
        >())));
    refused(&client.send(slow.unwrap()).await, 408, "temporarily_unavailable");
    let latin = client.request("POST", "/auth/token").header("content-type", format!("{FORM}; charset=latin1"));
    refused(&client.send(latin.body(whole(form.clone())).unwrap()).await, 415, "invalid_request");
    let query = client.request("POST", "/auth/token?x=1").header("content-type", FORM);
    refused(&client.send(query.body(whole(form)).unwrap()).await, 400, "invalid_request");
    // People keep their envelope, and learn where the form's does not go.
    client.post("/auth/token?x=1", json!({})).await.blames(&["x"]);
    client.sign_in(&login, "wrong").await.refused(429, "RateLimitError");

    let (id, secret) = key(client).await;
    let ledger = Ledger::of(&story.site).await;
    ledger.audited(0).await;
    ledger.execute("ALTER TABLE audit_log RENAME TO hidden").await;
    let down = send(client, Some(&basic(&format!("{id}:{secret}"))), "grant_type=client_credentials").await;
    refused(&down, 503, "temporarily_unavailable");
    assert_eq!(down.header("retry-after"), Some("5"));
    ledger.execute("ALTER TABLE hidden RENAME TO audit_log").await;
}

/// The budget of an address, which is spent before anybody looks at what is asked.
#[tokio::test]
async fn a_spent_budget_is_told_in_the_same_words() {
    let site = Site::new().set("limits.address_requests_per_second", 1).set("limits.address_burst", 1);
    let story = Story::at(site).await;
    let answers: Vec<Value> = {
        let mut answers = Vec::new();
        for _ in 0..4 {
            let answer = send(&story.client, None, "grant_type=magic").await;
            if answer.status == 429 {
                refused(&answer, 429, "temporarily_unavailable");
                assert!(answer.header("retry-after").is_some() && answer.header("ratelimit").is_some());
            }
            answers.push(answer.json()["error"].clone());
        }
        answers
    };
    assert!(answers.contains(&json!("temporarily_unavailable")), "{answers:?}");
    assert!(answers.contains(&json!("unsupported_grant_type")), "{answers:?}");
}
