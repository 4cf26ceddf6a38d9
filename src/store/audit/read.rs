//! Looking things up: what was announced or refused, with its outcome.

use serde_json::json;

use super::entry::Outcome;
use crate::domain::{Result, Tenant, timestamp_ms};
use crate::store::Store;

/// What to look for. What is none is any.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// From then on, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Until before then.
    pub until_ms: Option<i64>,
    /// Who: a login, an API key's public identifier, `system`, or `cli:` and a name. For a tenant only those that it is
    /// told, and [`AuditEntry::ABOVE`] for the others.
    pub actor: Option<String>,
    /// An operation's identifier.
    pub verb: Option<String>,
    /// A name, or our identifier.
    pub object: Option<String>,
    /// How it ended.
    pub outcome: Option<Ended>,
    /// A tenant's name.
    pub tenant: Option<String>,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Success,
    /// With a failure.
    Failed,
    /// It was not allowed.
    Refused,
    /// It goes on, or nobody lived to tell.
    Unknown,
}

impl std::str::FromStr for Ended {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        [Self::Success, Self::Failed, Self::Refused, Self::Unknown]
            .into_iter()
            .find(|ended| ended.as_str() == input)
            .ok_or_else(|| "must be success, failed, refused or unknown".into())
    }
}

impl Ended {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    const fn condition(self) -> &'static str {
        match self {
            Self::Success => "COALESCE(o.outcome, e.outcome) = 'success'",
            Self::Failed => "COALESCE(o.outcome, e.outcome) <> 'success' AND COALESCE(o.status, e.status, 0) <> 403",
            Self::Refused => "COALESCE(o.status, e.status) = 403",
            Self::Unknown => "COALESCE(o.outcome, e.outcome) IS NULL",
        }
    }
}

/// Actors that are nobody's account.
const PROGRAM: [&str; 2] = ["system", "anonymous"];

/// Something that was done or refused.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct AuditEntry {
    /// The chain it stands in: the gateway.
    pub chain: String,
    /// Its place there.
    pub sequence: i64,
    /// When it was announced, milliseconds since 1970.
    pub time_ms: i64,
    /// Who.
    pub actor: Option<String>,
    /// The API key's public identifier, where one was used.
    pub key_id: Option<String>,
    /// Whose the object is.
    pub tenant: Option<String>,
    /// The operation.
    pub verb: Option<String>,
    /// What kind of thing it is about.
    pub object_kind: Option<String>,
    /// That thing's name.
    pub object: Option<String>,
    /// Our identifier of it.
    pub object_id: Option<String>,
    /// The address it came from.
    pub source: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The command's words, a JSON array.
    pub argv: Option<String>,
    /// What was to change.
    pub detail: Option<String>,
    /// Why it was refused, failed, or was done at all.
    pub reason: Option<String>,
    /// `success`, or the public type of the failure.
    pub outcome: Option<String>,
    /// The answer's status.
    pub status: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Its own hash.
    pub hash: String,
}

impl AuditEntry {
    /// What a tenant is told of who is neither one of its own nor the program: those above it.
    pub const ABOVE: &str = "platform";

    /// Whether a tenant is told who it was, and where they sit.
    pub fn is_told_to(&self, tenant: &Tenant) -> bool {
        let is_ours = |actor: &str| actor.strip_prefix(tenant.slug.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.actor.as_deref().is_none_or(|actor| is_ours(actor) || PROGRAM.contains(&actor))
    }

    /// How it ended.
    pub fn ended(&self) -> Ended {
        match (self.outcome.as_deref(), self.status) {
            (None, _) => Ended::Unknown,
            (Some(Outcome::SUCCESS), _) => Ended::Success,
            (Some(_), Some(403)) => Ended::Refused,
            (Some(_), _) => Ended::Failed,
        }
    }

    /// The public type of the failure, if it was one.
    pub fn error(&self) -> Option<&str> {
        self.outcome.as_deref().filter(|word| *word != Outcome::SUCCESS)
    }

    /// The command's words.
    pub fn words(&self) -> Option<Vec<String>> {
        self.argv.as_deref().and_then(|argv| serde_json::from_str(argv).ok())
    }

    /// Where the next page begins.
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor { time_ms: self.time_ms, hash: self.hash.clone() }
    }

