//! The published document as the gatekeeper: which paths and methods there are, what a query may say, what a body
//! must be. Read once at start from the very text that is served.

use std::collections::{BTreeMap, HashMap, HashSet};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, Validator};
use poem::Request;
use poem::http::Method;
use serde_json::{Map, Value, json};

use super::PREFIX;
use super::document::{ALSO_TAKES, OAUTH2, each_object};
use super::error::no_route;
use super::headers::{self, Conditions};
use super::idempotency::{self, TakesKey};
use super::query::{Parameters, UNLIKE};
use super::websocket::TICKET;
use crate::domain::{Details, Error, Kind, Result, Scope};

/// Where the document is served, below [`PREFIX`].
pub const SPECIFICATION: &str = "/openapi.json";

/// The document, taken apart.
pub struct Contract {
    /// Operations by the number of their path's segments.
    paths: HashMap<usize, Vec<PathItem>>,
    bodies: HashMap<String, Body>,
}

/// The schema of a body.
struct Body {
    validator: Validator,
    fields: HashSet<String>,
}

struct PathItem {
    template: String,
    segments: Vec<Segment>,
    operations: BTreeMap<String, Operation>,
}

enum Segment {
    Fixed(String),
    Parameter,
}

/// What the segments of paths name, one of them.
const KINDS: &[(&str, &str)] = &[
    ("containers", "container"),
    ("volumes", "volume"),
    ("images", "image"),
    ("accounts", "account"),
    ("tenants", "tenant"),
    ("api-keys", "api_key"),
    ("auth", "session"),
    ("password", "account"),
];

/// A schema and all that it refers to, by their names: each validator keeps what it is given.
fn with_what_it_needs<'a>(name: &'a str, schemas: &'a Map<String, Value>) -> Map<String, Value> {
    let (mut needed, mut to_visit) = (Map::new(), vec![name]);
    while let Some(name) = to_visit.pop() {
        if needed.contains_key(name) {
            continue;
        }
        let text = schemas[name].to_string();
        let refers_to = |other: &&String| text.contains(&format!("\"#/components/schemas/{other}\""));
        to_visit.extend(schemas.keys().filter(refers_to).map(String::as_str));
        needed.insert(name.to_owned(), schemas[name].clone());
    }
    needed
}

/// Schemas of request bodies are told by their names.
pub(super) fn is_request(schema: &str) -> bool {
    schema.ends_with("Request")
}

/// One operation, as far as syntax goes.
pub struct Operation {
    /// `operationId`.
    pub id: String,
    /// Whether it is open to everybody.
    pub public: bool,
    /// What its caller has to hold.
    pub scope: Option<Scope>,
    /// Whether it takes an idempotency key.
    pub takes_key: Option<TakesKey>,
    /// Whether it is a WebSocket: it switches protocols.
    pub is_websocket: bool,
    query: Parameters,
    conditions: Conditions,
    body_types: Vec<String>,
}

/// What a method and a path lead to.
pub enum Found<'a> {
    /// An operation, and its path's template for logs and metrics.
    Operation(&'a Operation, &'a str),
    /// A path with other methods: the value of `Allow`.
    OtherMethods(String, &'a str),
    /// Nothing.
    Nothing,
}

impl Contract {
    /// From the document. An error is a bug of ours.
    pub fn new(document: &Value) -> Result<Self> {
        let mut paths: HashMap<usize, Vec<PathItem>> = HashMap::new();
        for (template, item) in document["paths"].as_object().into_iter().flatten() {
            let item = PathItem::read(template, item, document)?;
            paths.entry(item.segments.len()).or_default().push(item);
        }
        // The document does not describe itself.
        let itself = PathItem::read(SPECIFICATION, &json!({"get": {"operationId": "getSpecification"}}), document)?;
        paths.entry(itself.segments.len()).or_default().push(itself);
        let no_schemas = Map::new();
        let schemas = document["components"]["schemas"].as_object().unwrap_or(&no_schemas);
        let mut bodies = HashMap::new();
        for name in schemas.keys().filter(|name| is_request(name)) {
            let mut root = json!({
                "allOf": [{"$ref": format!("#/components/schemas/{name}")}],
                "components": {"schemas": with_what_it_needs(name, schemas)},
            });
            each_object(&mut root, nullable_as_type);
            each_object(&mut root, bounds_of_format);
            // OpenAPI 3.0 schemas are JSON Schema draft 4 but for `nullable`.
            let validator = jsonschema::options().with_draft(Draft::Draft4).build(&root);
            let fields = schemas[name]["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(field, _)| field.clone()).collect();
            bodies.insert(name.clone(), Body { validator: validator.map_err(Error::internal)?, fields });
        }
        Ok(Self { paths, bodies })
    }

    /// What this method and path lead to.
    pub fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let Some(path) = path.strip_prefix(PREFIX) else { return Found::Nothing };
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let items = self.paths.get(&segments.len()).into_iter().flatten();
        let Some(item) = items.into_iter().find(|item| item.matches(&segments)) else { return Found::Nothing };
        match item.operations.get(method.as_str()) {
            Some(operation) => Found::Operation(operation, &item.template),
            None => {
                let mut allow: Vec<&str> = item.operations.keys().map(String::as_str).collect();
                // `middleware::head` makes it of GET.
                if item.operations.get("GET").is_some_and(|get| !get.is_websocket) {
                    allow.push("HEAD");
                }
                Found::OtherMethods(allow.join(", "), &item.template)
            }
        }
    }

