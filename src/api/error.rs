//! From the program's one error to HTTP, and from everything the framework may say to the program's one error.

use std::borrow::Cow;

use poem::Response;
use poem::error::{MethodNotAllowedError, NotFoundError, ResponseError};
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use serde_json::json;

use super::websocket::VERSION;
use crate::domain::{Budget, Detail, Error, Kind, shortened};

/// The status code and the public type of each kind of failure.
pub fn status_and_type(kind: &Kind) -> (StatusCode, &'static str) {
    match kind {
        Kind::Invalid | Kind::Refused | Kind::NoCommand => (StatusCode::BAD_REQUEST, "ValidationError"),
        Kind::NoRoute => (StatusCode::NOT_FOUND, "PodmanAPIError"),
        Kind::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "ValidationError"),
        Kind::SlowBody => (StatusCode::REQUEST_TIMEOUT, "ValidationError"),
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "ValidationError"),
        Kind::UpgradeNeeded => (StatusCode::UPGRADE_REQUIRED, "ValidationError"),
        Kind::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "ValidationError"),
        Kind::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "ValidationError"),
        Kind::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "ValidationError"),
        Kind::Precondition => (StatusCode::PRECONDITION_FAILED, "PodmanAPIError"),
        Kind::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "AuthenticationError"),
        Kind::Forbidden | Kind::NoScope(_) => (StatusCode::FORBIDDEN, "PermissionError"),
        Kind::Quota => (StatusCode::FORBIDDEN, "QuotaError"),
        Kind::RateLimited(_) | Kind::OverBudget(_) => (StatusCode::TOO_MANY_REQUESTS, "RateLimitError"),
        Kind::NotFound | Kind::NoPath => (StatusCode::NOT_FOUND, "PodmanAPIError"),
        Kind::Exists | Kind::Conflict | Kind::Busy | Kind::Unfinished => (StatusCode::CONFLICT, "PodmanAPIError"),
        Kind::EngineTimeout => (StatusCode::REQUEST_TIMEOUT, "PodmanAPIError"),
        Kind::EngineDown | Kind::HostFull | Kind::StoreDown | Kind::IssuerDown => {
            (StatusCode::SERVICE_UNAVAILABLE, "PodmanAPIError")
        }
        Kind::Engine => (StatusCode::INTERNAL_SERVER_ERROR, "PodmanAPIError"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

impl ResponseError for Error {
    fn status(&self) -> StatusCode {
        status_and_type(&self.kind).0
    }
}

/// What an answer's envelope calls its error; for the log and the metrics.
#[derive(Clone, Copy)]
pub struct ErrorType(pub &'static str);

/// What it says is wrong; for those who say it in another form.
#[derive(Clone)]
pub struct ErrorMessage(pub Cow<'static, str>);

/// Seconds after which whatever is out of reach may be back.
pub const RETRY_AFTER: u8 = 5;

/// The envelope, with the headers that the kind of failure asks for.
pub fn respond(error: &Error, request_id: &str, timestamp: &str) -> Response {
    let (status, type_name) = status_and_type(&error.kind);
    let mut body = json!({
        "success": false,
        "error": {"message": shortened(&error.message, MOST_CHARACTERS), "code": status.as_u16(), "type": type_name},
        "timestamp": timestamp,
        "request_id": request_id,
    });
    if !error.details.is_empty() {
        let details = error
            .details
            .iter()
            .map(|Detail { field, message }| json!({"field": field, "message": shortened(message, MOST_CHARACTERS)}));
        body["error"]["details"] = details.collect();
    }
    let mut response = Response::builder().status(status).content_type("application/json").body(body.to_string());
    response.set_data(ErrorType(type_name));
    response.set_data(ErrorMessage(error.message.clone()));
    let of_kind = match &error.kind {
        // RFC 9110, 15.5.22: it says to what.
        Kind::UpgradeNeeded => Some(("upgrade", "websocket".to_owned())),
        Kind::Method(allow) => Some(("allow", allow.clone())),
        Kind::Range(whole) => Some(("content-range", whole.clone())),
        Kind::RateLimited(seconds) => Some(("retry-after", seconds.to_string())),
        Kind::OverBudget(budget) => Some(("retry-after", budget.reset.to_string())),
        Kind::EngineDown | Kind::StoreDown | Kind::IssuerDown => Some(("retry-after", RETRY_AFTER.to_string())),
        Kind::Unfinished => Some(("retry-after", "1".to_owned())),
        // RFC 6750, 3: without credentials the challenge names no error.
        Kind::Unauthenticated("") => Some(("www-authenticate", "Bearer realm=\"podgate\"".to_owned())),
        Kind::Unauthenticated(why) => Some(("www-authenticate", format!("Bearer realm=\"podgate\", error=\"{why}\""))),
        Kind::NoScope(scope) => {
            let why = format!("error=\"insufficient_scope\", scope=\"{}\"", scope.as_str());
            Some(("www-authenticate", format!("Bearer realm=\"podgate\", {why}")))
        }
        _ => None,
    };
    if let Some((name, value)) = of_kind
        && let Ok(value) = value.parse()
    {
        response.headers_mut().insert(name, value);
    }
    match error.kind {
        Kind::OverBudget(budget) => tell_budget(&mut response, budget),
        // RFC 9110, 7.8: `Upgrade` stands there for this connection only (HTTP/2 has none, and leaves both out). RFC 6455,
        // 4.4: which version it would have been.
        Kind::UpgradeNeeded => {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        }
        _ => {}
    }
    response
}

/// Says what is left of a budget (draft-ietf-httpapi-ratelimit-headers), unless a narrower one was told already: the
/// one that turned the request away.
pub fn tell_budget(response: &mut Response, budget: Budget) {
    let Budget { name, quota, window, remaining, reset } = budget;
    let values = [
        ("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")),
        ("ratelimit", format!("\"{name}\";r={remaining};t={reset}")),
    ];
    for (header, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !response.headers().contains_key(header)
        {
            response.headers_mut().insert(header, value);
        }
    }
}

/// Most characters of a message: one may repeat a name, and an answer must not grow with a hostile request.
const MOST_CHARACTERS: usize = 1000;

/// What the framework or a handler reported, as the program's error.
pub fn from_framework(error: poem::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(other) => other,
    };
    if error.is::<NotFoundError>() {
        return no_route();
    }
    if error.is::<MethodNotAllowedError>() {
        return Error::new(Kind::Method("GET, HEAD".into()), "this path takes GET, HEAD");
    }
    if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        return invalid_parameter(name, readable(reason));
    }
    if let Some(ParsePathError { name, reason }) = error.downcast_ref() {
        return invalid_parameter(name, readable(reason));
    }
    if let Some(ParseRequestPayloadError { reason }) = error.downcast_ref() {
        return Error::invalid(reason.clone());
    }
    if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        return Error::new(Kind::MediaType, error.to_string());
    }
    match error.status() {
        StatusCode::BAD_REQUEST => Error::invalid("the request cannot be read").because(error),
        StatusCode::PAYLOAD_TOO_LARGE => Error::new(Kind::TooLarge, "the body is too large"),
        _ => Error::internal(error),
    }
}

/// There is nothing at this path.
pub fn no_route() -> Error {
    Error::new(Kind::NoRoute, "there is no such path")
}

/// A parameter that does not parse.
pub fn invalid_parameter(name: &str, reason: &str) -> Error {
    let detail = Detail { field: name.to_owned(), message: reason.to_owned() };
    Error { details: vec![detail], ..Error::invalid(format!("invalid input: {name}")) }
}

/// The framework's words for a parameter, without what type it wanted: that begins or ends them.
fn readable(reason: &str) -> &str {
    let reason = reason.split_once("\": ").map_or(reason, |(_, rest)| rest);
    reason.split(" (occurred while parsing").next().unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn the_frameworks_words_are_made_readable() {
        let cases = [
            ("failed to parse \"boolean\": must be true, false, 1 or 0", "must be true, false, 1 or 0"),
            ("must be true (occurred while parsing \"optional_boolean\")", "must be true"),
        ];
        for (theirs, ours) in cases {
            assert_eq!(readable(theirs), ours);
        }
    }
}