    /// One line of JSON.
    pub fn line(&self) -> String {
        let mut said = json!({
            "time": timestamp_ms(self.time_ms),
            "actor": self.actor,
            "api_key": self.key_id,
            "tenant": self.tenant,
            "verb": self.verb,
            "object": {"kind": self.object_kind, "name": self.object, "id": self.object_id},
            "source": self.source,
            "request_id": self.request_id,
            "argv": self.words(),
            "detail": self.detail,
            "outcome": self.ended().as_str(),
            "error": self.error(),
            "status": self.status,
            "reason": self.reason,
            "duration_ms": self.duration_ms,
            "chain": self.chain,
            "sequence": self.sequence,
        });
        without_nulls(&mut said["object"]);
        without_nulls(&mut said);
        said.to_string()
    }
}

fn without_nulls(object: &mut serde_json::Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

/// A place in the order of the log, newest first. The hash tells nobody how many rows other tenants have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCursor {
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The row's.
    pub hash: String,
}

enum Value {
    Text(String),
    Number(i64),
}

/// Conditions, and the values in them.
#[derive(Default)]
struct Wanted {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Wanted {
    /// What stands for a value.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// The same as [`AuditEntry::is_told_to`].
    fn is_told_to(&mut self, tenant: &Tenant) -> String {
        let ours = format!("{}/", tenant.slug);
        let length = ours.len();
        let ours = self.value(Value::Text(ours));
        let program = PROGRAM.map(|actor| self.value(Value::Text(actor.to_owned()))).join(", ");
        format!("e.actor IS NULL OR SUBSTR(e.actor, 1, {length}) = {ours} OR e.actor IN ({program})")
    }
}

impl Store {
    /// The newest entries before the cursor that fit, at most `limit`: a tenant's, or everybody's.
    pub async fn audit_entries(
        &self,
        tenant: Option<&Tenant>,
        filter: &AuditFilter,
        before: Option<&AuditCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let mut wanted = Wanted::default();
        let mut actor = filter.actor.clone();
        if let (Some(named), Some(tenant)) = (&actor, tenant) {
            let told = wanted.is_told_to(tenant);
            let is_above = named == AuditEntry::ABOVE;
            wanted.conditions.push(if is_above { format!("NOT ({told})") } else { told });
            actor = actor.filter(|_| !is_above);
        }
        let number = |number: Option<i64>| number.map(Value::Number);
        let text = |text: Option<&String>| text.cloned().map(Value::Text);
        let given: [(&[&str], Option<Value>); 7] = [
            (&["e.tenant_id ="], text(tenant.map(|tenant| &tenant.id))),
            (&["e.time_ms >="], number(filter.since_ms)),
            (&["e.time_ms <"], number(filter.until_ms)),
            (&["e.actor =", "e.key_id ="], text(actor.as_ref())),
            (&["e.verb ="], text(filter.verb.as_ref())),
            (&["e.object =", "e.object_id =", "o.object_id ="], text(filter.object.as_ref())),
            (&["e.tenant ="], text(filter.tenant.as_ref())),
        ];
        for (any_of, value) in given {
            let Some(value) = value else { continue };
            let value = wanted.value(value);
            let any_of: Vec<String> = any_of.iter().map(|compare| format!("{compare} {value}")).collect();
            wanted.conditions.push(any_of.join(" OR "));
        }
        wanted.conditions.extend(filter.outcome.map(|ended| ended.condition().to_owned()));
        if let Some(AuditCursor { time_ms, hash }) = before {
            let (time, hash) = (wanted.value(Value::Number(*time_ms)), wanted.value(Value::Text(hash.clone())));
            wanted.conditions.push(format!("e.time_ms <= {time} AND (e.time_ms < {time} OR e.hash < {hash})"));
        }
        let conditions: String = wanted.conditions.iter().map(|condition| format!(" AND ({condition})")).collect();
        let limit = wanted.value(Value::Number(i64::from(limit)));
        let statement = format!(
            "SELECT e.chain, e.sequence, e.time_ms, e.actor, e.key_id, e.tenant, e.verb, e.object_kind, e.object,
                    COALESCE(e.object_id, o.object_id) AS object_id, e.source, e.request_id, e.argv, e.detail,
                    COALESCE(o.reason, e.reason) AS reason, COALESCE(o.outcome, e.outcome) AS outcome,
                    COALESCE(o.status, e.status) AS status, o.duration_ms, e.hash
             FROM audit_log e LEFT JOIN audit_log o ON o.chain = e.chain AND o.intent = e.sequence
             WHERE e.phase IN ('intent', 'refusal'){conditions}
             ORDER BY e.time_ms DESC, e.hash DESC LIMIT {limit}"
        );
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(statement));
        for value in wanted.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        Ok(query.fetch_all(&self.pool).await?)
    }
}
