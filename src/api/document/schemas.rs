//! Schemas as generators like them: no anonymous objects, closed sets as enumerations, examples that are valid.

use serde_json::{Map, Value, json};

use super::{bounds, each_object};
use crate::api::containers::STATUSES;
use crate::api::contract::is_request;
use crate::domain::{EventKind, PullPolicy, Resource, Role, Scope};

/// What stands in an example for what the generator leaves out of it because it is write-only.
const SECRET: &str = "correct horse battery staple";

/// Mends all schemas, and adds the ones that are shared.
pub(super) fn mend(schemas: &mut Value) {
    let Value::Object(schemas) = schemas else { return };
    schemas.extend(shared());
    schemas.extend(failure());
    let types: Map<String, Value> =
        schemas.iter().map(|(name, schema)| (name.clone(), schema["type"].clone())).collect();
    for (name, schema) in schemas {
        for (property_name, property) in properties(schema) {
            refer(name, property_name, property);
            time(property);
        }
        if is_request(name) {
            schema["additionalProperties"] = json!(false);
            for (property_name, property) in properties(schema) {
                bounds::bound_property(name, property_name, property);
            }
            null_is_absence(schema, &types);
        }
        if let Some(mut example) = schema.get_mut("example").map(Value::take) {
            each_object(&mut example, drop_nulls);
            show_secrets(schema, &mut example);
            schema["example"] = example;
        }
    }
}

/// Closed sets and maps, by the name of their schema: a property's own would be anonymous.
fn shared() -> Map<String, Value> {
    let set =
        |description: &str, values: Vec<&str>| json!({"type": "string", "description": description, "enum": values});
    let sets = [
        ("Role", set("What an account is.", Role::ALL.map(Role::as_str).to_vec())),
        ("Scope", set("What an operation needs.", Scope::ALL.map(Scope::as_str).to_vec())),
        ("Resource", set("What a quota bounds.", Resource::ALL.map(Resource::as_str).to_vec())),
        ("PullPolicy", set("How far to go to get an image.", PullPolicy::ALL.map(PullPolicy::as_str).to_vec())),
        ("ContainerStatus", set("How a container is.", STATUSES.to_vec())),
        ("ContainerEventType", set("What happened to a container.", EventKind::ALL.map(EventKind::as_str).to_vec())),
        ("ContainerChange", set("What was done to a container.", CHANGES.to_vec())),
        ("AuditOutcome", set("How something ended.", vec!["success", "failed", "refused", "unknown"])),
        ("Health", set("Whether work can be done.", vec!["healthy", "unhealthy"])),
        ("PodmanHealth", set("Whether Podman answers.", vec!["connected", "disconnected"])),
    ];
    let map =
        |what: &str, values: Value| json!({"type": "object", "description": what, "additionalProperties": values});
    let maps = [
        ("StringMap", map("Text by name.", json!({"type": "string"}))),
        ("IntegerMap", map("Numbers by name.", json!({"type": "integer", "format": "int64"}))),
    ];
    sets.into_iter().chain(maps).map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Which property is of which closed set: schema (any, if empty), property, set.
const ENUMERATED: &[(&str, &str, &str)] = &[
    ("", "role", "Role"),
    ("", "scopes", "Scope"),
    ("ResourceUsage", "resource", "Resource"),
    ("CreateContainerRequest", "pull", "PullPolicy"),
    ("PullImageRequest", "policy", "PullPolicy"),
    ("ContainerEvent", "type", "ContainerEventType"),
    ("ContainerState", "status", "ContainerChange"),
    ("AuditItem", "outcome", "AuditOutcome"),
    ("HealthResponse", "status", "Health"),
    ("HealthResponse", "podman", "PodmanHealth"),
];

/// What an operation on a container says it did.
const CHANGES: &[&str] = &["started", "stopped", "restarted", "paused", "unpaused", "signalled"];

/// A text that is said to be a time is one, also for generators.
fn time(property: &mut Value) {
    if property["type"] == "string" && property["description"].as_str().is_some_and(|text| text.contains("RFC 3339")) {
        property["format"] = json!("date-time");
    }
}

/// Has a property refer to the named schema that it is, with its own description.
fn refer(schema: &str, name: &str, property: &mut Value) {
    // The generator puts the description into a second, anonymous part.
    if let Some(Value::Array(parts)) = property.get_mut("allOf") {
        parts.retain(|part| part.get("$ref").is_some());
    }
    if let Some(of) = property.get("additionalProperties").and_then(|values| values["type"].as_str()) {
        let map = if of == "string" { "StringMap" } else { "IntegerMap" };
        *property = described(map, property);
        return;
    }
    let of = |(within, of, _): &&(&str, &str, &str)| (within.is_empty() || *within == schema) && *of == name;
    let Some((_, _, set)) = ENUMERATED.iter().find(of) else { return };
    if property["type"] == "array" {
        property["items"] = reference(set);
    } else {
        *property = described(set, property);
    }
}

fn described(schema: &str, property: &Value) -> Value {
    json!({"allOf": [reference(schema)], "description": property["description"]})
}

pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// In a request, null and absence mean the same. OpenAPI 3.0 can say so only beside a type.
fn null_is_absence(schema: &mut Value, types: &Map<String, Value>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in properties(schema) {
        if required.iter().any(|field| field == name.as_str()) {
            continue;
        }
        if let Some(reference) = property["allOf"][0]["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            property["type"] = types.get(name).cloned().unwrap_or_default();
        }
        let nullable = if property.get("oneOf").is_some() { &mut property["oneOf"][0] } else { property };
        nullable["nullable"] = json!(true);
    }
}

fn properties(schema: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
}

fn drop_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
}

