//! What clients were generated from stays true: the document against the last one that was published.
//!
//! `openapi/published.json` is that one; `make publish-spec` replaces it. A change that breaks clients needs a version
//! that says so: another major one, or before 1.0 another minor one (semver.org, 4 and 8).

use std::collections::BTreeSet;

use serde_json::{Value, json};

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/published.json");
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/podgate-v1.json");

/// Whether the client writes what a schema describes, or reads it.
#[derive(Clone, Copy, PartialEq)]
enum Client {
    Writes,
    Reads,
}

/// Two documents, and what a client of the old one would stumble over in the new one.
struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    broken: Vec<String>,
}

fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, broken: Vec::new() };
    for (path, item) in members(&old["paths"]) {
        for (method, operation) in members(item) {
            comparison.operation(&format!("{method} {path}"), operation, &new["paths"][path][method]);
        }
    }
    comparison.broken
}

impl Comparison<'_> {
    fn broke(&mut self, at: &str, what: &str) {
        self.broken.push(format!("{at}: {what}"));
    }

    fn operation(&mut self, at: &str, old: &Value, new: &Value) {
        if new.is_null() {
            return self.broke(at, "is gone");
        }
        if old["operationId"] != new["operationId"] {
            self.broke(at, "has another operationId");
        }
        let named = |one: &Value| (one["in"].clone(), one["name"].clone());
        for parameter in items(&old["parameters"]) {
            let at = format!("{at} {}", parameter["name"]);
            match items(&new["parameters"]).iter().find(|one| named(one) == named(parameter)) {
                Some(found) => self.schema(&at, &parameter["schema"], &found["schema"], Client::Writes),
                None => self.broke(&at, "is gone"),
            }
        }
        for parameter in items(&new["parameters"]).iter().filter(|one| one["required"] == true) {
            if !items(&old["parameters"]).iter().any(|one| named(one) == named(parameter)) {
                self.broke(at, &format!("needs {} now", parameter["name"]));
            }
        }
        for (media, content) in members(&old["requestBody"]["content"]) {
            let found = &new["requestBody"]["content"][media]["schema"];
            self.schema(&format!("{at} request"), &content["schema"], found, Client::Writes);
        }
        for (status, response) in members(&old["responses"]).filter(|(status, _)| status.starts_with('2')) {
            for (media, content) in members(&response["content"]) {
                let found = &new["responses"][status]["content"][media]["schema"];
                self.schema(&format!("{at} {status}"), &content["schema"], found, Client::Reads);
            }
        }
    }

    fn schema(&mut self, at: &str, old: &Value, new: &Value, client: Client) {
        let (old, new) = (resolved(self.old, old), resolved(self.new, new));
        if new.is_null() {
            return self.broke(at, "is gone");
        }
        if old["type"] != new["type"] {
            self.broke(at, "is of another type");
        }
        let values = |schema: &Value| -> BTreeSet<String> {
            items(&schema["enum"]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (was, is) = (values(&old), values(&new));
        // None are all there may be.
        let within =
            |some: &BTreeSet<_>, others: &BTreeSet<_>| others.is_empty() || !some.is_empty() && some.is_subset(others);
        let fits = if client == Client::Writes { within(&was, &is) } else { within(&is, &was) };
        if !fits {
            self.broke(at, "has other values");
        }
        for (name, property) in members(&old["properties"]) {
            self.schema(&format!("{at}.{name}"), property, &new["properties"][name], client);
        }
        let required = |schema: &Value| items(&schema["required"]).to_vec();
        for name in required(&new).iter().filter(|_| client == Client::Writes) {
            if !required(&old).contains(name) {
                self.broke(at, &format!("needs {name} now"));
            }
        }
        for name in required(&old).iter().filter(|_| client == Client::Reads) {
            if !required(&new).contains(name) {
                self.broke(at, &format!("may lack {name} now"));
            }
        }
        if !old["items"].is_null() {
            self.schema(&format!("{at}[]"), &old["items"], &new["items"], client);
        }
    }
}

/// The schema that this one is or refers to, also by the detour that gives a reference a description.
fn resolved(document: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str()) {
        Some(reference) => resolved(document, document.pointer(&reference[1..]).unwrap_or(&Value::Null)),
        None => schema.clone(),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Major and minor version; before 1.0, the minor one counts.
fn generation(document: &Value) -> (u32, u32) {
    let version = document["info"]["version"].as_str().unwrap();
    let mut parts = version.split('.').map(|part| part.parse().unwrap());
    let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
    (major, if major == 0 { minor } else { 0 })
}

#[test]
fn no_client_breaks_unless_the_version_says_so() {
    let (published, committed) = (read(PUBLISHED), read(COMMITTED));
    let broken = breaks(&published, &committed);
    assert!(
        broken.is_empty() || generation(&committed) > generation(&published),
        "clients of {} would break: {broken:#?}",
        published["info"]["version"]
    );
}

#[test]
fn what_breaks_clients_is_found() {
    let document = read(COMMITTED);
    assert_eq!(breaks(&document, &document), Vec::<String>::new());
    let changed = |pointer: &str, value: Value| {
        let mut changed = document.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name.replace("~1", "/")] = value;
        breaks(&document, &changed)
    };
    let create = "/components/schemas/CreateContainerRequest";
    let list = "/paths/~1containers/get";
    for (pointer, value) in [
        (list.to_owned(), Value::Null),
        (format!("{list}/operationId"), json!("other")),
        (format!("{list}/parameters"), json!([])),
        (format!("{list}/responses/200/content"), json!({})),
        (format!("{create}/required"), json!(["image", "name", "user"])),
        (format!("{create}/properties/name/type"), json!("integer")),
        (format!("{create}/properties/user"), Value::Null),
        ("/components/schemas/PullPolicy/enum".to_owned(), json!(["never"])),
        (format!("{create}/properties/user/enum"), json!(["root"])),
        ("/components/schemas/ContainerChange/enum".to_owned(), json!(["started", "another"])),
        ("/components/schemas/ContainerChange/enum".to_owned(), json!([])),
        ("/components/schemas/ContainerDetail/required".to_owned(), json!([])),
        ("/components/schemas/ContainerDetail/properties/limits".to_owned(), Value::Null),
    ] {
        assert!(!changed(&pointer, value).is_empty(), "{pointer}");
    }
    for (pointer, value) in [
        (format!("{create}/required"), json!(["image"])),
        (format!("{create}/properties/more"), json!({"type": "string"})),
        ("/components/schemas/PullPolicy/enum".to_owned(), json!(["never", "missing", "always", "another"])),
        ("/components/schemas/ContainerChange/enum".to_owned(), json!(["started", "stopped"])),
        ("/components/schemas/ContainerDetail/properties/status/enum".to_owned(), json!(["running"])),
    ] {
        let mut more = document.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        more.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(breaks(&document, &more), Vec::<String>::new(), "{pointer}");
    }
}
