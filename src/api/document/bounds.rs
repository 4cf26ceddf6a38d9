//! What the types of `domain` take, said in the document: for those who generate forms, clients and attacks from it.
//!
//! Only said here, not enforced: `domain` parses, and has the better words. A story holds both against each other.

use serde_json::{Value, json};

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$";
const ACCOUNT: &str = "^[a-z0-9][a-z0-9._@-]{0,62}$";
const SLUG: &str = "^[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?$";
/// Absolute, without control characters.
const PATH: &str = "^/[^\\x00-\\x1f\\x7f]*$";
const USER: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$";

/// The bounds of a property of a request: schema (any, if empty), property, keywords.
fn of_property(schema: &str, name: &str) -> Option<Value> {
    let pattern = |pattern: &str| Some(json!({"pattern": pattern}));
    let length = |least: u32, most: u32| Some(json!({"minLength": least, "maxLength": most}));
    let range = |least: i64, most: i64| Some(json!({"minimum": least, "maximum": most}));
    match (schema, name) {
        ("CreateAccountRequest", "name") => pattern(ACCOUNT),
        ("CreateTenantRequest", "slug") => pattern(SLUG),
        ("AddUserRequest", "username") => pattern("^[a-z_][a-z0-9_-]{0,31}$"),
        ("AddUserRequest", "shell") => pattern("^/[A-Za-z0-9._/-]{1,128}$"),
        ("AddUserRequest", "password") => Some(json!({"pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]{1,128}$"})),
        ("CreateAccountRequest" | "ChangeAccountRequest", "password") | (_, "new_password") => length(8, 1024),
        (_, "dest_path" | "workdir") => Some(json!({"pattern": PATH, "maxLength": 4096})),
        (_, "user") => pattern(USER),
        (_, "image") => length(1, 512),
        (_, "overlap") => range(0, 2_592_000),
        (_, "expires_in") => range(1, i64::from(u32::MAX)),
        ("ContainerLimitsRequest", "memory_bytes" | "pids") => Some(json!({"minimum": 1})),
        ("ContainerLimitsRequest", "cpus") => Some(json!({"minimum": 0.01})),
        (_, "name" | "profile") => pattern(NAME),
        _ => None,
    }
}

/// The bounds of a parameter.
fn of_parameter(name: &str) -> Option<Value> {
    match name {
        "status" => Some(json!({"pattern": "^[a-z]{1,32}$"})),
        "cursor" => Some(json!({"pattern": "^-?[0-9]{1,18}\\..*$"})),
        "signal" => Some(json!({"pattern": "^(?:SIG)?[A-Z0-9+]{1,10}$"})),
        _ => None,
    }
}

/// Says the bounds of a request's property.
pub(super) fn bound_property(schema: &str, name: &str, property: &mut Value) {
    extend(property, of_property(schema, name));
}

/// Says the bounds of an operation's parameters.
pub(super) fn bound_parameters(operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let bounds = parameter["name"].as_str().and_then(of_parameter);
        extend(&mut parameter["schema"], bounds);
    }
}

fn extend(schema: &mut Value, bounds: Option<Value>) {
    if let (Value::Object(schema), Some(Value::Object(bounds))) = (schema, bounds) {
        schema.extend(bounds);
    }
}
