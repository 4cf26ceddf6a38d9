//! What one row of the audit log says, and its place in its chain.
//!
//! A row's text is one JSON object, its fields in a fixed order, those without a value left out, the last of them the
//! hash of the row before. Its own hash is SHA-256 of that text. A line of the copy is the text with the hash added, so
//! that anybody can check it: cut `,"hash":"…"` out, and digest what is left.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::domain::{Tenant, hex, timestamp_ms};
use crate::store::{ApiKey, Container, Volume};

/// What a row is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Something will be done.
    #[default]
    Intent,
    /// How that ended.
    Outcome,
    /// Something was asked for and refused; nothing was done.
    Refusal,
    /// Rows before were taken away, because they were old: its detail has the last one's number and hash.
    Checkpoint,
}

/// The phase of rows that say what was taken away.
pub(super) const CHECKPOINT: &str = Phase::Checkpoint.as_str();

impl Phase {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Refusal => "refusal",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// What something is done to.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub(super) kind: String,
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) tenant: Option<Tenant>,
}

impl Object {
    /// Of a kind such as `container`, by a name that may be anybody's text.
    pub fn named(kind: &str, name: impl AsRef<str>) -> Self {
        Self { kind: text(kind, MOST_NAME), name: Some(text(name.as_ref(), MOST_NAME)), ..Self::default() }
    }

    /// Of a kind, where it has no name yet.
    pub fn of_kind(kind: &str) -> Self {
        Self { kind: text(kind, MOST_NAME), ..Self::default() }
    }

    /// With our identifier.
    #[must_use]
    pub fn with_id(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    /// Whose it is, where that is not the actor's tenant.
    #[must_use]
    pub fn of(self, tenant: Option<&Tenant>) -> Self {
        Self { tenant: tenant.cloned(), ..self }
    }
}

impl From<&Container> for Object {
    fn from(row: &Container) -> Self {
        Self::named("container", row.name.as_str()).with_id(&row.id).of(Some(&row.tenant))
    }
}

impl From<&Volume> for Object {
    fn from(row: &Volume) -> Self {
        Self::named("volume", row.name.as_str()).with_id(&row.id).of(Some(&row.tenant))
    }
}

impl From<&ApiKey> for Object {
    fn from(key: &ApiKey) -> Self {
        Self::named("api_key", &key.name).with_id(&key.id)
    }
}

impl From<&Tenant> for Object {
    fn from(tenant: &Tenant) -> Self {
        Self::named("tenant", tenant.slug.as_str()).with_id(&tenant.id).of(Some(tenant))
    }
}

/// One row, before it has its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub time_ms: i64,
    pub phase: Phase,
    pub actor: Option<String>,
    pub actor_id: Option<String>,
    pub key_id: Option<String>,
    pub tenant: Option<String>,
    pub tenant_id: Option<String>,
    pub verb: Option<String>,
    pub object_kind: Option<String>,
    pub object: Option<String>,
    pub object_id: Option<String>,
    pub source: Option<String>,
    pub request_id: Option<String>,
    /// A JSON array of strings.
    pub argv: Option<String>,
    pub detail: Option<String>,
    pub reason: Option<String>,
    /// The sequence number of the intent that an outcome is of.
    pub intent: Option<i64>,
    pub outcome: Option<String>,
    pub status: Option<i64>,
    pub duration_ms: Option<i64>,
}

/// Most bytes of a name, of a sentence, and of a command's words together.
const MOST_NAME: usize = 256;
const MOST_TEXT: usize = 1024;
const MOST_ARGV: usize = 4096;

/// What stands where something was cut off.
const CUT: char = '…';

/// Text that any database takes, of bounded length.
pub(super) fn text(input: &str, most: usize) -> String {
    let mut end = input.len().min(most);
    while !input.is_char_boundary(end) {
        end -= 1;
    }
    // PostgreSQL has no NUL in text, and JSON leaves some controls as they are.
    let is_plain = |c: char| !c.is_control() || matches!(c, '\u{1}'..='\u{1f}');
    let mut kept: String =
        input[..end].chars().map(|c| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    if end < input.len() {
        kept.push(CUT);
    }
    kept
}

/// A sentence of bounded length.
pub(super) fn sentence(input: &str) -> String {
    text(input, MOST_TEXT)
}

/// A command's words, as many as fit; what was cut ends in `…`.
pub(super) fn argv<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let (mut kept, mut left) = (Vec::new(), MOST_ARGV);
    for word in words {
        if left == 0 {
            kept.push(CUT.to_string());
            break;
        }
        kept.push(text(word, left));
        left = left.saturating_sub(word.len().max(1));
    }
    serde_json::to_string(&kept).unwrap_or_default()
}

