//! The OpenAPI document, served to programs.

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::{Request, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::{Error, Result, Tags, hex};

/// One copy, whoever is slow to take it.
pub struct Specification {
    text: Bytes,
    /// Changes with the text.
    tag: String,
}

impl Specification {
    /// As it is served.
    pub fn new(document: &Value) -> Result<Self> {
        let text = serde_json::to_vec_pretty(document).map_err(Error::internal)?;
        let digest = Sha256::digest(&text);
        let tag = format!("\"{}\"", hex(&digest[..8]));
        Ok(Self { text: text.into(), tag })
    }

    /// The whole of it, or that it is what the client has.
    pub fn answer(&self, request: &Request) -> Response {
        let response = Response::builder().header(header::CACHE_CONTROL, "no-cache").header(header::ETAG, &self.tag);
        let known = request.header(header::IF_NONE_MATCH).and_then(|text| Tags::parse(text).ok());
        if known.is_some_and(|tags| tags.contain(&self.tag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.header(header::CONTENT_TYPE, "application/json").body(self.text.clone())
    }
}
