//! What every operation may answer when it fails: one error, by status.

use serde_json::{Value, json};

/// Failures that operations share: status, name, when.
pub(super) const FAILURES: &[(&str, &str, &str, When)] = &[
    ("400", "BadRequest", "The request is wrong; `details` names the fields.", When::Always),
    (
        "401",
        "Unauthenticated",
        "The token, or the name and password, are missing, wrong or expired.",
        When::SecuredOrSignIn,
    ),
    ("403", "Forbidden", "Known, but not allowed: scope, image or quota.", When::Secured),
    ("404", "NotFound", "Absent, or another tenant's: the same answer.", When::Named),
    ("408", "Timeout", "Podman did not answer in time, or the body did not come.", When::SecuredOrWithBody),
    ("409", "Conflict", "The object's state forbids it.", When::Changing),
    ("412", "PreconditionFailed", "It is not as `If-Match` or `If-None-Match` has it.", When::With("If-Match")),
    ("416", "NotThere", "Nothing is where `Range` asks for it; `Content-Range` has the size.", When::With("Range")),
    ("413", "TooLarge", "The body is too large.", When::WithBody),
    ("415", "UnsupportedMediaType", "The body is not of the declared type.", When::WithBody),
    ("426", "UpgradeRequired", "This is a WebSocket, and the request no handshake.", When::Switching),
    ("429", "TooManyRequests", "Slow down; `Retry-After` says for how long.", When::Always),
    ("422", "KeyReused", "The idempotency key was that of another request.", When::Added),
    ("500", "Failure", "Podman or the gateway failed; the log has the cause under the request id.", When::Always),
    ("503", "Unavailable", "Podman, the store or an identity provider is out of reach.", When::Always),
];

/// Which operations may fail so.
#[derive(Clone, Copy)]
pub(super) enum When {
    Always,
    Secured,
    SecuredOrWithBody,
    /// What needs a token, and what gives one.
    SecuredOrSignIn,
    Named,
    Changing,
    WithBody,
    /// A WebSocket.
    Switching,
    /// Those that take this header.
    With(&'static str),
    /// By whatever brings it about.
    Added,
}

/// The responses that operations refer to.
pub(super) fn responses() -> Value {
    let responses = FAILURES.iter().map(|(status, name, description, _)| {
        let code: u16 = status.parse().unwrap_or_default();
        let mut response = of_schema(description, "ErrorResponse");
        let header = |kind: &str, description: &str| json!({"schema": {"type": kind}, "description": description});
        let headers = &mut response["headers"];
        match code {
            401 => headers["WWW-Authenticate"] = header("string", "`Bearer`, and why a token was not taken."),
            403 => {
                headers["WWW-Authenticate"] =
                    header("string", "`Bearer`, and the scope that a token needs, if that was it.")
            }
            416 => headers["Content-Range"] = header("string", "How long the file is: `bytes */1024`."),
            426 => {
                headers["Upgrade"] = header("string", "`websocket`.");
                headers["Sec-WebSocket-Version"] = header("string", "`13`.");
            }
            409 => {
                headers["Retry-After"] = header("integer", "Seconds, where the same request, sent before, still runs.")
            }
            429 | 503 => headers["Retry-After"] = header("integer", "Seconds."),
            _ => {}
        }
        ((*name).to_owned(), response)
    });
    Value::Object(responses.collect())
}

/// A failure whose body is of this schema.
pub(super) fn of_schema(description: &str, schema: &str) -> Value {
    let reference = format!("#/components/schemas/{schema}");
    json!({"description": description, "content": {"application/json": {"schema": {"$ref": reference}}}})
}