/// A row in its place.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Row {
    pub chain: String,
    pub sequence: i64,
    pub time_ms: i64,
    pub phase: String,
    pub actor: Option<String>,
    pub actor_id: Option<String>,
    pub key_id: Option<String>,
    pub tenant: Option<String>,
    pub tenant_id: Option<String>,
    pub verb: Option<String>,
    pub object_kind: Option<String>,
    pub object: Option<String>,
    pub object_id: Option<String>,
    pub source: Option<String>,
    pub request_id: Option<String>,
    pub argv: Option<String>,
    pub detail: Option<String>,
    pub reason: Option<String>,
    pub intent: Option<i64>,
    pub outcome: Option<String>,
    pub status: Option<i64>,
    pub duration_ms: Option<i64>,
    pub previous: String,
    pub hash: String,
}

/// All columns, in the order in which they are bound.
pub(super) const COLUMNS: &str = "chain, sequence, time_ms, phase, actor, actor_id, key_id, tenant, tenant_id, verb, \
     object_kind, object, object_id, source, request_id, argv, detail, reason, intent, outcome, status, duration_ms, \
     previous, hash";
pub(super) const COLUMN_COUNT: usize = 24;

/// The text that is hashed. New fields go before `previous` and are left out without a value: then old rows keep theirs.
#[derive(Serialize)]
struct Text<'a> {
    chain: &'a str,
    sequence: i64,
    time: String,
    phase: &'a str,
    #[serde(flatten)]
    said: Said<'a>,
    previous: &'a str,
}

macro_rules! said {
    ($($field:ident: $type:ty),*) => {
        #[derive(Serialize)]
        struct Said<'a> {
            $(#[serde(skip_serializing_if = "Option::is_none")] $field: Option<$type>,)*
        }
    };
}
said! {
    actor: &'a str, actor_id: &'a str, key_id: &'a str, tenant: &'a str, tenant_id: &'a str, verb: &'a str,
    object_kind: &'a str, object: &'a str, object_id: &'a str, source: &'a str, request_id: &'a str,
    argv: Vec<String>, detail: &'a str, reason: &'a str, intent: i64, outcome: &'a str, status: i64, duration_ms: i64
}

impl Row {
    /// The record's place after `previous`, with its hash.
    pub(super) fn place(record: Record, chain: &str, sequence: i64, previous: &str) -> Self {
        let mut row = Self {
            chain: chain.to_owned(),
            sequence,
            time_ms: record.time_ms,
            phase: record.phase.as_str().to_owned(),
            actor: record.actor,
            actor_id: record.actor_id,
            key_id: record.key_id,
            tenant: record.tenant,
            tenant_id: record.tenant_id,
            verb: record.verb,
            object_kind: record.object_kind,
            object: record.object,
            object_id: record.object_id,
            source: record.source,
            request_id: record.request_id,
            argv: record.argv,
            detail: record.detail,
            reason: record.reason,
            intent: record.intent,
            outcome: record.outcome,
            status: record.status,
            duration_ms: record.duration_ms,
            previous: previous.to_owned(),
            hash: String::new(),
        };
        row.hash = row.digest().unwrap_or_default();
        row
    }

    /// The command's words; none where the column does not hold them.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        self.argv.as_deref().and_then(|argv| serde_json::from_str(argv).ok())
    }

    /// The text that is hashed; none where the row cannot be one that we wrote.
    fn text_at(&self, sequence: i64) -> Option<String> {
        let argv = self.words();
        if argv.is_none() && self.argv.is_some() {
            return None;
        }
        let text = Text {
            chain: &self.chain,
            sequence,
            time: timestamp_ms(self.time_ms),
            phase: &self.phase,
            said: Said {
                actor: self.actor.as_deref(),
                actor_id: self.actor_id.as_deref(),
                key_id: self.key_id.as_deref(),
                tenant: self.tenant.as_deref(),
                tenant_id: self.tenant_id.as_deref(),
                verb: self.verb.as_deref(),
                object_kind: self.object_kind.as_deref(),
                object: self.object.as_deref(),
                object_id: self.object_id.as_deref(),
                source: self.source.as_deref(),
                request_id: self.request_id.as_deref(),
                argv,
                detail: self.detail.as_deref(),
                reason: self.reason.as_deref(),
                intent: self.intent,
                outcome: self.outcome.as_deref(),
                status: self.status,
                duration_ms: self.duration_ms,
            },
            previous: &self.previous,
        };
        serde_json::to_string(&text).ok()
    }

    /// What its hash has to be.
    pub(super) fn digest(&self) -> Option<String> {
        self.digest_at(self.sequence)
    }

    /// What its hash would have to be in another place.
    pub(super) fn digest_at(&self, sequence: i64) -> Option<String> {
        Some(digest(&self.text_at(sequence)?))
    }

    /// A line of the copy.
    pub(super) fn line(&self) -> String {
        with_hash(&self.text_at(self.sequence).unwrap_or_default(), &self.hash)
    }
}

