//! Whether many who were let in may stay, in few questions.

use std::collections::HashMap;

use super::accounts::good;
use super::api_keys::{key_session, named_of};
use super::{AT_ONCE, Store, marks};
use crate::domain::{Error, Result, Role, Scope};

/// What goes on, by the identifier of a session, key or account.
pub type Standing = HashMap<String, Stands>;

/// How one stands at this moment.
pub struct Stands {
    /// What it holds.
    pub scopes: Vec<Scope>,
    /// What an identity provider issued before then, in seconds since 1970, is nothing any more.
    pub good_from: i64,
    /// The account's epoch.
    pub epoch: i64,
    /// Of a key: the sessions of its secrets that are good.
    pub sessions: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    role: String,
    good_from: i64,
    epoch: i64,
    scopes: String,
    digest: String,
    previous: String,
}

/// Whatever is none of a key.
macro_rules! no_key {
    () => {
        "'' AS scopes, '' AS digest, '' AS previous"
    };
}

impl Store {
    /// Of these sessions, those that go on.
    pub async fn sessions_in_standing(&self, ids: &[&str]) -> Result<Standing> {
        self.in_standing(
            concat!(
                "SELECT s.id, a.role, a.good_from, a.epoch, ",
                no_key!(),
                " FROM sessions s JOIN accounts a ON a.id = s.account_id LEFT JOIN tenants t ON t.id = a.tenant_id
                 WHERE s.epoch = a.epoch AND s.ended_ms IS NULL AND s.expires_ms > $1 AND s.id"
            ),
            ids,
        )
        .await
    }

    /// Of these keys, those that are good.
    pub async fn keys_in_standing(&self, ids: &[&str]) -> Result<Standing> {
        self.in_standing(
            "SELECT k.id, a.role, a.good_from, a.epoch, k.scopes, k.digest,
                    CASE WHEN k.previous_until_ms > $1 THEN COALESCE(k.previous_digest, '') ELSE '' END AS previous
             FROM api_keys k JOIN accounts a ON a.id = k.account_id LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE COALESCE(k.expires_ms, 9223372036854775807) > $1 AND k.id",
            ids,
        )
        .await
    }

    /// Of these accounts, those that are good.
    pub async fn accounts_in_standing(&self, ids: &[&str]) -> Result<Standing> {
        self.in_standing(
            concat!(
                "SELECT a.id, a.role, a.good_from, a.epoch, ",
                no_key!(),
                " FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id WHERE a.created_ms <= $1 AND a.id"
            ),
            ids,
        )
        .await
    }

    /// `select` ends before the identifiers; `$1` in it is the time.
    async fn in_standing(&self, select: &'static str, ids: &[&str]) -> Result<Standing> {
        let mut found = Standing::new();
        for some in ids.chunks(AT_ONCE) {
            let (marks, ids) = marks(2, some);
            let text = sqlx::AssertSqlSafe(format!("{select} IN ({marks}) AND {}", good!()));
            let mut query = sqlx::query_as::<_, Row>(text).bind(self.world.now_ms());
            for id in ids {
                query = query.bind(id);
            }
            for row in query.fetch_all(&self.pool).await? {
                let (id, stands) = row.stands()?;
                found.insert(id, stands);
            }
        }
        Ok(found)
    }
}

impl Row {
    fn stands(self) -> Result<(String, Stands)> {
        let role: Role = self.role.parse().map_err(Error::internal)?;
        let digests = [&self.digest, &self.previous].into_iter().filter(|digest| !digest.is_empty());
        let stands = Stands {
            scopes: named_of(role.scopes(), &self.scopes),
            good_from: self.good_from,
            epoch: self.epoch,
            sessions: digests.map(|digest| key_session(&self.id, digest)).collect(),
        };
        Ok((self.id, stands))
    }
}
