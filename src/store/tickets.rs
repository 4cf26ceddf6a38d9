//! Tickets: each opens one WebSocket, on whichever gateway it is shown.

use super::{Account, Store};
use crate::domain::{Principal, Result};

/// Who a ticket was given to, and for what.
#[derive(sqlx::FromRow)]
pub struct Ticket {
    /// Method and path, as one text.
    pub route: String,
    account_id: String,
    session_id: Option<String>,
    key_id: Option<String>,
    epoch: i64,
    issued_at: Option<i64>,
}

impl Store {
    /// Notes a ticket of the principal's for that route.
    pub async fn create_ticket(&self, owner: &Principal, digest: &str, route: &str, lasts_ms: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO tickets (digest, account_id, session_id, key_id, epoch, issued_at, route, expires_ms)
             SELECT $1, id, $3, $4, epoch, $5, $6, $7 FROM accounts WHERE id = $2",
        )
        .bind(digest)
        .bind(&owner.account_id)
        .bind(owner.session_id.as_deref())
        .bind(owner.key_id.as_deref())
        .bind(owner.foreign_iat)
        .bind(route)
        .bind(self.world.now_ms().saturating_add(lasts_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Uses the ticket up. None if there is none that is good now.
    pub async fn take_ticket(&self, digest: &str) -> Result<Option<Ticket>> {
        let ticket = sqlx::query_as(
            "DELETE FROM tickets WHERE digest = $1 AND expires_ms > $2
             RETURNING route, account_id, session_id, key_id, epoch, issued_at",
        )
        .bind(digest)
        .bind(self.world.now_ms())
        .fetch_optional(&self.pool)
        .await?;
        Ok(ticket)
    }

    /// Whom a ticket means at this moment: the enabled account, if the session or key it was got with goes on.
    pub async fn ticket_bearer(&self, ticket: &Ticket) -> Result<Option<Account>> {
        let account = match (&ticket.key_id, &ticket.session_id) {
            (Some(key), session) => self.key_record(key).await?.and_then(|record| {
                let session = session.clone().filter(|session| record.has_session(session))?;
                let Account { principal, .. } = record.account;
                let principal = Principal { session_id: Some(session), epoch: Some(ticket.epoch), ..principal };
                Some(Account { principal, ..record.account })
            }),
            (None, Some(session)) => self.bearer(&ticket.account_id, session, ticket.epoch).await?,
            (None, None) => self.foreign_account(ticket).await?,
        };
        Ok(account.filter(|account| account.principal.account_id == ticket.account_id && account.epoch == ticket.epoch))
    }

    /// Whom an identity provider vouched for, unless what it issued until then is nothing any more.
    async fn foreign_account(&self, ticket: &Ticket) -> Result<Option<Account>> {
        let good_from: Option<i64> = sqlx::query_scalar("SELECT good_from FROM accounts WHERE id = $1")
            .bind(&ticket.account_id)
            .fetch_optional(&self.pool)
            .await?;
        if good_from.zip(ticket.issued_at).is_none_or(|(from, issued)| issued < from) {
            return Ok(None);
        }
        let mut account = self.account_by_id(&ticket.account_id).await?;
        if let Some(account) = &mut account {
            account.principal.foreign_iat = ticket.issued_at;
        }
        Ok(account)
    }

    /// Forgets tickets that nobody used in time.
    pub async fn forget_old_tickets(&self) -> Result<()> {
        sqlx::query("DELETE FROM tickets WHERE expires_ms <= $1").bind(self.world.now_ms()).execute(&self.pool).await?;
        Ok(())
    }
}
