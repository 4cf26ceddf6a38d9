//! Who did what.

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Audit as AuditScope, Caller};
use super::{Context, Tag};
use crate::domain::{Details, Tenant, parse_timestamp_ms, timestamp_ms};
use crate::store::{AuditCursor, AuditEntry, AuditFilter};

pub struct Audit(pub Context);

/// What something was done to.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct AuditObject {
    /// container, volume, image, account, tenant, api_key, session, …
    kind: Option<String>,
    /// Its name.
    name: Option<String>,
    /// Its identifier.
    id: Option<String>,
}

/// Something that was done, or refused.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct AuditItem {
    /// When it was announced, RFC 3339.
    time: String,
    /// What it signs in with; `system` for the gateway itself, `anonymous` for whoever failed to sign in; `platform` for
    /// those above the tenant. To platform administrators `cli:` and a name for the command line.
    actor: Option<String>,
    /// The public identifier of the API key that was used.
    api_key: Option<String>,
    /// Whose it is.
    tenant: Option<String>,
    /// The operation's identifier in this document, or the gateway's own word.
    verb: Option<String>,
    /// To what.
    object: AuditObject,
    /// The address it came from.
    source: Option<String>,
    /// The request.
    request_id: Option<String>,
    /// A command's words, at most 4 KiB; what was cut off ends in `…`.
    argv: Option<Vec<String>>,
    /// What was to change.
    detail: Option<String>,
    /// success, failed, refused (403), or unknown while it goes on and where nobody lived to tell.
    outcome: String,
    /// The failure's type.
    error: Option<String>,
    /// The answer's status.
    status: Option<i64>,
    /// Why it was refused or failed, or why the gateway did it.
    reason: Option<String>,
    /// Milliseconds from announcement to end.
    duration_ms: Option<i64>,
    /// The row's hash in its chain.
    hash: String,
    /// For platform administrators: the gateway whose chain it stands in.
    chain: Option<String>,
    /// For platform administrators: its place in the chain.
    sequence: Option<i64>,
}

/// Entries, newest first.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
struct AuditListResponse {
    /// Always true.
    success: bool,
    /// What was done or refused.
    entries: Vec<AuditItem>,
    /// Where the next page begins; none on the last one.
    next_cursor: Option<String>,
}

impl Example for AuditListResponse {
    fn example() -> Self {
        let item = AuditItem {
            time: "2025-01-19T15:47:19.123000Z".into(),
            actor: Some("acme/alice".into()),
            api_key: None,
            tenant: Some("acme".into()),
            verb: Some("execInContainer".into()),
            object: AuditObject {
                kind: Some("container".into()),
                name: Some("web".into()),
                id: Some("0b3f6a4d9c5e4c0d8f0a6b1c2d3e4f50".into()),
            },
            source: Some("198.51.100.7".into()),
            request_id: Some("5e1c0d2f4b6a49d0a9c8b7e6f5d4c3b2".into()),
            argv: Some(vec!["uname".into(), "-a".into()]),
            detail: None,
            outcome: "success".into(),
            error: None,
            status: Some(200),
            reason: None,
            duration_ms: Some(61),
            hash: "6f1d…".into(),
            chain: None,
            sequence: None,
        };
        Self { success: true, entries: vec![item], next_cursor: None }
    }
}

#[OpenApi(tag = "Tag::Administration")]
impl Audit {
    /// Read the audit log
    ///
    /// What was done or refused, newest first: that of the caller's tenant, or of all for platform administrators. Reads
    /// are not in it.
    #[allow(clippy::too_many_arguments)]
    #[oai(path = "/audit", method = "get", operation_id = "listAuditEntries")]
    async fn list(
        &self,
        who: Caller<AuditScope>,
        /// From then on, RFC 3339.
        since: Query<Option<String>>,
        /// Until before then, RFC 3339.
        until: Query<Option<String>>,
        /// Who, as the answer names them, or an API key's public identifier.
        actor: Query<Option<String>>,
        /// An operation's identifier.
        verb: Query<Option<String>>,
        /// An object's name or identifier.
        object: Query<Option<String>>,
        /// success, failed, refused or unknown.
        outcome: Query<Option<String>>,
        /// A tenant's name.
        tenant: Query<Option<String>>,
        /// At most so many; the answer's `next_cursor` continues.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// The `next_cursor` of the answer before.
        cursor: Query<Option<String>>,
    ) -> poem::Result<Json<AuditListResponse>> {
        let mut wrong = Details::default();
        let filter = AuditFilter {
            since_ms: wrong.take_optional("since", since.0.as_deref(), parse_timestamp_ms),
            until_ms: wrong.take_optional("until", until.0.as_deref(), parse_timestamp_ms),
            actor: actor.0,
            verb: verb.0,
            object: object.0,
            outcome: wrong.take_optional("outcome", outcome.0.as_deref(), str::parse),
            tenant: tenant.0,
        };
        let before = wrong.take_optional("cursor", cursor.0.as_deref(), parse_cursor);
        wrong.finish()?;
        let grant = self.0.policy.audit(who.principal(), who.scope())?;
        self.0.store.settle_audit().await;
        // One more tells whether there is another page.
        let found = self.0.store.audit_entries(grant.tenant(), &filter, before.as_ref(), limit.0 + 1).await?;
        let is_more = found.len() > limit.0 as usize;
        let page: Vec<AuditEntry> = found.into_iter().take(limit.0 as usize).collect();
        let next_cursor = page.last().filter(|_| is_more).map(|last| write_cursor(&last.cursor()));
        let entries = page.into_iter().map(|entry| AuditItem::of(entry, grant.tenant())).collect();
        Ok(Json(AuditListResponse { success: true, entries, next_cursor }))
    }
}

fn default_limit() -> u32 {
    100
}

fn write_cursor(cursor: &AuditCursor) -> String {
    format!("{}.{}", cursor.time_ms, cursor.hash)
}

fn parse_cursor(text: &str) -> Result<AuditCursor, String> {
    let parts = text.split_once('.').and_then(|(time_ms, hash)| Some((time_ms.parse().ok()?, hash)));
    let hexadecimal = |hash: &str| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    match parts {
        Some((time_ms, hash)) if hexadecimal(hash) => Ok(AuditCursor { time_ms, hash: hash.to_owned() }),
        _ => Err("is not one that a list gave".into()),
    }
}

impl AuditItem {
    /// As this tenant may see it; as the platform may, without one. Where those above a tenant sit and what they typed is
    /// not its business, nor is how much others do.
    fn of(entry: AuditEntry, tenant: Option<&Tenant>) -> Self {
        let is_shown = tenant.is_none_or(|tenant| entry.is_told_to(tenant));
        Self {
            time: timestamp_ms(entry.time_ms),
            actor: if is_shown { entry.actor.clone() } else { Some(AuditEntry::ABOVE.into()) },
            argv: entry.words().filter(|_| is_shown),
            outcome: entry.ended().as_str().into(),
            error: entry.error().map(str::to_owned),
            api_key: entry.key_id.filter(|_| is_shown),
            tenant: entry.tenant,
            verb: entry.verb,
            object: AuditObject {
                kind: entry.object_kind.filter(|kind| !kind.is_empty()),
                name: entry.object,
                id: entry.object_id,
            },
            source: entry.source.filter(|_| is_shown),
            request_id: entry.request_id,
            detail: entry.detail,
            status: entry.status,
            reason: entry.reason,
            duration_ms: entry.duration_ms,
            hash: entry.hash,
            chain: tenant.is_none().then_some(entry.chain),
            sequence: tenant.is_none().then_some(entry.sequence),
        }
    }
}
