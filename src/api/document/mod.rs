//! The published document: what the typed operations say, mended where the generator falls short.
//!
//! poem-openapi writes OpenAPI 3.0.0 with `; charset=utf-8` in media types, knows no shared responses and no scopes
//! beside OAuth2's, does not say that unknown fields are refused, and leaves out of an example what is write-only.
//! Generated clients are the measure: what a generator stumbles over is mended here ([`schemas`], [`answers`]).

mod answers;
mod bounds;
mod failures;
mod schemas;

use serde_json::{Map, Value, json};

use super::PREFIX;
use super::caller::BEARER;
use super::idempotency::{REPLAYED, TakesKey};
use super::websocket::TICKET;
use crate::domain::{Error, Result, Scope};
use failures::{FAILURES, When};

/// A second way to name the same token: what Swagger UI's authorize box and generated clients sign in with.
pub(super) const OAUTH2: &str = "oauth2";
/// A ticket in the place of a token, for WebSockets.
const TICKET_SCHEME: &str = "ticket";
/// A program's key, as it is.
const API_KEY: &str = "apiKeyAuth";

/// The document that the generator wrote, mended.
pub fn mended(generated: &str) -> Result<Value> {
    let mut document: Value = serde_json::from_str(generated).map_err(Error::internal)?;
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([
        {"url": PREFIX, "description": "The gateway that serves this document."},
        {
            "url": format!("{{scheme}}://{{host}}{PREFIX}"),
            "description": "Any gateway.",
            "variables": {
                "scheme": {"default": "https", "enum": ["https", "http"], "description": "http on loopback only."},
                "host": {"default": "localhost:8443", "description": "Host and port."},
            },
        },
    ]);
    document["info"]["contact"] = json!({"name": "The Podgate developers"});
    document["info"]["description"] = json!(include_str!("description.md").trim_end());
    document["info"]["license"] = json!({"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"});
    each_object(&mut document, plain_media_types);
    each_object(&mut document["paths"], example_of_bytes);
    each_object(&mut document["paths"], answers::one_event_each);
    for item in members(&mut document["paths"]) {
        members(item).for_each(one_body_type);
    }
    for item in members(&mut document["paths"]) {
        for operation in members(item) {
            bounds::bound_parameters(operation);
            mend(operation);
        }
    }
    document["components"]["schemas"]["HealthFailure"] = json!({
        "description": "What failed: Podman, or the request.",
        "oneOf": [
            {"$ref": "#/components/schemas/HealthResponse"},
            {"$ref": "#/components/schemas/ErrorResponse"},
        ],
    });
    schemas::mend(&mut document["components"]["schemas"]);
    answers::describe(&mut document);
    document["components"]["responses"] = failures::responses();
    document["components"]["headers"] = answers::headers();
    answers::carry_headers(&mut document);
    drop_unused(&mut document);
    let token_url = format!("{PREFIX}/auth/token");
    let scopes: Map<String, Value> =
        Scope::ALL.iter().map(|scope| (scope.as_str().to_owned(), json!(scope.meaning()))).collect();
    document["components"]["securitySchemes"][OAUTH2] = json!({
        "type": "oauth2",
        "description": "A person signs in with name (`tenant/name`) and password, a program with the id and secret of \
                        an API key.",
        "flows": {
            "password": {"tokenUrl": token_url, "refreshUrl": token_url, "scopes": scopes},
            "clientCredentials": {"tokenUrl": token_url, "scopes": scopes},
        },
    });
    document["components"]["securitySchemes"][API_KEY] = json!({
        "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key from `POST /api-keys`.",
    });
    document["components"]["securitySchemes"][TICKET_SCHEME] = json!({
        "type": "apiKey", "in": "query", "name": TICKET,
        "description": "A ticket from `POST /auth/tickets`: good once, for 30 seconds, for one path. Browsers can send \
                        nothing else when they open a WebSocket.",
    });
    Ok(document)
}

/// Changes every object in a value, each before what is in it.
pub(super) fn each_object(value: &mut Value, change: fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|inner| each_object(inner, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        _ => {}
    }
}

fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(Map::values_mut)
}

/// What an operation takes beside JSON, by the extension that says so.
pub(super) const ALSO_TAKES: &str = "x-also-takes";

/// Generators know one type of body an operation. Of the token endpoint, that is JSON: OAuth2 forms and their errors
/// are what the security scheme is about, and its libraries know them.
///
/// And they know no archives: one is bytes to them.
fn one_body_type(operation: &mut Value) {
    let content = operation.get_mut("requestBody").and_then(|body| body["content"].as_object_mut());
    let Some(content) = content else { return };
    if let Some(archive) = content.remove("application/x-tar") {
        content.insert("application/octet-stream".to_owned(), archive);
        operation[ALSO_TAKES] = json!(["application/x-tar"]);
        return;
    }
    if content.len() < 2 {
        return;
    }
    let json = content.remove("application/json");
    let others: Vec<String> = std::mem::take(content).into_iter().map(|(name, _)| name).collect();
    content.extend(json.map(|json| ("application/json".to_owned(), json)));
    operation[ALSO_TAKES] = json!(others);
    if let Value::Object(responses) = &mut operation["responses"] {
        responses.retain(|status, _| status == "200");
    }
}

