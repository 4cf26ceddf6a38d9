//! Strict JSON bodies: duplicate fields are an error, and everything that is wrong is told at once.
//!
//! poem-openapi's `Json` reads through a map, which drops duplicates, and stops at the first bad field. Here the body
//! is held against the published schema of its type, so that the document and the check cannot differ.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use poem::{Request, RequestBody};
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::caller::Recognised;
use super::contract::Contract;
use super::idempotency::ReadBefore;
use super::large::{LargeBodies, Place};
use crate::domain::{Details, Error, Kind, Result};

/// How large and how slow a body may be.
#[derive(Clone)]
pub struct BodyLimits {
    /// Bytes.
    pub max_bytes: usize,
    /// Bytes of a body that carries a file.
    pub max_file_bytes: usize,
    /// From the first to the last byte.
    pub deadline: Duration,
    /// Bytes of a body that is passed on as it comes.
    pub max_transfer_bytes: u64,
    /// Between two pieces of such a body.
    pub transfer_idle: Duration,
    /// Places for those beyond `max_bytes`.
    pub large: LargeBodies,
}

/// A JSON body of this type, checked against its schema. `FILE`: the larger limit applies, and a large body holds a
/// place as long as this lives.
pub struct Strict<T, const FILE: bool = false>(pub T, pub Option<Place>);

impl<T: Type, const FILE: bool> Payload for Strict<T, FILE> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ParseFromJSON, const FILE: bool> ParsePayload for Strict<T, FILE> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let (bytes, place) = read(request, body, FILE).await?;
        let mut value = parse_unique(&bytes)?;
        drop(bytes);
        let contract = request.extensions().get::<Arc<Contract>>();
        let out_of_bounds = contract.ok_or_else(|| Error::internal("no contract"))?.check(&T::name(), &mut value)?;
        let parsed = match T::parse_from_json(Some(value)) {
            Ok(parsed) => parsed,
            Err(error) => {
                return Err(out_of_bounds
                    .finish()
                    .err()
                    .unwrap_or_else(|| Error::invalid(error.into_message()))
                    .into());
            }
        };
        Ok(Self(parsed, place))
    }
}

impl<'a, T: ParseFromJSON, const FILE: bool> ApiExtractor<'a> for Strict<T, FILE> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: Self::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        <Self as ParsePayload>::from_request(request, body).await
    }
}

/// The whole body, within its limits. Counts bytes; what the headers promise is only a first look.
pub(super) async fn read(request: &Request, body: &mut RequestBody, file: bool) -> Result<(Vec<u8>, Option<Place>)> {
    if let Some(read) = request.extensions().get::<ReadBefore>().and_then(ReadBefore::take) {
        return Ok(read);
    }
    let limits = request.extensions().get::<BodyLimits>().ok_or_else(|| Error::internal("no body limits"))?;
    let promised = request.header("content-length").and_then(|text| text.parse::<usize>().ok());
    // One that does not say how large it is counts as large.
    let is_large = file && promised.is_none_or(|promised| promised > limits.max_bytes);
    let most = if is_large { limits.max_file_bytes } else { limits.max_bytes };
    let too_large = || Error::new(Kind::TooLarge, format!("the body is larger than {most} bytes"));
    if promised.is_some_and(|promised| promised > most) {
        return Err(too_large());
    }
    let place = if is_large { Some(limits.large.enter(sender(request))?) } else { None };
    let body = body.take().map_err(Error::internal)?;
    let reading = tokio::time::timeout(limits.deadline, body.into_bytes_limit(most)).await;
    let slow = |_| Error::new(Kind::SlowBody, "the body did not come in time");
    match reading.map_err(slow)? {
        Ok(bytes) => Ok((bytes.into(), place)),
        Err(poem::error::ReadBodyError::PayloadTooLarge) => Err(too_large()),
        Err(error) => Err(Error::invalid("the body cannot be read").because(error)),
    }
}

/// Whether a body says anything: an empty one does not, and neither does `{}`, which some clients always send.
pub async fn has_body(request: &mut Request) -> Result<bool> {
    let mut body = RequestBody::new(request.take_body());
    let (bytes, _) = read(request, &mut body, false).await?;
    Ok(!matches!(bytes.trim_ascii(), b"" | b"{}"))
}

/// Whose share of the places a body takes: its tenant's, or that of everybody without one.
fn sender(request: &Request) -> &str {
    let recognised = request.extensions().get::<Recognised>().and_then(|found| found.0.as_ref().as_ref().ok());
    recognised.and_then(|principal| principal.tenant.as_ref()).map_or("", |tenant| &tenant.id)
}

/// Most values in one body, however they are nested: what the largest honest request has, several times over. Bounds
/// the memory and time that reading and checking a body can take.
const MOST_VALUES: usize = 4096;

/// JSON in which no object names a field twice (SECURITY rule 1).
fn parse_unique(bytes: &[u8]) -> Result<Value> {
    if bytes.is_empty() {
        return Err(Error::invalid("a JSON body is needed"));
    }
    let seen = Seen { left: Cell::new(MOST_VALUES), twice: Cell::default() };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Unique(&seen).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| {
        let mut wrong = Details::default();
        if let Some(name) = seen.twice.take() {
            wrong.add(name, "is there twice");
        }
        let plain = || Error::invalid(format!("the body is not the JSON it should be: {error}"));
        wrong.finish().err().unwrap_or_else(plain)
    })
}

struct Seen {
    /// How many values more there may be.
    left: Cell<usize>,
    /// The field that was found a second time.
    twice: Cell<Option<String>>,
}

/// Reads one value, and counts it.
#[derive(Clone, Copy)]
struct Unique<'a>(&'a Seen);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.left.get().checked_sub(1);
        self.0.left.set(left.ok_or_else(|| D::Error::custom(format_args!("it has more than {MOST_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self).inspect_err(|_| {
                // From the inside out, the way to it.
                self.0.twice.set(self.0.twice.take().map(|inner| format!("{name}.{inner}")));
            })?;
            if object.contains_key(&name) {
                self.0.twice.set(Some(name));
                return Err(A::Error::custom("a field is there twice"));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_at_any_depth() {
        assert!(parse_unique(br#"{"a": 1, "b": {"c": [1, "x", null, true, 1.5, -1]}}"#).is_ok());
        for bad in [r#"{"a":1,"a":2}"#, r#"{"x":{"a":1,"a":1}}"#, r#"[{"a":1,"\u0061":1}]"#, "", "{", "{}x", "nul"] {
            assert!(parse_unique(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let array = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(parse_unique(array(MOST_VALUES - 1).as_bytes()).is_ok());
        assert!(parse_unique(array(MOST_VALUES).as_bytes()).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(parse_unique(deep.as_bytes()).is_err());
    }
}
