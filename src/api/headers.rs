//! Headers that change what a request means. Whoever sends one to an operation that does not read it is told: their
//! request would do something else than they believe.

use poem::Request;
use poem::http::{HeaderMap, Method};
use serde_json::Value;

use crate::domain::{Details, Error, Kind, Result};

/// What makes a change depend on what is there now (RFC 9110, 13.1), in the letters of the document. `If-Modified-Since`
/// is none: the RFC has it ignored where something is changed.
const CONDITIONS: &[&str] = &["If-Match", "If-None-Match", "If-Unmodified-Since"];

/// Of the conditions, those that the document says an operation takes.
pub(super) struct Conditions(Vec<&'static str>);

impl Conditions {
    /// Those of an operation.
    pub fn read(operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let headers = parameters.filter(|parameter| parameter["in"] == "header");
        let names: Vec<&str> = headers.filter_map(|header| header["name"].as_str()).collect();
        let is_taken = |name: &&'static str| names.iter().any(|taken| taken.eq_ignore_ascii_case(name));
        Self(CONDITIONS.iter().copied().filter(is_taken).collect())
    }

    /// Refuses the others where something would be changed.
    pub fn check(&self, request: &Request) -> Result<()> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        let mut wrong = Details::default();
        for name in CONDITIONS.iter().filter(|name| request.headers().contains_key(**name)) {
            match &*self.0 {
                taken if taken.contains(name) => {}
                [] => wrong.add(name, "this operation takes no conditions"),
                taken => wrong.add(name, format!("this operation takes {} and no other condition", taken.join(", "))),
            }
        }
        wrong.finish()
    }
}

/// That a body is all of it, as it is, and of one of these types.
pub(super) fn check_body(request: &Request, types: &[String]) -> Result<()> {
    refuse_part(request.headers())?;
    if let Some(encoding) = request.header("content-encoding")
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(Error::new(Kind::MediaType, "encoded bodies are not taken"));
    }
    let given = request.content_type().unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !charsets(given).all(|name| name.eq_ignore_ascii_case("utf-8")) {
        return Err(Error::new(Kind::MediaType, "text is taken in UTF-8 only"));
    }
    if types.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    Err(Error::new(Kind::MediaType, format!("this operation takes a body of type {}", types.join(" or "))))
}

/// RFC 9110, 14.5: taken for the whole, a part of a file would take the file's place.
fn refuse_part(headers: &HeaderMap) -> Result<()> {
    let mut wrong = Details::default();
    if headers.contains_key("content-range") {
        wrong.add("Content-Range", "a part is not taken; send the whole");
    }
    wrong.finish()
}

/// The encodings that a `Content-Type` claims.
fn charsets(content_type: &str) -> impl Iterator<Item = &str> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let named = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    named.map(|(_, value)| value.trim().trim_matches('"'))
}
