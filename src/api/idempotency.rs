//! Which operations take an `Idempotency-Key`, and what of such a request tells that it is the same one again.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::HeaderMap;
use poem::{Request, RequestBody};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::caller::Recognised;
use super::contract::{Contract, Found};
use super::json;
use super::large::Place;
use crate::domain::{Detail, Error, IdempotencyKey, Principal, Result};
use crate::store::KeyedRequest;

/// The header, in the letters of the document.
pub(super) const HEADER: &str = "Idempotency-Key";
/// Marks an answer that is not this request's own.
pub const REPLAYED: &str = "Idempotency-Replayed";

/// An operation that takes a key.
#[derive(Debug, Clone, Copy)]
pub struct TakesKey {
    operation: &'static str,
    /// What of its answer is kept nowhere: the name of a thing, and of its field.
    pub secret: Option<(&'static str, &'static str)>,
    /// Whether the larger limit of bodies applies.
    carries_file: bool,
}

/// All that creates. A pull is one whoever asks how often; to run a command again is to run it twice.
const OPERATIONS: &[TakesKey] = &[
    plain("createContainer"),
    plain("addContainerUser"),
    TakesKey { carries_file: true, ..plain("addContainerFile") },
    plain("createContainerDirectory"),
    plain("createVolume"),
    TakesKey { secret: Some(("api_key", "key")), ..plain("createApiKey") },
    plain("createAccount"),
    plain("createTenantAccount"),
    plain("createTenant"),
];

const fn plain(operation: &'static str) -> TakesKey {
    TakesKey { operation, secret: None, carries_file: false }
}

impl TakesKey {
    /// Whether the operation of this id is one.
    pub(super) fn of(operation: &str) -> Option<Self> {
        OPERATIONS.iter().find(|one| one.operation == operation).copied()
    }

    /// The header as the document has it.
    pub(super) fn parameter() -> Value {
        json!({
            "in": "header",
            "name": HEADER,
            "required": false,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            "description":
                "Makes it safe to send the request again, say after a lost connection: choose a random key (a UUID) for \
                 each thing to create. A request with a key that succeeded before is answered as it was then, marked \
                 `Idempotency-Replayed: true` and without secrets; while it runs, 409; with another body, 422. What was \
                 refused did nothing and may be tried again. Keys are the caller's own and kept for a day.",
        })
    }
}

/// The header's key, if there is one. `Invalid` if it is none, or there are two.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>> {
    let invalid = |message: String| Error {
        details: vec![Detail { field: HEADER.into(), message }],
        ..Error::invalid(format!("invalid input: {HEADER}"))
    };
    let mut values = headers.get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(invalid("is there twice".into())),
        (Some(value), None) => IdempotencyKey::parse(value.as_bytes()).map(Some).map_err(invalid),
    }
}

/// An operation that takes no key must not let its caller believe otherwise.
pub(super) fn refuse(headers: &HeaderMap) -> Result<()> {
    if !headers.contains_key(HEADER) {
        return Ok(());
    }
    let message = "this operation takes none: what is sent again is done again".to_owned();
    let detail = Detail { field: HEADER.into(), message };
    Err(Error { details: vec![detail], ..Error::invalid(format!("invalid input: {HEADER}")) })
}

/// A body, and its place if it is a large one.
type Whole = (Vec<u8>, Option<Place>);

/// A body that was read before its operation asks for it.
#[derive(Clone)]
pub(super) struct ReadBefore(Arc<Mutex<Option<Whole>>>);

impl ReadBefore {
    pub(super) fn take(&self) -> Option<Whole> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The request's key with all that belongs to it; none where it has no key, or its caller may not do this anyway. Reads
/// the body, which the operation finds again.
pub async fn keyed(request: &mut Request) -> Result<Option<(KeyedRequest, TakesKey)>> {
    let missing = || Error::internal("the idempotency layer stands outside of what it needs");
    let contract: Arc<Contract> = request.extensions().get().cloned().ok_or_else(missing)?;
    let Found::Operation(operation, template) = contract.find(request.method(), request.uri().path()) else {
        return Ok(None);
    };
    let (Some(takes), Some(key)) = (operation.takes_key, key(request.headers())?) else { return Ok(None) };
    let Recognised(who) = request.extensions().get().cloned().ok_or_else(missing)?;
    let Ok(principal) = who.as_ref() else { return Ok(None) };
    if operation.scope.is_some_and(|scope| !principal.scopes.contains(&scope)) {
        return Ok(None);
    }
    let mut body = RequestBody::new(request.take_body());
    let read = json::read(request, &mut body, takes.carries_file).await?;
    let principal_and_key = asker(principal);
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let keyed = KeyedRequest {
        lookup: digest(&[principal_and_key.as_bytes(), template.as_bytes(), key.as_str().as_bytes()]),
        // The key goes in, too: without it, whoever reads the store could try passwords against this digest.
        fingerprint: digest(&[key.as_str().as_bytes(), path.as_bytes(), &read.0]),
        tenant: principal.tenant.clone(),
        principal: principal_and_key,
    };
    request.extensions_mut().insert(ReadBefore(Arc::new(Mutex::new(Some(read)))));
    Ok(Some((keyed, takes)))
}

/// One account, or one API key of it, which may hold less.
fn asker(principal: &Principal) -> String {
    match &principal.key_id {
        Some(key) => format!("{} {key}", principal.account_id),
        None => principal.account_id.clone(),
    }
}

/// SHA-256 of these parts, each with its length: no two lists of parts are the same text.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// The answer as it is kept.
pub fn without_secret(takes: TakesKey, body: &[u8]) -> Result<String> {
    let Some((thing, field)) = takes.secret else {
        return String::from_utf8(body.to_vec()).map_err(Error::internal);
    };
    let mut answer: Value = serde_json::from_slice(body).map_err(Error::internal)?;
    let found = answer.get_mut(thing).and_then(Value::as_object_mut).and_then(|thing| thing.remove(field));
    found.ok_or_else(|| Error::internal(format!("an answer without {thing}.{field}")))?;
    Ok(answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a", b""]));
        assert_eq!(digest(&[b"a", b"b"]), digest(&[b"a", b"b"]));
    }

    #[test]
    fn secrets_are_not_kept() {
        let takes = TakesKey::of("createApiKey").unwrap();
        let body = br#"{"success":true,"api_key":{"id":"x","key":"pgw_secret"}}"#;
        assert_eq!(without_secret(takes, body).unwrap(), r#"{"api_key":{"id":"x"},"success":true}"#);
        assert!(without_secret(takes, br#"{"success":true}"#).is_err(), "the field moved");
        assert!(TakesKey::of("execInContainer").is_none());
    }
}
