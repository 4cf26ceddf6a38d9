//! The one error of the program: what the caller may read, and what only the log may.

use std::borrow::Cow;
use std::fmt;

use super::{Budget, Scope};

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
    /// The operation is a WebSocket, and the request no handshake of one.
    UpgradeNeeded,
    /// Nothing of the object is where the asked-for range is; holds the value of `Content-Range`.
    Range(String),
    /// The object is not as the request makes it a condition.
    Precondition,
    /// Nobody, or nobody we believe; holds the reason for `WWW-Authenticate`, a code of RFC 6750, empty where no token was
    /// shown.
    Unauthenticated(&'static str),
    /// A known principal that may not do this.
    Forbidden,
    /// One that does not hold the scope that this needs.
    NoScope(Scope),
    /// The tenant has as much as it may have.
    Quota,
    /// Too much at once; seconds until there may be room.
    RateLimited(u64),
    /// Too many requests: this budget is spent.
    OverBudget(Budget),
    /// The object does not exist, or is another tenant's: the same answer.
    NotFound,
    /// A path inside a container does not exist.
    NoPath,
    /// Such an object exists already, under our own name for it.
    Exists,
    /// The object's state forbids it.
    Conflict,
    /// Podman is in the middle of something else with this object.
    Busy,
    /// The same request, sent before, is not finished.
    Unfinished,
    /// The idempotency key was that of another request.
    KeyReused,
    /// The command that was to run is not in the container.
    NoCommand,
    /// Podman refused what the request asked for, and the request is to blame.
    Refused,
    /// Podman did not answer within the operation's deadline.
    EngineTimeout,
    /// Podman cannot be reached.
    EngineDown,
    /// Podman's host has no room for what is everybody's.
    HostFull,
    /// Podman failed for reasons of its own.
    Engine,
    /// The store cannot be reached or is too busy.
    StoreDown,
    /// An identity provider cannot be reached.
    IssuerDown,
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

    /// The uniform answer for an API key that is absent or somebody else's.
    pub fn no_key() -> Self {
        Self::new(Kind::NotFound, "no such key")
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

    /// Attaches the cause for the log, in one line of it: Podman says some things in several (SECURITY rule 35).
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string().replace(char::is_control, " "));
        self
    }

    /// Says the same failure in other words; its cause stays.
    #[must_use]
    pub fn said(self, kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), ..self }
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

/// Collects what is wrong with several fields, so that all of it is told at once. Up to a point: an answer must not
/// grow with a hostile request.
#[derive(Default)]
pub struct Details {
    noted: Vec<Detail>,
    more: usize,
}

/// How many details an answer has, how many fields its message names, and how many characters of each name.
const MOST_DETAILS: usize = 20;
const MOST_NAMES: usize = 10;
const MOST_CHARACTERS: usize = 64;

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

    /// Notes one wrong field, once.
    pub fn add(&mut self, field: impl AsRef<str>, message: impl Into<String>) {
        let detail = Detail { field: shortened(field.as_ref(), MOST_CHARACTERS).into_owned(), message: message.into() };
        if self.noted.len() < MOST_DETAILS {
            if !self.noted.contains(&detail) {
                self.noted.push(detail);
            }
        } else {
            self.more += 1;
        }
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.more > 0
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// With what was noted there of other fields.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        for Detail { field, message } in others.noted {
            if !self.noted.iter().any(|known| known.field == field) {
                self.add(field, message);
            }
        }
        self.more += others.more;
        self
    }

    /// Fails with all that was noted, if anything was.
    pub fn finish(self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    /// The error that lists what was noted.
    pub fn into_error(self) -> Error {
        let mut names: Vec<&str> = self.noted.iter().map(|detail| detail.field.as_str()).collect();
        names.dedup();
        let dots = if names.len() > MOST_NAMES || self.more > 0 { ", …" } else { "" };
        names.truncate(MOST_NAMES);
        let message = format!("invalid input: {}{dots}", names.join(", "));
        Error { details: self.noted, ..Error::invalid(message) }
    }
}

/// At most so many characters of a text that a request may have made long.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_line() {
        let error = Error::invalid("no").because("1 error occurred:\n\t* busy\u{1b}[2J");
        assert_eq!(format!("{error:?}"), "no (1 error occurred:  * busy [2J)");
    }

    #[test]
    fn a_field_is_named_once() {
        let noted = |fields: &[(&str, &str)]| {
            let mut noted = Details::default();
            fields.iter().for_each(|(field, message)| noted.add(field, *message));
            noted
        };
        let error = noted(&[("a", "is no host port"), ("a", "is no port")]).with(noted(&[("a", "x"), ("b", "y")]));
        let error = error.into_error();
        assert_eq!(error.message, "invalid input: a, b");
        assert_eq!(error.details.len(), 3);
    }

    #[test]
    fn an_answer_does_not_grow_with_the_request() {
        let mut wrong = Details::default();
        for number in 0..10_000 {
            wrong.add(format!("{number}{}", "ä".repeat(1000)), "is wrong");
        }
        let error = wrong.into_error();
        assert_eq!(error.details.len(), MOST_DETAILS);
        assert!(error.to_string().len() < 10_000);
    }
}
