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

/// What a presented key is held against.
pub struct KeyRecord {
    /// Its owner, with the key's scopes.
    pub account: Account,
    /// Digests of the secrets that are good now.
    pub digests: Vec<String>,
    /// Whether its use is to be noted.
    pub is_use_news: bool,
    id: String,
}

impl KeyRecord {
    /// Whether this session is that of a secret that is good now.
    pub fn has_session(&self, session: &str) -> bool {
        self.digests.iter().any(|digest| key_session(&self.id, digest) == session)
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
    last_used_ms: Option<i64>,
}

const COLUMNS: &str = "id, name, scopes, created_ms, expires_ms, last_used_ms";

impl Store {
    /// Makes a key. `Conflict` if the account has one of that name.
    pub async fn create_api_key(&self, owner: &Principal, key: &NewApiKey<'_>, _entry: &Entry) -> Result<ApiKey> {
        let now = self.world.now_ms();
        let scopes = key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
        let expires_ms = key.lasts_ms.map(|lasts| now.saturating_add(lasts));
        let mut tx = self.begin().await?;
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
        Ok(ApiKey { id, name, scopes, created_ms: now, expires_ms, last_used_ms: None })
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

    /// Gives a key of the account another secret; the one before is good for `overlap_ms` more.
    pub async fn rotate_api_key(
        &self,
        owner: &Principal,
        id: &str,
        digest: &str,
        overlap_ms: i64,
        _entry: &Entry,
    ) -> Result<Option<ApiKey>> {
        let text = sqlx::AssertSqlSafe(format!(
            "UPDATE api_keys SET previous_digest = digest, previous_until_ms = $1, digest = $2
             WHERE id = $3 AND account_id = $4 RETURNING {COLUMNS}"
        ));
        let row = sqlx::query_as(text)
            .bind(self.world.now_ms().saturating_add(overlap_ms))
            .bind(digest)
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

    /// The key of this identifier, if it and its owner are good now.
    pub async fn key_record(&self, id: &str) -> Result<Option<KeyRecord>> {
        let now = self.world.now_ms();
        let row: Option<Row> = sqlx::query_as(
            "SELECT account_id, scopes, digest, previous_digest, previous_until_ms, last_used_ms
             FROM api_keys WHERE id = $1 AND (expires_ms IS NULL OR expires_ms > $2)",
        )
        .bind(id)
        .bind(now)
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
        Ok(Some(KeyRecord { account, digests, is_use_news, id: id.to_owned() }))
    }

    /// The key was used now. Once, if many use it at this moment.
    pub async fn note_key_use(&self, id: &str) -> Result<()> {
        let now = self.world.now_ms();
        let text = "UPDATE api_keys SET last_used_ms = $1 WHERE id = $2 AND COALESCE(last_used_ms, 0) <= $3";
        let query = sqlx::query(text).bind(now).bind(id).bind(now - NOTE_USE_EVERY_MS);
        Ok(query.execute(&self.pool).await.map(drop)?)
    }
}