    /// What a path is about: the kind of thing that its segments name, and the names in it.
    pub fn object(&self, method: &Method, path: &str) -> (String, Option<String>) {
        let segments: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').skip(1).collect();
        let items = self.paths.get(&segments.len()).into_iter().flatten();
        let item =
            items.into_iter().find(|item| item.matches(&segments) && item.operations.contains_key(method.as_str()));
        let Some(item) = item else { return (String::new(), None) };
        let (mut kind, mut names) = ("", Vec::new());
        for (segment, part) in item.segments.iter().zip(segments) {
            match segment {
                Segment::Fixed(text) => {
                    kind = KINDS.iter().find(|(plural, _)| plural == text).map_or(kind, |(_, one)| one)
                }
                Segment::Parameter => {
                    names.push(percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned());
                }
            }
        }
        (kind.to_owned(), Some(names.join("/")).filter(|name| !name.is_empty()))
    }

    /// Holds a body against the schema of that name and tells all that is wrong with it. Values are not repeated:
    /// one may be a password. Takes its fields that are null away: that and absence mean the same, as many generated
    /// clients send null for what was not set.
    ///
    /// Returns what is out of bounds: `domain` parses these fields and has the better words, unless their type cannot
    /// even hold what was sent. What only patterns and lengths speak against is told where more is wrong, for then
    /// `domain` is not asked.
    pub fn check(&self, schema: &str, body: &mut Value) -> Result<Details> {
        let Body { validator, fields } =
            self.bodies.get(schema).ok_or_else(|| Error::internal(format!("no schema {schema}")))?;
        if let Value::Object(body) = body {
            body.retain(|name, value| !(value.is_null() && fields.contains(name)));
        }
        let (mut wrong, mut out_of_bounds, mut unlike) = (Details::default(), Details::default(), Details::default());
        for error in validator.iter_errors(body) {
            if wrong.is_full() {
                break;
            }
            let path = error.instance_path().to_string();
            let at = path.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
            let within = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            match error.kind() {
                ValidationErrorKind::Required { property } => {
                    wrong.add(within(property.as_str().unwrap_or_default()), "is missing");
                }
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    for name in unexpected {
                        wrong.add(within(name), "is not a field of this request");
                    }
                }
                ValidationErrorKind::Type { kind } => wrong.add(field(&at), expected(kind)),
                ValidationErrorKind::Enum { options } => {
                    let names = options.as_array().into_iter().flatten().filter_map(Value::as_str);
                    // Of an array, the whole field is to blame, as where `domain` parses it.
                    let at = at.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.');
                    wrong.add(field(at), format!("must be one of {}", Vec::from_iter(names).join(", ")));
                }
                ValidationErrorKind::Minimum { limit } => {
                    out_of_bounds.add(field(&at), format!("must be at least {limit}"))
                }
                ValidationErrorKind::Maximum { limit } => {
                    out_of_bounds.add(field(&at), format!("must be at most {limit}"))
                }
                ValidationErrorKind::Pattern { .. }
                | ValidationErrorKind::MinLength { .. }
                | ValidationErrorKind::MaxLength { .. } => unlike.add(field(&at), UNLIKE),
                ValidationErrorKind::MinItems { .. } => wrong.add(field(&at), "must not be empty"),
                ValidationErrorKind::OneOfNotValid { .. } => {
                    wrong.add(field(&at), "must be a string or an array of strings, and not empty");
                }
                _ => wrong.add(field(&at), error.masked().to_string()),
            }
        }
        if wrong.is_empty() { Ok(out_of_bounds) } else { Err(wrong.with(out_of_bounds).with(unlike).into_error()) }
    }
}

fn field(at: &str) -> String {
    if at.is_empty() { "(body)".to_owned() } else { at.to_owned() }
}

