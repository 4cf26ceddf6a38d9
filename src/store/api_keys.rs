//! Keys for programs.

use super::{Account, Entry, Store, is_duplicate};
use crate::domain::{Error, Kind, Principal, Result, Scope};

/// Most keys of one account: the store is everybody's.
const MOST_KEYS: i64 = 100;

/// How often the last use is noted, in milliseconds.
const NOTE_USE_EVERY_MS: i64 = 60_000;

/// A key, without its secret.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ApiKey {
    /// Public identifier, part of the key.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Scopes by name, with spaces between; empty: all of the owner's.
    pub scopes: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// When it stops being good, milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// When it was last used, to the minute, milliseconds since 1970.
    pub last_used_ms: Option<i64>,
    /// Until when the secret before is good as well, milliseconds since 1970; in the past where it is not any more.
    pub previous_until_ms: Option<i64>,
}

impl ApiKey {
    /// Whether it is good no more.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        is_expired(self.expires_ms, now_ms)
    }
}

fn is_expired(expires_ms: Option<i64>, now_ms: i64) -> bool {
    expires_ms.is_some_and(|expires| expires <= now_ms)
}

/// A new key.
pub struct NewApiKey<'a> {
    /// Public identifier.
    pub id: &'a str,
    /// What its owner calls it.
    pub name: &'a str,
    /// None: all of the owner's, whatever those become.
    pub scopes: &'a [Scope],
    /// What is kept of the secret.
    pub digest: &'a str,
    /// How long it is good, in milliseconds.
    pub lasts_ms: Option<i64>,
}

/// Another secret for a key.
pub struct Rotation<'a> {
    /// What is kept of the secret.
    pub digest: &'a str,
    /// How long the secret before is good as well, in milliseconds.
    pub overlap_ms: i64,
    /// How long the key is good from now on, in milliseconds; without, as long as it was.
    pub lasts_ms: Option<i64>,
}

/// What a presented key is held against.
pub struct KeyRecord {
    /// Its owner, with the key's scopes.
    pub account: Account,
    /// Digests of the secrets that are good as long as the key is.
    pub digests: Vec<String>,
    /// Whether the key is good no more.
    pub is_expired: bool,
    /// Whether its use is to be noted.
    pub is_use_news: bool,
    id: String,
}

impl KeyRecord {
    /// Whether this session is that of a secret that is good now.
    pub fn has_session(&self, session: &str) -> bool {
        !self.is_expired && self.digests.iter().any(|digest| key_session(&self.id, digest) == session)
    }
}

const SESSION: &str = "key:";

/// What the session is called of who comes with a key, or with a token that it was given: one for each secret of the key,
/// so that what was let in by one ends with it.
pub fn key_session(id: &str, digest: &str) -> String {
    let mark: String = digest.chars().take(16).collect();
    format!("{SESSION}{id}:{mark}")
}

/// The key's public identifier, if the session is one of a key.
pub fn key_of_session(session: &str) -> Option<&str> {
    session.strip_prefix(SESSION)?.split(':').next()
}

/// Of these scopes, those that a key names, by name with spaces between; it names none where it may all of them.
pub(super) fn named_of(held: &[Scope], named: &str) -> Vec<Scope> {
    let is_named = |scope: &Scope| named.is_empty() || named.split(' ').any(|name| name == scope.as_str());
    held.iter().copied().filter(is_named).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    account_id: String,
    scopes: String,
    digest: String,
    previous_digest: Option<String>,
    previous_until_ms: Option<i64>,
    expires_ms: Option<i64>,
    last_used_ms: Option<i64>,
}

const COLUMNS: &str = "id, name, scopes, created_ms, expires_ms, last_used_ms, previous_until_ms";

impl Store {
    /// Makes a key. `Conflict` if the account has one of that name; one that expired makes room.
    pub async fn create_api_key(&self, owner: &Principal, key: &NewApiKey<'_>, _entry: &Entry) -> Result<ApiKey> {
        let now = self.world.now_ms();
        let scopes = key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
        let expires_ms = key.lasts_ms.map(|lasts| now.saturating_add(lasts));
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM api_keys WHERE account_id = $1 AND name = $2 AND expires_ms <= $3")
            .bind(&owner.account_id)
            .bind(key.name)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_keys WHERE account_id = $1")
            .bind(&owner.account_id)
            .fetch_one(&mut *tx)
            .await?;
        if count >= MOST_KEYS {
            return Err(Error::new(Kind::Quota, format!("there are {count} keys, which is the most there may be")));
        }
        sqlx::query(
            "INSERT INTO api_keys (id, account_id, name, scopes, digest, created_ms, expires_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(key.id)
        .bind(&owner.account_id)
        .bind(key.name)
        .bind(&scopes)
        .bind(key.digest)
        .bind(now)
        .bind(expires_ms)
        .execute(&mut *tx)
        .await
        .map_err(|error| match is_duplicate(&error) {
            true => Error::new(Kind::Conflict, "there is a key of this name already"),
            false => error.into(),
        })?;
        tx.commit().await?;
        let (id, name) = (key.id.to_owned(), key.name.to_owned());
        Ok(ApiKey { id, name, scopes, created_ms: now, expires_ms, last_used_ms: None, previous_until_ms: None })
    }

    /// An account's keys by name.
    pub async fn api_keys(&self, account_id: &str) -> Result<Vec<ApiKey>> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM api_keys WHERE account_id = $1 ORDER BY name"));
        Ok(sqlx::query_as(text).bind(account_id).fetch_all(&self.pool).await?)
    }

