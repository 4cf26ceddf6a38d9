//! Sessions, and the refresh tokens that carry them on.

use super::{Account, Entry, Store};
use crate::domain::{Error, Login, Principal, Result};

/// What presenting a refresh token came to.
pub enum Refreshed {
    /// The session goes on, with the new token.
    Continued(Box<Account>),
    /// The token was used before: somebody has a copy. The session is over.
    Replayed(String),
    /// No such token, or its session or account is over.
    Invalid,
}

impl Store {
    /// Begins a session of this account, with a refresh token or without. Its identifier.
    pub async fn begin_session(
        &self,
        account: &Account,
        lasts_ms: i64,
        digest: Option<&str>,
        entry: &Entry,
    ) -> Result<String> {
        let (id, now) = ((self.world.new_id)(), self.world.now_ms());
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO sessions (id, account_id, epoch, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)")
            .bind(&id)
            .bind(&account.principal.account_id)
            .bind(account.epoch)
            .bind(now)
            .bind(now.saturating_add(lasts_ms))
            .execute(&mut *tx)
            .await?;
        if let Some(digest) = digest {
            insert_token(&mut tx, digest, &id).await?;
        }
        tx.commit().await?;
        entry.identify(&id);
        Ok(id)
    }

    /// The session of a refresh token, used or not, and whose it is.
    pub async fn session_of_token(&self, digest: &str) -> Result<Option<(String, Login)>> {
        let found: Option<(String, String)> = sqlx::query_as(
            "SELECT s.id, a.login FROM refresh_tokens r
             JOIN sessions s ON s.id = r.session_id JOIN accounts a ON a.id = s.account_id WHERE r.digest = $1",
        )
        .bind(digest)
        .fetch_optional(&self.pool)
        .await?;
        found.map(|(id, login)| Ok((id, Login::parse(&login).map_err(Error::internal)?))).transpose()
    }

    /// Uses up one refresh token and puts another in its place.
    pub async fn refresh_session(&self, used: &str, new: &str, _entry: &Entry) -> Result<Refreshed> {
        let now = self.world.now_ms();
        let mut tx = self.begin().await?;
        let session: Option<String> = sqlx::query_scalar(
            "UPDATE refresh_tokens SET used_ms = $1 WHERE digest = $2 AND used_ms IS NULL RETURNING session_id",
        )
        .bind(now)
        .bind(used)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(session) = session else {
            let replayed: Option<String> = sqlx::query_scalar(
                "UPDATE sessions SET ended_ms = COALESCE(ended_ms, $1)
                 WHERE id = (SELECT session_id FROM refresh_tokens WHERE digest = $2) RETURNING account_id",
            )
            .bind(now)
            .bind(used)
            .fetch_optional(&mut *tx)
            .await?;
            tx.commit().await?;
            return Ok(replayed.map_or(Refreshed::Invalid, Refreshed::Replayed));
        };
        insert_token(&mut tx, new, &session).await?;
        let account: Option<(String, i64)> = sqlx::query_as("SELECT account_id, epoch FROM sessions WHERE id = $1")
            .bind(&session)
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        let Some((account, epoch)) = account else { return Ok(Refreshed::Invalid) };
        let account = self.bearer(&account, &session, epoch).await?;
        Ok(account.map_or(Refreshed::Invalid, |account| Refreshed::Continued(Box::new(account))))
    }

    /// Ends the session that this principal came in.
    pub async fn end_session(&self, principal: &Principal, _entry: &Entry) -> Result<()> {
        sqlx::query("UPDATE sessions SET ended_ms = $1 WHERE id = $2 AND account_id = $3 AND ended_ms IS NULL")
            .bind(self.world.now_ms())
            .bind(principal.session_id.as_deref())
            .bind(&principal.account_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends everything that was issued to this account: sessions and tokens.
    pub async fn raise_epoch(&self, account_id: &str, _entry: &Entry) -> Result<()> {
        sqlx::query("UPDATE accounts SET epoch = epoch + 1 WHERE id = $1").bind(account_id).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets sessions whose time is over.
    pub async fn forget_old_sessions(&self) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE expires_ms < $1").bind(self.world.now_ms()).execute(&self.pool).await?;
        Ok(())
    }
}

async fn insert_token(conn: &mut sqlx::AnyConnection, digest: &str, session: &str) -> Result<()> {
    sqlx::query("INSERT INTO refresh_tokens (digest, session_id) VALUES ($1, $2)")
        .bind(digest)
        .bind(session)
        .execute(conn)
        .await?;
    Ok(())
}
