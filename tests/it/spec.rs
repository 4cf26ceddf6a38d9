//! The published document.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::client::whole;
use crate::support::gateway::program;
use crate::support::{Site, Story};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/podgate-v1.json");

fn committed() -> String {
    std::fs::read_to_string(COMMITTED).unwrap()
}

fn document() -> Value {
    serde_json::from_str(&committed()).unwrap()
}

/// Every operation: method and path, and what is said of it.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path =
        |(path, item): (&String, &'_ Value)| (path.clone(), item.as_object().unwrap().keys().cloned().collect());
    let names: Vec<(String, Vec<String>)> = paths.map(of_path).collect();
    let each =
        names.into_iter().flat_map(|(path, methods)| methods.into_iter().map(move |method| (path.clone(), method)));
    each.map(|(path, method)| (format!("{method} {path}"), &document["paths"][&path][&method])).collect()
}

#[test]
fn the_committed_document_is_the_programs() {
    let printed = program().arg("openapi").output().unwrap();
    assert!(printed.status.success());
    assert!(String::from_utf8(printed.stdout).unwrap() == committed(), "they differ; run `make spec`");
    let site = Site::new();
    site.run(&["openapi", "--check"], "").succeeded();
    site.run(&["openapi", "--check", COMMITTED], "").succeeded();

    let other = site.dir.join("other.json");
    let mut changed = document();
    changed["info"]["title"] = "Other".into();
    std::fs::write(&other, changed.to_string()).unwrap();
    let differs = site.run(&["openapi", "--check", other.to_str().unwrap()], "");
    assert_eq!(differs.code, 1);
    assert!(differs.stderr.contains("other.json") && differs.stderr.contains("make spec"), "{}", differs.stderr);
    std::fs::write(&other, "no JSON").unwrap();
    assert_eq!(site.run(&["openapi", "--check", other.to_str().unwrap()], "").code, 1);
    assert_eq!(site.run(&["openapi", "--check", "/no/such/file"], "").code, 1);
}

#[tokio::test]
async fn the_served_document_is_the_committed_one() {
    let story = Story::begin().await;
    let served = story.client.anonymous().get("/openapi.json").await;
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.json(), document());
    // A program that looks often need not take it often.
    let tag = served.header("etag").unwrap();
    let again = |tag: &str| {
        let request = story.client.anonymous().request("GET", "/openapi.json").header("if-none-match", tag);
        request.body(whole("")).unwrap()
    };
    let known = story.client.send(again(&format!("\"other\", W/{tag}"))).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(tag)));
    assert_eq!(known.header("cache-control"), Some("no-cache"));
    assert_eq!(story.client.send(again("\"other\"")).await.json(), document());
}

/// Whoever opens the gateway's address is shown on: a person to the page, a program to where the API is.
#[tokio::test]
async fn the_door_leads_on() {
    let story = Story::begin().await;
    let visit = async |method: &str, accept: &str| {
        let request = story.client.anonymous().request(method, "/").uri("/").header("accept", accept);
        story.client.send(request.body(whole("")).unwrap()).await
    };
    for method in ["GET", "HEAD"] {
        let browser = visit(method, "text/html,application/xhtml+xml,*/*;q=0.8").await;
        assert_eq!((browser.status, browser.header("location")), (303, Some("/docs")));
    }
    for (method, accept) in [("GET", "*/*"), ("GET", "application/json"), ("POST", "text/html")] {
        let error = visit(method, accept).await.refused(404, "PodmanAPIError");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("/api/v1") && message.contains("/docs"), "{message}");
    }
}

#[test]
fn every_operation_explains_itself() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (at, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at} has no operationId"));
        let is_camel =
            id.starts_with(|c: char| c.is_ascii_lowercase()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(is_camel, "{at}: {id}");
        assert!(ids.insert(id), "{id} is there twice");
        for text in ["summary", "description"] {
            assert!(operation[text].as_str().is_some_and(|text| !text.is_empty()), "{at} has no {text}");
        }
        assert!(operation["tags"].as_array().is_some_and(|tags| !tags.is_empty()), "{at} has no tag");
        let answers = operation["responses"].as_object();
        assert!(answers.is_some_and(|all| all.contains_key("200") || all.contains_key("101")), "{at}");
        for answer in answers.unwrap().values().filter(|answer| answer.get("$ref").is_none()) {
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{at}: {answer}");
            // Of one event, as generators want it.
            let stream = &answer["content"]["text/event-stream"]["schema"];
            assert!(stream.is_null() || stream["$ref"].is_string(), "{at}: {stream}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{at}: {parameter}");
        }
    }
    let known: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let used: BTreeSet<&str> = operations(&document)
        .into_iter()
        .flat_map(|(_, operation)| operation["tags"].as_array().unwrap())
        .map(|tag| tag.as_str().unwrap())
        .collect();
    assert_eq!(known, used);
}

