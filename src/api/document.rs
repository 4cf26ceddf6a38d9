//! The published document: what the typed operations say, mended where the generator falls short.
//!
//! poem-openapi writes OpenAPI 3.0.0 with `; charset=utf-8` in media types, knows no shared responses, does not say
//! that unknown fields are refused, and leaves optional fields of a request without `nullable`, although null and
//! absence mean the same.

use serde_json::{Map, Value, json};

use super::PREFIX;
use super::caller::BEARER;
use super::contract::is_request;
use super::idempotency::{REPLAYED, TakesKey};
use crate::domain::{Error, Result, Scope};

/// A second way to name the same token: what Swagger UI's authorize box and generated clients sign in with.
pub(super) const OAUTH2: &str = "oauth2";
/// A program's key, as it is.
const API_KEY: &str = "apiKeyAuth";

/// Failures that operations share: status, name, when.
const FAILURES: &[(&str, &str, &str, When)] = &[
    ("400", "BadRequest", "The request is wrong; `details` names the fields.", When::Always),
    ("401", "Unauthenticated", "The token is missing, wrong or expired.", When::Secured),
    ("403", "Forbidden", "Known, but not allowed: scope, image or quota.", When::Secured),
    ("404", "NotFound", "Absent, or another tenant's: the same answer.", When::Named),
    ("408", "Timeout", "Podman did not answer in time, or the body did not come.", When::SecuredOrWithBody),
    ("409", "Conflict", "The object's state forbids it.", When::Changing),
    ("413", "TooLarge", "The body is too large.", When::WithBody),
    ("415", "UnsupportedMediaType", "The body is not of the declared type.", When::WithBody),
    ("429", "TooManyRequests", "Slow down; `Retry-After` says for how long.", When::Always),
    ("422", "KeyReused", "The idempotency key was that of another request.", When::Added),
    ("500", "Failure", "Podman or the gateway failed; the log has the cause under the request id.", When::Always),
    ("503", "Unavailable", "Podman, the store or an identity provider is out of reach.", When::Always),
];

#[derive(Clone, Copy)]
enum When {
    Always,
    Secured,
    SecuredOrWithBody,
    Named,
    Changing,
    WithBody,
    /// By whatever brings it about.
    Added,
}

/// The document that the generator wrote, mended.
pub fn mended(generated: &str) -> Result<Value> {
    let mut document: Value = serde_json::from_str(generated).map_err(Error::internal)?;
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([{"url": PREFIX}]);
    document["info"]["description"] = json!(
        "An authenticated, multi-tenant API for containers on one Podman host. Get a token from `POST /auth/token` \
         and send it as `Authorization: Bearer`. Names of containers are per tenant."
    );
    document["info"]["license"] = json!({"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"});
    plain_media_types(&mut document);
    for item in members(&mut document["paths"]) {
        for operation in members(item) {
            mend(operation);
        }
    }
    let schemas = &mut document["components"]["schemas"];
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        if is_request(name) {
            optional_fields_are_nullable(schema);
            schema["additionalProperties"] = json!(false);
        }
        if let Some(Value::Object(example)) = schema.get_mut("example") {
            example.retain(|_, value| !value.is_null());
        }
    }
    schemas["ErrorResponse"] = error_schema();
    document["components"]["responses"] = shared_responses();
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
    Ok(document)
}

fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(Map::values_mut)
}

/// Adds the shared failures to one operation, and the scope it needs.
fn mend(operation: &mut Value) {
    let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
    let with_body = operation.get("requestBody").is_some();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    // A create names an image, which may be absent as well.
    let named = with_body && secured || parameters.into_iter().any(|parameter| parameter["in"] == "path");
    let changing =
        operation["operationId"].as_str().is_some_and(|id| !id.starts_with("get") && !id.starts_with("list"));
    for (status, name, _, when) in FAILURES {
        let applies = match when {
            When::Always => true,
            When::Secured => secured,
            When::SecuredOrWithBody => secured || with_body,
            When::Named => named,
            When::Changing => secured && changing,
            When::WithBody => with_body,
            When::Added => false,
        };
        if applies && operation["responses"].get(status).is_none() {
            operation["responses"][status] = json!({"$ref": format!("#/components/responses/{name}")});
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

fn shared_responses() -> Value {
    let responses = FAILURES.iter().map(|(status, name, description, _)| {
        let code: u16 = status.parse().unwrap_or_default();
        let mut response = json!({
            "description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}},
        });
        match code {
            401 => response["headers"] = json!({"WWW-Authenticate": {"schema": {"type": "string"}}}),
            429 => {
                response["headers"] = json!({"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}})
            }
            _ => {}
        }
        ((*name).to_owned(), response)
    });
    Value::Object(responses.collect())
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "title": "ErrorResponse",
        "description": "Every failure, whatever failed.",
        "required": ["success", "error", "timestamp", "request_id"],
        "properties": {
            "success": {"type": "boolean", "description": "Always false."},
            "error": {
                "type": "object",
                "required": ["message", "code", "type"],
                "properties": {
                    "message": {"type": "string", "description": "For a person."},
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "type": {
                        "type": "string",
                        "description": "For a program.",
                        "enum": [
                            "ValidationError", "AuthenticationError", "PermissionError", "QuotaError",
                            "RateLimitError", "PodmanAPIError", "InternalError",
                        ],
                    },
                    "details": {
                        "type": "array",
                        "description": "The fields at fault.",
                        "items": {
                            "type": "object",
                            "required": ["field", "message"],
                            "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                        },
                    },
                },
            },
            "timestamp": {"type": "string", "description": "RFC 3339, UTC."},
            "request_id": {"type": "string", "description": "The answer's `X-Request-Id`; quote it when you ask for help."},
        },
        "example": {
            "success": false,
            "error": {"message": "no such container", "code": 404, "type": "PodmanAPIError"},
            "timestamp": "2025-01-19T15:47:19.123456Z",
            "request_id": "0b3f6a4d9c5e4c0d8f0a6b1c2d3e4f50",
        },
    })
}

/// Null and absence mean the same in a request.
fn optional_fields_are_nullable(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in schema["properties"].as_object_mut().into_iter().flatten() {
        let is_optional = !required.iter().any(|field| field == name.as_str());
        match property.get_mut("$ref").map(Value::take) {
            Some(reference) if is_optional => *property = json!({"nullable": true, "allOf": [{"$ref": reference}]}),
            Some(reference) => property["$ref"] = reference,
            None if is_optional => property["nullable"] = json!(true),
            None => {}
        }
    }
}

fn plain_media_types(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(content) = object.get_mut("content").and_then(Value::as_object_mut) {
                *content = std::mem::take(content)
                    .into_iter()
                    .map(|(name, media)| (name.replace("; charset=utf-8", ""), media))
                    .collect();
            }
            object.values_mut().for_each(plain_media_types);
        }
        Value::Array(items) => items.iter_mut().for_each(plain_media_types),
        _ => {}
    }
}