fn show_secrets(schema: &Value, example: &mut Value) {
    let Value::Object(example) = example else { return };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = schema["required"].as_array().is_some_and(|required| required.contains(&json!(name)));
        if is_required && property["writeOnly"] == true {
            example.entry(name).or_insert(json!(SECRET));
        }
    }
}

/// What every failure looks like.
fn failure() -> Map<String, Value> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let object = |description: &str, required: &[&str], properties: Value| json!({"type": "object", "description": description, "required": required, "properties": properties});
    let kinds = [
        "ValidationError",
        "AuthenticationError",
        "PermissionError",
        "QuotaError",
        "RateLimitError",
        "PodmanAPIError",
        "InternalError",
    ];
    let mut response = object(
        "Every failure, whatever failed.",
        &["success", "error", "timestamp", "request_id"],
        json!({
            "success": {"type": "boolean", "description": "Always false."},
            "error": reference("ErrorBody"),
            "timestamp": {"type": "string", "format": "date-time", "description": "RFC 3339, UTC."},
            "request_id": text("The answer's `X-Request-Id`; quote it when you ask for help."),
        }),
    );
    response["example"] = json!({
        "success": false,
        "error": {"message": "no such container", "code": 404, "type": "PodmanAPIError"},
        "timestamp": "2025-01-19T15:47:19.123456Z",
        "request_id": "0b3f6a4d9c5e4c0d8f0a6b1c2d3e4f50",
    });
    let body = object(
        "What failed.",
        &["message", "code", "type"],
        json!({
            "message": text("For a person."),
            "code": {"type": "integer", "description": "The HTTP status."},
            "type": reference("ErrorType"),
            "details": {"type": "array", "description": "The fields at fault.", "items": reference("ErrorDetail")},
        }),
    );
    let detail = object(
        "A field at fault.",
        &["field", "message"],
        json!({"field": text("Its name, dotted below the first level."), "message": text("What is wrong with it.")}),
    );
    let mut kind = text("What failed, for a program.");
    kind["enum"] = json!(kinds);
    let schemas = [("ErrorResponse", response), ("ErrorBody", body), ("ErrorDetail", detail), ("ErrorType", kind)];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