const OF_RUNNING: &[&str] = &["getContainerStats", "listContainerProcesses"];

/// Operations that read files: of something else, or from where a path leads in a circle.
const OF_FILES: &[&str] =
    &["listContainerFiles", "getContainerFileInfo", "getContainerFileContent", "getContainerArchive"];

/// Adds the shared failures to one operation, and the scope it needs.
fn mend(operation: &mut Value) {
    let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
    let with_body = operation.get("requestBody").is_some();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    // A create names an image, which may be absent as well.
    let named = with_body && secured || parameters.into_iter().any(|parameter| parameter["in"] == "path");
    let headers: Vec<String> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "header")
        .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
        .collect();
    let id = operation["operationId"].as_str().unwrap_or_default();
    // What reads a running container conflicts with one that does not run, and what reads a file with a directory.
    let reads = OF_RUNNING.contains(&id) || OF_FILES.contains(&id);
    let changing = reads || !id.starts_with("get") && !id.starts_with("list");
    let is_websocket = operation["responses"].get("101").is_some();
    // Generators want one type for all failures of an operation; an unhealthy gateway says so in its own words.
    let has_failure_of_its_own = operation["operationId"] == "getHealth";
    for (status, name, description, when) in FAILURES {
        let applies = match when {
            When::Always => true,
            When::Secured => secured,
            When::SecuredOrWithBody => secured || with_body,
            When::SecuredOrSignIn => secured || operation["operationId"] == "createToken",
            When::Named => named,
            When::Changing => secured && changing,
            When::WithBody => with_body,
            When::Switching => is_websocket,
            When::With(wanted) => headers.iter().any(|header| header.eq_ignore_ascii_case(wanted)),
            When::Added => false,
        };
        if !applies {
            continue;
        }
        let response = &mut operation["responses"][status];
        if has_failure_of_its_own {
            *response = failures::of_schema(description, "HealthFailure");
        } else if response.is_null() {
            *response = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
    if operation["operationId"].as_str().and_then(TakesKey::of).is_some() {
        takes_key(operation);
    }
    if secured {
        let scheme = operation["security"][0].as_object().and_then(|scheme| scheme.keys().next()).cloned();
        let scope = scheme.as_deref().and_then(|scheme| scheme.split_once(' ')).map(|(_, scope)| scope);
        if let Some(scope) = scope {
            let description = operation["description"].as_str().unwrap_or_default();
            operation["description"] = json!(format!("{description}\n\nNeeds the scope `{scope}`.").trim_start());
        }
        // Only OAuth2 has scopes in OpenAPI 3.0.
        operation["security"] = json!([{BEARER: []}, {OAUTH2: Vec::from_iter(scope)}, {API_KEY: []}]);
        if is_websocket && let Some(schemes) = operation["security"].as_array_mut() {
            schemes.push(json!({TICKET_SCHEME: []}));
        }
    } else {
        operation["security"] = json!([]);
    }
}

/// Adds the header that makes an operation safe to send again, and what follows from it.
fn takes_key(operation: &mut Value) {
    if !operation["parameters"].is_array() {
        operation["parameters"] = json!([]);
    }
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(TakesKey::parameter());
    }
    operation["responses"]["422"] = json!({"$ref": "#/components/responses/KeyReused"});
    operation["responses"]["200"]["headers"][REPLAYED] = json!({
        "schema": {"type": "string", "enum": ["true"]},
        "description": "There where the answer is that of an earlier request with the same key.",
    });
}

/// Takes schemas away that nothing refers to.
fn drop_unused(document: &mut Value) {
    let text = document.to_string();
    if let Value::Object(schemas) = &mut document["components"]["schemas"] {
        schemas.retain(|name, _| text.contains(&format!("#/components/schemas/{name}\"")));
    }
}

/// What is no JSON has no type that could bring an example.
fn example_of_bytes(object: &mut Map<String, Value>) {
    for (media, example) in [("application/octet-stream", "hello\n"), ("application/x-tar", "(a tar archive)")] {
        if let Some(Value::Object(content)) = object.get_mut(media) {
            content.entry("example").or_insert_with(|| json!(example));
        }
    }
}

fn plain_media_types(object: &mut Map<String, Value>) {
    if let Some(content) = object.get_mut("content").and_then(Value::as_object_mut) {
        *content = std::mem::take(content)
            .into_iter()
            .map(|(name, media)| (name.replace("; charset=utf-8", ""), media))
            .collect();
    }
}