    /// The account's key of this identifier.
    pub async fn api_key(&self, account_id: &str, id: &str) -> Result<Option<ApiKey>> {
        let text = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM api_keys WHERE account_id = $1 AND id = $2"));
        Ok(sqlx::query_as(text).bind(account_id).bind(id).fetch_optional(&self.pool).await?)
    }

    /// Gives a key of the account another secret; none where there is no such key, or an expired one is not to live longer.
    ///
    /// The secret before is good for the overlap. While an earlier overlap runs, that secret keeps what it was promised,
    /// and the one between goes: it may be one that nobody ever saw, because the answer got lost. Without an overlap all
    /// earlier secrets end, and those of an expired key stay as dead as they are.
    pub async fn rotate_api_key(
        &self,
        owner: &Principal,
        id: &str,
        rotation: &Rotation<'_>,
        _entry: &Entry,
    ) -> Result<Option<ApiKey>> {
        let now = self.world.now_ms();
        let text = sqlx::AssertSqlSafe(format!(
            "UPDATE api_keys SET
               previous_digest = CASE WHEN previous_until_ms > $1 THEN previous_digest ELSE digest END,
               previous_until_ms = CASE WHEN $2 <= $1 OR expires_ms <= $1 THEN NULL
                                        WHEN previous_until_ms > $2 THEN previous_until_ms ELSE $2 END,
               digest = $3,
               expires_ms = COALESCE($4, expires_ms)
             WHERE id = $5 AND account_id = $6 AND (expires_ms IS NULL OR expires_ms > $1 OR $4 IS NOT NULL)
             RETURNING {COLUMNS}"
        ));
        let row = sqlx::query_as(text)
            .bind(now)
            .bind(now.saturating_add(rotation.overlap_ms))
            .bind(rotation.digest)
            .bind(rotation.lasts_ms.map(|lasts| now.saturating_add(lasts)))
            .bind(id)
            .bind(&owner.account_id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row)
    }

    /// Takes a key of the account away. Whether there was one.
    pub async fn delete_api_key(&self, account_id: &str, id: &str, _entry: &Entry) -> Result<bool> {
        let done = sqlx::query("DELETE FROM api_keys WHERE id = $1 AND account_id = $2")
            .bind(id)
            .bind(account_id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The key of this identifier, if its owner is good now.
    pub async fn key_record(&self, id: &str) -> Result<Option<KeyRecord>> {
        let now = self.world.now_ms();
        let row: Option<Row> = sqlx::query_as(
            "SELECT account_id, scopes, digest, previous_digest, previous_until_ms, expires_ms, last_used_ms
             FROM api_keys WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(mut account) = self.account_by_id(&row.account_id).await? else { return Ok(None) };
        let principal = &mut account.principal;
        // What the owner lost, its keys lost.
        principal.scopes = named_of(&principal.scopes, &row.scopes);
        principal.key_id = Some(id.to_owned());
        let previous = row.previous_digest.filter(|_| row.previous_until_ms.is_some_and(|until| until > now));
        let is_use_news = row.last_used_ms.is_none_or(|last| last + NOTE_USE_EVERY_MS <= now);
        let digests = [row.digest].into_iter().chain(previous).collect();
        let is_expired = is_expired(row.expires_ms, now);
        Ok(Some(KeyRecord { account, digests, is_expired, is_use_news, id: id.to_owned() }))
    }

    /// The key was used now. Once, if many use it at this moment.
    pub async fn note_key_use(&self, id: &str) -> Result<()> {
        let now = self.world.now_ms();
        let text = "UPDATE api_keys SET last_used_ms = $1 WHERE id = $2 AND COALESCE(last_used_ms, 0) <= $3";
        let query = sqlx::query(text).bind(now).bind(id).bind(now - NOTE_USE_EVERY_MS);
        Ok(query.execute(&self.pool).await.map(drop)?)
    }
}