/// SHA-256 in hex.
pub(super) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// What the first row of a chain comes after.
pub(super) fn genesis(installation: &str, chain: &str) -> String {
    digest(&format!("podgate audit {installation} {chain}"))
}

fn with_hash(text: &str, hash: &str) -> String {
    format!("{},\"hash\":\"{hash}\"}}", text.strip_suffix('}').unwrap_or(text))
}

/// A line's text and its hash.
pub(super) fn without_hash(line: &str) -> Option<(String, &str)> {
    let (text, hash) = line.strip_suffix("\"}")?.rsplit_once(",\"hash\":\"")?;
    Some((format!("{text}}}"), hash))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row() -> Row {
        let record = Record {
            time_ms: 1_737_301_679_123,
            actor: Some("acme/alice".into()),
            verb: Some("execInContainer".into()),
            argv: Some(argv(["echo", "a \"b\""])),
            ..Record::default()
        };
        Row::place(record, "c1", 7, "00ff")
    }

    /// This text is for ever: hashes of rows that exist stand on it.
    #[test]
    fn the_text_is_as_documented() {
        let line = concat!(
            r#"{"chain":"c1","sequence":7,"time":"2025-01-19T15:47:59.123000Z","phase":"intent","#,
            r#""actor":"acme/alice","verb":"execInContainer","argv":["echo","a \"b\""],"previous":"00ff","#,
            r#""hash":"ab1b8d7c"}"#
        );
        let row = row();
        assert_eq!(row.line(), line.replace("ab1b8d7c", &row.hash));
        let (text, hash) = without_hash(line).unwrap();
        assert_eq!(hash, "ab1b8d7c");
        assert_eq!(digest(&text), row.hash);
    }

    #[test]
    fn whatever_changes_changes_the_hash() {
        let row = row();
        let changes: [fn(&mut Row); 6] = [
            |row| row.sequence += 1,
            |row| row.time_ms += 1,
            |row| row.actor = None,
            |row| row.reason = Some(String::new()),
            |row| row.argv = Some("[".into()),
            |row| row.previous.push('0'),
        ];
        for change in changes {
            let mut other = row.clone();
            change(&mut other);
            assert_ne!(other.digest().as_ref(), Some(&row.hash), "{other:?}");
        }
    }

    #[test]
    fn words_are_bounded_and_say_so() {
        let long = "x".repeat(10_000);
        let kept: Vec<String> = serde_json::from_str(&argv(["echo", &long, "more"])).unwrap();
        assert_eq!((kept.len(), kept[0].as_str(), kept[2].as_str()), (3, "echo", "…"));
        assert!(kept[1].ends_with('…') && kept[1].len() < 4100);
        let many: Vec<String> = serde_json::from_str(&argv(vec![""; 10_000])).unwrap();
        assert!(many.len() <= 4097);
    }

    proptest! {
        #[test]
        fn any_text_fits(input in ".*", most in 0usize..64) {
            let kept = text(&input, most);
            prop_assert!(kept.chars().count() <= most + 1);
            prop_assert!(!kept.contains('\0'));
        }

        #[test]
        fn a_line_is_one_line_and_can_be_taken_apart(name in any::<String>(), word in any::<String>()) {
            let record = Record { object: Some(text(&name, 99)), argv: Some(argv([word.as_str()])), ..Record::default() };
            let row = Row::place(record, "c", 1, "p");
            let line = row.line();
            prop_assert!(!line.chars().any(|c| c.is_ascii_control()));
            let (text, hash) = without_hash(&line).unwrap();
            prop_assert_eq!(digest(&text), hash);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }
}
