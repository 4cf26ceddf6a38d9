//! Accounts and their password hashes.

use super::{Store, is_duplicate};
use crate::domain::{Error, Kind, Login, Principal, Result, Role, Tenant};

/// What may change of an account. What is none stays.
#[derive(Debug, Default, Clone)]
pub struct AccountChange {
    /// Another role, of the same kind: a tenant's or the platform's.
    pub role: Option<Role>,
    /// Whether it may sign in.
    pub disabled: Option<bool>,
    /// argon2id, PHC string.
    pub password_hash: Option<String>,
}

/// An account as those see it who manage it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// What it signs in with.
    pub login: Login,
    /// What it is.
    pub role: Role,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// An account with what is needed to sign it in.
pub struct Account {
    /// Who it is.
    pub principal: Principal,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// What its tokens and sessions were issued under, if they are good still.
    pub epoch: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    login: String,
    role: String,
    password_hash: String,
    tenant_id: Option<String>,
    epoch: i64,
}

/// Enabled accounts.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.login, a.role, a.password_hash, a.tenant_id, a.epoch
             FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE a.disabled = 0 AND COALESCE(t.deleting, 0) = 0 AND ",
            $rest
        )
    };
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

    /// The accounts of a tenant, or the platform administrators, by name.
    pub async fn accounts(&self, tenant: Option<&Tenant>) -> Result<Vec<AccountInfo>> {
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
            "SELECT login, role, disabled, created_ms FROM accounts
             WHERE COALESCE(tenant_id, '') = $1 ORDER BY login",
        )
        .bind(tenant.map_or("", |tenant| &tenant.id))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(info).collect()
    }

    /// The account of that login, disabled or not.
    pub async fn account_info(&self, login: &Login) -> Result<Option<AccountInfo>> {
        let row: Option<(String, String, i64, i64)> =
            sqlx::query_as("SELECT login, role, disabled, created_ms FROM accounts WHERE login = $1")
                .bind(login.to_string())
                .fetch_optional(&self.pool)
                .await?;
        row.map(info).transpose()
    }

    /// Changes an account, and ends all that was issued to it. `NotFound` if there is none, `Conflict` if no platform
    /// administrator would be left.
    pub async fn change_account(&self, login: &Login, change: &AccountChange) -> Result<()> {
        if change.role.is_some_and(|role| (role == Role::Platform) != login.tenant.is_none()) {
            return Err(Error::invalid(PLATFORM_IS_APART));
        }
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE accounts SET role = COALESCE($2, role), disabled = COALESCE($3, disabled),
                                 password_hash = COALESCE($4, password_hash), epoch = epoch + 1
             WHERE login = $1",
        )
        .bind(login.to_string())
        .bind(change.role.map(Role::as_str))
        .bind(change.disabled.map(i64::from))
        .bind(change.password_hash.as_deref())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(no_account(login));
        }
        someone_is_left(&mut tx, login).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes an account away. `NotFound` and `Conflict` as for a change.
    pub async fn delete_account(&self, login: &Login) -> Result<()> {
        let mut tx = self.begin().await?;
        let done =
            sqlx::query("DELETE FROM accounts WHERE login = $1").bind(login.to_string()).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Err(no_account(login));
        }
        someone_is_left(&mut tx, login).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The enabled account of that login.
    pub async fn account_by_login(&self, login: &Login) -> Result<Option<Account>> {
        let row: Option<Row> =
            sqlx::query_as(select!("a.login = $1")).bind(login.to_string()).fetch_optional(&self.pool).await?;
        row.map(|row| row.into_account(None)).transpose()
    }

    /// The enabled account of that identifier.
    pub(super) async fn account_by_id(&self, id: &str) -> Result<Option<Account>> {
        let row: Option<Row> = sqlx::query_as(select!("a.id = $1")).bind(id).fetch_optional(&self.pool).await?;
        row.map(|row| row.into_account(None)).transpose()
    }

    /// Whom a token means at this moment: the enabled account, if the session and epoch it was issued in go on.
    pub async fn bearer(&self, id: &str, session: &str, epoch: i64) -> Result<Option<Account>> {
        let row: Option<Row> = sqlx::query_as(select!(
            "a.id = $1 AND a.epoch = $2 AND EXISTS (
                 SELECT 1 FROM sessions s
                 WHERE s.id = $3 AND s.account_id = a.id AND s.epoch = $2 AND s.ended_ms IS NULL AND s.expires_ms > $4
             )"
        ))
        .bind(id)
        .bind(epoch)
        .bind(session)
        .bind(self.world.now_ms())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| row.into_account(Some(session.to_owned()))).transpose()
    }
}

/// An installation that nobody runs could not be helped through its API any more.
async fn someone_is_left(conn: &mut sqlx::AnyConnection, changed: &Login) -> Result<()> {
    if changed.tenant.is_some() {
        return Ok(());
    }
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts WHERE role = 'platform' AND disabled = 0")
        .fetch_one(conn)
        .await?;
    if left > 0 { Ok(()) } else { Err(Error::new(Kind::Conflict, "this is the last platform administrator")) }
}

/// Why a role is refused for an account.
pub const PLATFORM_IS_APART: &str =
    "the role platform goes with a name without a tenant, every other role with TENANT/NAME";

fn no_account(login: &Login) -> Error {
    Error::new(Kind::NotFound, format!("there is no account {login}"))
}

fn info((login, role, disabled, created_ms): (String, String, i64, i64)) -> Result<AccountInfo> {
    Ok(AccountInfo {
        login: Login::parse(&login).map_err(Error::internal)?,
        role: role.parse().map_err(Error::internal)?,
        disabled: disabled != 0,
        created_ms,
    })
}

impl Row {
    fn into_account(self, session_id: Option<String>) -> Result<Account> {
        let login = Login::parse(&self.login).map_err(Error::internal)?;
        let tenant = match (self.tenant_id, &login.tenant) {
            (Some(id), Some(slug)) => Some(Tenant { id, slug: slug.clone() }),
            (None, None) => None,
            _ => return Err(Error::internal(format!("account {} contradicts its tenant", self.id))),
        };
        let role: Role = self.role.parse().map_err(Error::internal)?;
        Ok(Account {
            principal: Principal {
                account_id: self.id,
                login,
                role,
                tenant,
                scopes: role.scopes().to_vec(),
                session_id,
                key_id: None,
            },
            password_hash: self.password_hash,
            epoch: self.epoch,
        })
    }
}