fn expected(kind: &TypeKind) -> String {
    let name = |kind: &jsonschema::JsonType| kind.to_string();
    match kind {
        TypeKind::Single(kind) => format!("must be of type {}", name(kind)),
        TypeKind::Multiple(kinds) => {
            let names: Vec<String> = kinds.iter().map(|kind| name(&kind)).filter(|kind| kind != "null").collect();
            format!("must be of type {}", names.join(" or "))
        }
    }
}

impl PathItem {
    fn read(template: &str, item: &Value, document: &Value) -> Result<Self> {
        let segment = |text: &str| {
            if text.starts_with('{') { Segment::Parameter } else { Segment::Fixed(text.to_owned()) }
        };
        let operations = item.as_object().into_iter().flatten();
        let read = |(method, operation): (&String, &Value)| {
            Ok((method.to_ascii_uppercase(), Operation::read(operation, document)?))
        };
        Ok(Self {
            template: format!("{PREFIX}{template}"),
            segments: template.split('/').skip(1).map(segment).collect(),
            operations: operations.map(read).collect::<Result<_>>()?,
        })
    }

    fn matches(&self, path: &[&str]) -> bool {
        self.segments.iter().zip(path).all(|(segment, part)| match segment {
            Segment::Fixed(text) => text == part,
            Segment::Parameter => !part.is_empty(),
        })
    }
}

impl Operation {
    fn read(operation: &Value, document: &Value) -> Result<Self> {
        let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
        let scopes =
            operation["security"].as_array().into_iter().flatten().filter_map(|scheme| scheme[OAUTH2].as_array());
        let scope = scopes.flatten().filter_map(|scope| scope.as_str()?.parse().ok()).next();
        let id = operation["operationId"].as_str().unwrap_or_default();
        let beside = operation[ALSO_TAKES].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_websocket = operation["responses"].get("101").is_some();
        Ok(Self {
            id: id.to_owned(),
            takes_key: TakesKey::of(id),
            scope,
            public: operation["security"].as_array().is_none_or(Vec::is_empty),
            is_websocket,
            query: Parameters::read(operation, document, is_websocket.then_some(TICKET))?,
            conditions: Conditions::read(operation),
            body_types: content.map(|(media_type, _)| media_type.as_str()).chain(beside).map(str::to_owned).collect(),
        })
    }

    /// Whether it takes a body.
    pub fn takes_body(&self) -> bool {
        !self.body_types.is_empty()
    }

    /// What is said of a body where none is taken: whoever sent one may have meant the query.
    pub fn no_body(&self) -> Error {
        let names: Vec<String> = self.query.names().map(|name| format!("?{name}=")).collect();
        Error::invalid(match &names[..] {
            [] => "this operation takes no body".to_owned(),
            names => format!("this operation takes no body; its parameters are in the query: {}", names.join(", ")),
        })
    }

    /// The syntax that is the same for everybody: the query, the headers that mean something, and the body's type.
    pub fn check(&self, request: &Request) -> Result<()> {
        self.query.check(request.uri().query().unwrap_or_default())?;
        // The other methods may be sent again without a key.
        if self.takes_key.is_some() {
            idempotency::key(request.headers())?;
        } else if request.method() == Method::POST {
            idempotency::refuse(request.headers())?;
        }
        self.conditions.check(request)?;
        if !self.takes_body() {
            return Ok(());
        }
        headers::check_body(request, &self.body_types)
    }
}

/// The path's answer when no operation was found.
pub fn refusal(found: &Found<'_>) -> Option<Error> {
    match found {
        Found::Operation(..) => None,
        Found::OtherMethods(allow, _) => {
            Some(Error::new(Kind::Method(allow.clone()), format!("this path takes {allow}")))
        }
        Found::Nothing => Some(no_route()),
    }
}

/// Gives integers the bounds that their format implies: draft 4 knows no formats of numbers.
fn bounds_of_format(object: &mut Map<String, Value>) {
    let bounds = match object.get("format").and_then(Value::as_str) {
        Some("int64") => Some((json!(i64::MIN), json!(i64::MAX))),
        Some("int32") => Some((json!(i32::MIN), json!(i32::MAX))),
        _ => None,
    };
    if let Some((least, most)) = bounds {
        object.entry("minimum").or_insert(least);
        object.entry("maximum").or_insert(most);
    }
}

/// Turns `nullable: true` into what draft 4 says instead.
fn nullable_as_type(object: &mut Map<String, Value>) {
    if object.remove("nullable") != Some(Value::Bool(true)) {
        return;
    }
    if let Some(Value::String(one)) = object.get("type").cloned() {
        object.insert("type".into(), json!([one, "null"]));
    }
    if let Some(Value::Array(choices)) = object.get_mut("oneOf") {
        choices.push(json!({"type": "null"}));
    }
}
