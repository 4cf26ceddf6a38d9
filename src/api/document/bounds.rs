//! What the types of `domain` take, said in the document: for those who generate forms, clients and attacks from it.
//!
//! Only said here, not enforced: `domain` parses, and has the better words. A story holds both against each other.

use serde_json::{Value, json};

use super::schemas::reference;
use crate::domain::Signal;

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$";
const ACCOUNT: &str = "^[a-z0-9][a-z0-9._@-]{0,62}$";
const SLUG: &str = "^[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?$";
/// Absolute and normalised, without control characters.
const PATH: &str = "^(?:/|(?:/(?!\\.{1,2}(?:/|$))[^/\\x00-\\x1f\\x7f-\\x9f]{1,255})+)$";
/// The same of a file: not the root.
const FILE: &str = "^(?:/(?!\\.{1,2}(?:/|$))[^/\\x00-\\x1f\\x7f-\\x9f]{1,255})+$";
/// No beginning of an id, a registry with its port, components, and a tag or a digest.
const IMAGE: &str = "^(?![0-9a-fA-F]{12,}$)(?:[A-Za-z0-9][A-Za-z0-9-]*(?:\\.[A-Za-z0-9][A-Za-z0-9-]*)*(?::[0-9]{1,5})?/)?\
                     [a-z0-9]+(?:(?:\\.|[_-]+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\\.|[_-]+)[a-z0-9]+)*)*\
                     (?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})?$";
/// The longest that anything is made for: ten years.
const MOST_SECONDS: i64 = 315_360_000;
const MODE: &str = "^0?[0-7]{3,4}$";
/// Numbers that a container has.
const OWNER: &str = "^(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])\
                     (?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$";
/// RFC 4648, section 5, without padding.
const BASE64_URL: &str =
    "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]|[A-Za-z0-9_-]{4})$";
/// RFC 9110, section 13.1.1.
const TAGS: &str = "^(?:\\*|(?:(?:W/)?\"[!#-~]*\"(?:, ?(?:W/)?\"[!#-~]*\")*)?)$";
/// 1 to 65535.
const PORT: &str = "^(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";
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
        ("AddUserRequest", "password") => Some(json!({"pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]{0,128}$"})),
        ("CreateAccountRequest" | "ChangeAccountRequest", "password") | (_, "new_password") => length(8, 1024),
        (_, "dest_path") | ("CreateDirectoryRequest", "path") | ("MoveFileRequest", "source" | "destination") => {
            Some(json!({"pattern": FILE, "maxLength": 4095}))
        }
        (_, "workdir") => Some(json!({"pattern": PATH, "maxLength": 4095})),
        (_, "mode") => pattern(MODE),
        (_, "owner") => pattern(OWNER),
        (_, "user") => pattern(USER),
        (_, "image") => Some(json!({"pattern": IMAGE, "minLength": 1, "maxLength": 255})),
        ("CreateApiKeyRequest", "scopes") | (_, "entrypoint") => Some(json!({"minItems": 1})),
        ("ExecRequest", "timeout") => Some(json!({"minimum": 0.001})),
        ("ExecRequest", "max_output") => Some(json!({"minimum": 1})),
        (_, "overlap") => range(0, 2_592_000),
        (_, "expires_in") => range(1, MOST_SECONDS),
        ("ContainerLimitsRequest", "memory_bytes" | "pids") => Some(json!({"minimum": 1})),
        ("ContainerLimitsRequest", "cpus") => Some(json!({"minimum": 0.01})),
        (_, "name" | "profile") => pattern(NAME),
        _ => None,
    }
}

/// The bounds of a string parameter of an operation.
fn of_parameter(operation: &str, name: &str) -> Option<Value> {
    match (operation, name) {
        ("listAuditEntries", "cursor") => Some(json!({"pattern": "^[0-9]{1,18}\\.[0-9a-f]{64}$"})),
        ("listContainerFiles", "cursor") => Some(json!({"pattern": BASE64_URL, "maxLength": 340})),
        (_, "cursor") => Some(json!({"pattern": "^-?[0-9]{1,18}\\..*$"})),
        (_, "signal") => {
            let names: Vec<&str> = Signal::KNOWN.iter().map(|name| name.trim_start_matches("SIG")).collect();
            Some(json!({"pattern": format!("^(?:SIG)?(?:{})$", names.join("|"))}))
        }
        (_, "port") => Some(json!({"pattern": PORT})),
        (_, "label") => Some(json!({"pattern": "^[!-<>-~]{1,128}=.*$"})),
        ("openTerminal", "user") => Some(json!({"pattern": USER})),
        ("openTerminal", "workdir") => Some(json!({"pattern": PATH, "maxLength": 4095})),
        (_, "since" | "until") => Some(json!({"format": "date-time"})),
        ("getContainerFileContent" | "putContainerFileContent" | "removeContainerFile", "path") => {
            Some(json!({"pattern": FILE, "maxLength": 4095}))
        }
        (_, "path") => Some(json!({"pattern": PATH, "maxLength": 4095})),
        (_, "mode") => Some(json!({"pattern": MODE})),
        (_, "owner") => Some(json!({"pattern": OWNER})),
        (_, "If-Match" | "If-None-Match") => Some(json!({"pattern": TAGS})),
        _ => None,
    }
}

/// The closed set that a string parameter is of.
fn set_of_parameter(name: &str) -> Option<&'static str> {
    match name {
        "status" => Some("ContainerStatus"),
        "outcome" => Some("AuditOutcome"),
        _ => None,
    }
}

/// Says the bounds of a request's property.
pub(super) fn bound_property(schema: &str, name: &str, property: &mut Value) {
    extend(property, of_property(schema, name));
}

/// Says the bounds of an operation's parameters.
pub(super) fn bound_parameters(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let bounds = parameter["name"].as_str().and_then(|name| of_parameter(&id, name));
        let set = parameter["name"].as_str().and_then(set_of_parameter);
        let schema = &mut parameter["schema"];
        if schema["type"] == "array" {
            extend(&mut schema["items"], bounds);
        } else if schema["type"] == "string" {
            extend(schema, bounds);
            if let Some(set) = set {
                *schema = reference(set);
            }
        }
        // The generator says that it is unsigned, in a format of its own, and not what follows from that.
        if schema["format"].as_str().is_some_and(|format| format.starts_with("uint")) && schema["minimum"].is_null() {
            schema["minimum"] = json!(0);
        }
    }
}

fn extend(schema: &mut Value, bounds: Option<Value>) {
    if let (Value::Object(schema), Some(Value::Object(bounds))) = (schema, bounds) {
        schema.extend(bounds);
    }
}
