//! Answers as generators and readers like them: each says what it is, headers are spelt as in their RFCs, and a stream has
//! the schema of its events.

use serde_json::{Map, Value, json};

use super::members;

/// A stream's schema is that of its events' data. The generator has an array of them, and what is generated from that takes
/// each event for an array.
pub(super) fn one_event_each(object: &mut Map<String, Value>) {
    if let Some(stream) = object.get_mut("text/event-stream")
        && let Some(event) = stream["schema"].get_mut("items").map(Value::take)
    {
        stream["schema"] = event;
    }
}

/// Says of each answer what it is, in the words of its schema where it has none of its own.
pub(super) fn describe(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for operation in members(&mut document["paths"]).flat_map(members) {
        for response in members(&mut operation["responses"]) {
            let schema = response["content"].as_object().and_then(|content| content.values().next());
            let name = schema.and_then(|media| media["schema"]["$ref"].as_str()?.rsplit('/').next());
            let words = name.map(|name| schemas[name]["description"].clone());
            if response["description"] == ""
                && let Some(words) = words
            {
                response["description"] = words;
            }
            if let Some(Value::Object(headers)) = response.get_mut("headers") {
                *headers = std::mem::take(headers).into_iter().map(spelt).collect::<Map<_, _>>();
            }
        }
    }
}

/// What every answer may carry, failures too: said once, and referred to.
const EVERYWHERE: &[(&str, &str)] = &[
    ("X-Request-Id", "The request; the log has the cause of a failure under it."),
    ("RateLimit-Policy", "The budget this was counted against, its requests `q` in a window of `w` seconds."),
    ("RateLimit", "What is left of that budget: `r` requests, and `t` seconds until there are more."),
];

/// The headers that answers refer to.
pub(super) fn headers() -> Value {
    let header = |(name, description): &(&str, &str)| {
        ((*name).to_owned(), json!({"description": description, "schema": {"type": "string"}}))
    };
    Value::Object(EVERYWHERE.iter().map(header).collect())
}

/// Says of each answer, and of each failure that operations share, what headers it has beside its own.
pub(super) fn carry_headers(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut).flat_map(members);
    for response in operations.flat_map(|operation| members(&mut operation["responses"])) {
        carry(response);
    }
    members(&mut document["components"]["responses"]).for_each(carry);
}

fn carry(response: &mut Value) {
    if response.get("$ref").is_some() {
        return;
    }
    for (name, _) in EVERYWHERE {
        response["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
    }
}

/// The generator shouts headers' names, and says of each that it is not deprecated.
fn spelt((name, mut header): (String, Value)) -> (String, Value) {
    if let Value::Object(header) = &mut header
        && header.get("deprecated") == Some(&Value::Bool(false))
    {
        header.remove("deprecated");
    }
    let capitalised = |part: &str| {
        let mut letters = part.chars();
        letters.next().into_iter().chain(letters.flat_map(|letter| letter.to_lowercase())).collect::<String>()
    };
    let name = match name.as_str() {
        "ETAG" => "ETag".to_owned(),
        name => name.split('-').map(capitalised).collect::<Vec<_>>().join("-"),
    };
    (name, header)
}
