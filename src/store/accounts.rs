//! Accounts and their password hashes.

use super::{Store, is_duplicate};
use crate::domain::{Error, Kind, Login, Principal, Result, Role, Tenant};

/// An account with what is needed to sign it in.
pub struct Account {
    /// Who it is.
    pub principal: Principal,
    /// argon2id, PHC string.
    pub password_hash: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    login: String,
    role: String,
    password_hash: String,
    tenant_id: Option<String>,
}

impl Store {
    /// Makes an account. `NotFound` if its tenant does not exist, `Conflict` if the login is taken.
    pub async fn create_account(&self, login: &Login, role: Role, password_hash: &str) -> Result<()> {
        let tenant = match &login.tenant {
            Some(slug) => {
                let missing = || Error::new(Kind::NotFound, format!("there is no tenant {slug}"));
                Some(self.tenant(slug).await?.ok_or_else(missing)?.id)
            }
            None => None,
        };
        sqlx::query(
            "INSERT INTO accounts (id, tenant_id, login, role, password_hash, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind((self.world.new_id)())
        .bind(tenant)
        .bind(login.to_string())
        .bind(role.as_str())
        .bind(password_hash)
        .bind(self.world.now_ms())
        .execute(&self.pool)
        .await
        .map_err(|error| {
            if is_duplicate(&error) {
                Error::new(Kind::Conflict, format!("there is an account {login} already"))
            } else {
                error.into()
            }
        })?;
        Ok(())
    }

    /// The enabled account of that login.
    pub async fn account_by_login(&self, login: &Login) -> Result<Option<Account>> {
        let row = sqlx::query_as(
            "SELECT a.id, a.login, a.role, a.password_hash, a.tenant_id
             FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE a.login = $1 AND a.disabled = 0 AND COALESCE(t.deleting, 0) = 0",
        );
        row.bind(login.to_string()).fetch_optional(&self.pool).await?.map(Row::into_account).transpose()
    }

    /// The enabled account of that identifier: what a token's `sub` means at this moment.
    pub async fn account_by_id(&self, id: &str) -> Result<Option<Account>> {
        let row = sqlx::query_as(
            "SELECT a.id, a.login, a.role, a.password_hash, a.tenant_id
             FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE a.id = $1 AND a.disabled = 0 AND COALESCE(t.deleting, 0) = 0",
        );
        row.bind(id).fetch_optional(&self.pool).await?.map(Row::into_account).transpose()
    }
}

impl Row {
    fn into_account(self) -> Result<Account> {
        let login = Login::parse(&self.login).map_err(Error::internal)?;
        let tenant = match (self.tenant_id, &login.tenant) {
            (Some(id), Some(slug)) => Some(Tenant { id, slug: slug.clone() }),
            (None, None) => None,
            _ => return Err(Error::internal(format!("account {} contradicts its tenant", self.id))),
        };
        let role: Role = self.role.parse().map_err(Error::internal)?;
        Ok(Account {
            principal: Principal { account_id: self.id, login, role, tenant },
            password_hash: self.password_hash,
        })
    }
}
