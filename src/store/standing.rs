//! Whether many who were let in may stay, in few questions.

use std::collections::HashMap;

use super::{AT_ONCE, Store, marks};
use crate::domain::{Error, Result, Role, Scope};

/// Which rows of accounts are good; the same as for a sign-in.
const GOOD: &str = "a.disabled = 0 AND COALESCE(t.deleting, 0) = 0";

/// What goes on, by the identifier of a session, key or account.
pub type Standing = HashMap<String, Stands>;

/// How one stands at this moment.
pub struct Stands {
    /// What it holds.
    pub scopes: Vec<Scope>,
    /// What an identity provider issued before then, in seconds since 1970, is nothing any more.
    pub good_from: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    role: String,
    scopes: String,
    good_from: i64,
}

impl Store {
    /// Of these sessions, those that go on.
    pub async fn sessions_in_standing(&self, ids: &[&str]) -> Result<Standing> {
        self.in_standing(
            "SELECT s.id, a.role, '' AS scopes, a.good_from FROM sessions s JOIN accounts a ON a.id = s.account_id
             LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE s.epoch = a.epoch AND s.ended_ms IS NULL AND s.expires_ms > $1 AND s.id",
            ids,
        )
        .await
    }

    /// Of these keys, those that are good.
    pub async fn keys_in_standing(&self, ids: &[&str]) -> Result<Standing> {
        self.in_standing(
            "SELECT k.id, a.role, k.scopes, a.good_from FROM api_keys k JOIN accounts a ON a.id = k.account_id
             LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE COALESCE(k.expires_ms, 9223372036854775807) > $1 AND k.id",
            ids,
        )
        .await
    }

    /// Of these accounts, those that are good.
    pub async fn accounts_in_standing(&self, ids: &[&str]) -> Result<Standing> {
        self.in_standing(
            "SELECT a.id, a.role, '' AS scopes, a.good_from FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE a.created_ms <= $1 AND a.id",
            ids,
        )
        .await
    }

    /// `select` ends before the identifiers; `$1` in it is the time.
    async fn in_standing(&self, select: &'static str, ids: &[&str]) -> Result<Standing> {
        let mut found = Standing::new();
        for some in ids.chunks(AT_ONCE) {
            let (marks, ids) = marks(2, some);
            let text = sqlx::AssertSqlSafe(format!("{select} IN ({marks}) AND {GOOD}"));
            let mut query = sqlx::query_as::<_, Row>(text).bind(self.world.now_ms());
            for id in ids {
                query = query.bind(id);
            }
            for row in query.fetch_all(&self.pool).await? {
                let stands = Stands { scopes: row.scopes()?, good_from: row.good_from };
                found.insert(row.id, stands);
            }
        }
        Ok(found)
    }
}

impl Row {
    /// What is held: the role's scopes, or those of them that a key names.
    fn scopes(&self) -> Result<Vec<Scope>> {
        let role: Role = self.role.parse().map_err(Error::internal)?;
        let mut scopes = role.scopes().to_vec();
        if !self.scopes.is_empty() {
            scopes.retain(|scope| self.scopes.split(' ').any(|named| named == scope.as_str()));
        }
        Ok(scopes)
    }
}
