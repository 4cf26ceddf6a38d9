//! Tickets for WebSockets, where browsers can send no token: single use, short, for one route.

use super::{Authenticator, secret, unauthenticated};
use crate::domain::{Principal, Result};

/// How long a ticket is good.
pub const TICKET_SECONDS: i64 = 30;

impl Authenticator {
    /// A ticket that lets the principal open a WebSocket on this path, once.
    pub async fn issue_ticket(&self, principal: &Principal, path: &str) -> Result<String> {
        let ticket = secret::ticket();
        let lasts_ms = TICKET_SECONDS * 1000;
        self.store.create_ticket(principal, &secret::digest(&ticket), &route(path), lasts_ms).await?;
        Ok(ticket)
    }

    /// Who shows this ticket on this path, by what the records say now. It is used up, whether it fits or not.
    pub async fn redeem_ticket(&self, ticket: &str, path: &str) -> Result<Principal> {
        if !secret::is_ticket(ticket) {
            return Err(unauthenticated("no ticket"));
        }
        let taken = self.store.take_ticket(&secret::digest(ticket)).await?;
        let taken = taken.ok_or_else(|| unauthenticated("the ticket is used, expired, or was never given"))?;
        if taken.route != route(path) {
            return Err(unauthenticated("the ticket is for another route"));
        }
        let account = self.store.ticket_bearer(&taken).await?;
        account.map(|account| account.principal).ok_or_else(|| unauthenticated("the account or the session is over"))
    }
}

/// A WebSocket begins with a GET and nothing else.
fn route(path: &str) -> String {
    format!("GET {path}")
}