/// Follows references.
fn has_example(document: &Value, value: &Value) -> bool {
    match value {
        Value::Object(object) => {
            if object.contains_key("example") || object.contains_key("examples") {
                return true;
            }
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                let pointed = document.pointer(reference.trim_start_matches('#')).unwrap();
                return has_example(document, pointed);
            }
            object.values().any(|inner| has_example(document, inner))
        }
        Value::Array(items) => items.iter().any(|inner| has_example(document, inner)),
        _ => false,
    }
}

#[test]
fn every_operation_has_an_example() {
    let document = document();
    for (at, operation) in operations(&document) {
        if operation["requestBody"].is_object() {
            assert!(has_example(&document, &operation["requestBody"]), "{at} has no example of a request");
        }
        // What a WebSocket says is no JSON.
        let answer = &operation["responses"]["200"];
        assert!(answer.is_null() || has_example(&document, answer), "{at} has no example of an answer");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_nothing_lies_around() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(found.contains(&format!("#/components/schemas/{name}")), "{name} is used by nothing");
    }
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for (at, operation) in operations(&document) {
        for scheme in operation["security"].as_array().into_iter().flatten() {
            assert!(scheme.as_object().unwrap().keys().all(|name| schemes.contains_key(name)), "{at}: {scheme}");
        }
    }
}

/// Each answer says what headers it may have: generated clients see no others.
#[test]
fn every_answer_has_the_headers_that_all_have() {
    let document = document();
    let mut answers: Vec<(String, &Value)> = Vec::new();
    for (name, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap().iter();
        answers.extend(responses.map(|(status, response)| (format!("{name} {status}"), response)));
    }
    answers
        .extend(document["components"]["responses"].as_object().unwrap().iter().map(|(name, one)| (name.clone(), one)));
    for (name, answer) in answers.iter().filter(|(_, answer)| answer.get("$ref").is_none()) {
        for header in ["X-Request-Id", "RateLimit-Policy", "RateLimit"] {
            assert_eq!(answer["headers"][header]["$ref"], format!("#/components/headers/{header}"), "{name}");
        }
    }
    let retried = |name: &str| !document["components"]["responses"][name]["headers"]["Retry-After"].is_null();
    assert!(["TooManyRequests", "Unavailable", "Conflict"].into_iter().all(retried));
}

#[tokio::test]
async fn the_page_runs_under_a_strict_policy() {
    let story = Story::begin().await;
    let nobody = story.client.anonymous();
    let page = nobody.get("/docs").await;
    assert_eq!(page.status, 200);
    let html = page.text();
    let policy = |answer: &crate::support::Answer| answer.header("content-security-policy").unwrap().to_owned();
    let scripts: Vec<String> = policy(&page)
        .split(';')
        .find_map(|part| part.trim().strip_prefix("script-src ").map(str::to_owned))
        .unwrap()
        .split(' ')
        .map(str::to_owned)
        .collect();
    assert_eq!(scripts, ["'self'"]);
    assert!(!policy(&page).contains("unsafe"), "{}", policy(&page));
    assert!(policy(&page).contains("default-src 'none'") && policy(&page).contains("frame-ancestors 'none'"));
    // Which it keeps: no script, handler or address of another place in the page.
    for element in html.split("<script").skip(1) {
        let (attributes, body) = element.split_once('>').unwrap();
        assert!(attributes.contains("src=\"/docs/"), "{attributes}");
        assert!(body.trim_start().starts_with("</script>"), "an inline script");
    }
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains(" on"), "{html}");
    let mut files = 0;
    for link in html.split(['"']).filter(|text| text.starts_with("/docs/")) {
        let file = nobody.get(link).await;
        assert_eq!((file.status, policy(&file)), (200, policy(&page)), "{link}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert!(!file.body.is_empty());
        files += 1;
    }
    assert!(files >= 4);
    let start = nobody.get("/docs/start.js").await.text();
    assert!(start.contains("/api/v1/openapi.json"), "{start}");
}
