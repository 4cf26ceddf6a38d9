//! The one error of the program: what the caller may read, and what only the log may.

use std::borrow::Cow;
use std::fmt;

/// Result with the program's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and so on whose side: the caller's, Podman's, or ours.
///
/// `api::error` maps each to a status code and a public type, exhaustively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong, whoever sends it.
    Invalid,
    /// No operation at this path.
    NoRoute,
    /// The path exists, the method does not; holds the value of `Allow`.
    Method(String),
    /// The request's body came too slowly.
    SlowBody,
    /// The body is larger than the operation takes.
    TooLarge,
    /// The body is not of the operation's declared type.
    MediaType,
    /// Nobody, or nobody we believe; holds the reason for `WWW-Authenticate`.
    Unauthenticated(&'static str),
    /// A known principal that may not do this.
    Forbidden,
    /// Too many requests; seconds until one may pass.
    RateLimited(u64),
    /// The object does not exist, or is another tenant's: the same answer.
    NotFound,
    /// A path inside a container does not exist.
    NoPath,
    /// Such an object exists already, under our own name for it.
    Exists,
    /// The object's state forbids it.
    Conflict,
    /// The command that was to run is not in the container.
    NoCommand,
    /// Podman refused what the request asked for, and the request is to blame.
    Refused,
    /// Podman did not answer within the operation's deadline.
    EngineTimeout,
    /// Podman cannot be reached.
    EngineDown,
    /// Podman failed for reasons of its own.
    Engine,
    /// The store cannot be reached or is too busy.
    StoreDown,
    /// A bug of ours.
    Internal,
}

/// One field that is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Name of the field or parameter, dotted below the first level.
    pub field: String,
    /// What is wrong with it, for a person.
    pub message: String,
}

/// A failure with a message for the caller and a cause for the log.
pub struct Error {
    /// The class of the failure.
    pub kind: Kind,
    /// Shown to the caller: from a fixed catalogue, or built from the caller's own input.
    pub message: Cow<'static, str>,
    /// The fields at fault, if any.
    pub details: Vec<Detail>,
    /// Logged under the request id, never shown (SECURITY rule 24).
    pub cause: Option<String>,
}

impl Error {
    /// An error of `kind` with its public message.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), details: Vec::new(), cause: None }
    }

    /// Bad input, told in one sentence.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The uniform answer for a container that is absent or foreign.
    pub fn no_container() -> Self {
        Self::new(Kind::NotFound, "no such container")
    }

    /// A bug of ours: fixed text outside, the cause in the log.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, "internal error").because(cause)
    }

    /// The same error once more, for a second answer.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            message: self.message.clone(),
            details: self.details.clone(),
            cause: self.cause.clone(),
        }
    }

    /// Attaches the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for detail in &self.details {
            write!(f, "; {}: {}", detail.field, detail.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Collects what is wrong with several fields, so that all of it is told at once.
#[derive(Default)]
pub struct Details(Vec<Detail>);

impl Details {
    /// Keeps the value, or notes why `field` has none.
    pub fn take<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|message| self.add(field, message)).ok()
    }

    /// The same for a field that may be absent.
    pub fn take_optional<I, T>(
        &mut self,
        field: &str,
        input: Option<I>,
        parse: impl FnOnce(I) -> Result<T, String>,
    ) -> Option<T> {
        self.take(field, input.map(parse).transpose()).flatten()
    }

    /// Notes one wrong field.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Detail { field: field.into(), message: message.into() });
    }

    /// Fails with all that was noted, if anything was.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    /// The error that lists what was noted.
    pub fn into_error(self) -> Error {
        let fields: Vec<&str> = self.0.iter().map(|detail| detail.field.as_str()).collect();
        let message = format!("invalid input: {}", fields.join(", "));
        Error { details: self.0, ..Error::invalid(message) }
    }
}
