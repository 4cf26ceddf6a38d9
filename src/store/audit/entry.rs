//! Who asks for what, in which request; and what was begun of it.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::record::{self, Object, Phase, Record};
use super::writer::Queue;
use crate::domain::{Error, Principal};

/// One request on its way: what an entry says of it, and the entries that it began.
pub struct Course {
    verb: String,
    request_id: String,
    source: IpAddr,
    begun: Mutex<Vec<Entry>>,
}

impl Course {
    /// Of an operation, by its identifier in the document.
    pub fn new(operation: &str, request_id: &str, source: IpAddr) -> Arc<Self> {
        let (verb, request_id) = (operation.to_owned(), request_id.to_owned());
        Arc::new(Self { verb, request_id, source, begun: Mutex::default() })
    }

    /// Where it came from.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// What was begun so far, for whoever says how it ended.
    pub fn take_begun(&self) -> Vec<Entry> {
        std::mem::take(&mut *lock(&self.begun))
    }

    pub(super) fn began(&self, entry: &Entry) {
        lock(&self.begun).push(entry.clone());
    }

    pub(super) fn record(&self) -> Record {
        Record {
            verb: Some(record::text(&self.verb, 64)),
            request_id: Some(self.request_id.clone()),
            source: Some(self.source.to_string()),
            ..Record::default()
        }
    }
}

/// A principal in the course of one request: who asks, and what an entry says of it.
#[derive(Clone)]
pub struct Asker {
    principal: Principal,
    pub(super) course: Arc<Course>,
    argv: Option<String>,
    detail: Option<String>,
}

impl Asker {
    /// Who asks in which request.
    pub fn new(principal: Principal, course: Arc<Course>) -> Self {
        Self { principal, course, argv: None, detail: None }
    }

    /// Where the request came from.
    pub fn source(&self) -> IpAddr {
        self.course.source()
    }

    /// With the words of the command that is to run; never its environment or its input.
    #[must_use]
    pub fn running<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Self {
        Self { argv: Some(record::argv(words)), ..self.clone() }
    }

    /// With a few words on what is to change; nothing secret.
    #[must_use]
    pub fn noting(&self, detail: impl AsRef<str>) -> Self {
        Self { detail: Some(record::sentence(detail.as_ref())), ..self.clone() }
    }

    pub(super) fn record(&self, object: Object) -> Record {
        let actor = &self.principal;
        let tenant = object.tenant.as_ref().or(actor.tenant.as_ref());
        Record {
            actor: Some(actor.login.to_string()),
            actor_id: Some(actor.account_id.clone()),
            key_id: actor.key_id.clone(),
            tenant: tenant.map(|tenant| tenant.slug.to_string()),
            tenant_id: tenant.map(|tenant| tenant.id.clone()),
            argv: self.argv.clone(),
            detail: self.detail.clone(),
            ..about(object, self.course.record())
        }
    }
}

impl Deref for Asker {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

/// Adds what something is done to.
pub(super) fn about(object: Object, record: Record) -> Record {
    Record { object_kind: Some(object.kind), object: object.name, object_id: object.id, ..record }
}

/// How something that was begun ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// `success`, the public type of a failure, or a word of our own.
    pub word: String,
    /// The answer's, if there was one.
    pub status: Option<u16>,
    /// What the answer said was wrong.
    pub reason: Option<String>,
}

impl Outcome {
    /// It went well.
    pub const SUCCESS: &str = "success";
    /// It did not, and nobody was there to be told in an answer's words.
    pub const FAILED: &str = "failed";
    /// Nobody waited for the end.
    pub const ABANDONED: &str = "abandoned";

    /// Without an answer.
    pub fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self { word: Self::SUCCESS.into(), ..Self::default() },
            Err(error) => {
                Self { word: Self::FAILED.into(), reason: Some(error.message.to_string()), ..Self::default() }
            }
        }
    }

    fn abandoned() -> Self {
        // A handler that panics drops what it began.
        let word = if std::thread::panicking() { Self::FAILED } else { Self::ABANDONED };
        Self { word: word.into(), ..Self::default() }
    }

    pub(super) fn fill(self, record: Record) -> Record {
        Record {
            outcome: Some(record::text(&self.word, 64)),
            status: self.status.map(i64::from),
            reason: self.reason.as_deref().map(record::sentence),
            ..record
        }
    }
}

/// The proof that something was announced in the audit log before it is done: whatever changes something asks for one.
///
/// When the last clone goes, the log gets the outcome that was noted; if none was, that nobody waited for it.
#[derive(Clone)]
pub struct Entry(Arc<Begun>);

struct Begun {
    queue: Queue,
    request_id: Option<String>,
    /// Where the intent stands, once it does.
    place: Arc<OnceLock<i64>>,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    noted: Option<(Outcome, i64)>,
    object_id: Option<String>,
    is_told: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({:?})", self.0.place.get())
    }
}

impl Entry {
    pub(super) fn new(queue: Queue, request_id: Option<String>, place: Arc<OnceLock<i64>>) -> Self {
        Self(Arc::new(Begun { queue, request_id, place, begun: Instant::now(), state: Mutex::default() }))
    }

    /// Our identifier of what came of it, where the intent could not know it.
    pub fn identify(&self, object_id: &str) {
        lock(&self.0.state).object_id = Some(object_id.to_owned());
    }

    /// How it ended, as far as is known: told when the last clone goes, unless something is noted after it.
    pub fn note(&self, outcome: Outcome) {
        lock(&self.0.state).noted = Some((outcome, self.0.elapsed_ms()));
    }

    /// How it ended, told now.
    pub fn end(&self, outcome: Outcome) {
        self.note(outcome);
        self.0.tell();
    }
}

impl Begun {
    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn tell(&self) {
        let record = {
            let mut state = lock(&self.state);
            if std::mem::replace(&mut state.is_told, true) {
                return;
            }
            let (outcome, duration_ms) =
                state.noted.take().unwrap_or_else(|| (Outcome::abandoned(), self.elapsed_ms()));
            let request_id = self.request_id.clone();
            outcome.fill(Record {
                phase: Phase::Outcome,
                object_id: state.object_id.take(),
                request_id,
                duration_ms: Some(duration_ms),
                ..Record::default()
            })
        };
        self.queue.outcome(record, &self.place);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.tell();
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
