//! Accounts and their password hashes.

use std::fmt;

use sqlx::AnyConnection;

use super::{Entry, Store, TenantMeans, is_duplicate};
use crate::domain::{Attempt, Error, Kind, Login, Principal, Result, Role, Tenant};

/// Most accounts of one tenant, and most platform administrators: the store is everybody's.
const MOST_ACCOUNTS: i64 = 10_000;

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

impl AccountChange {
    fn is_none(&self) -> bool {
        self.role.is_none() && self.disabled.is_none() && self.password_hash.is_none()
    }
}

/// An account to make.
pub struct NewAccount {
    /// What it signs in with.
    pub login: Login,
    /// What it is.
    pub role: Role,
    /// argon2id, PHC string.
    pub password_hash: String,
}

/// What changes, and nothing of a password but that it does.
impl fmt::Display for AccountChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = self.role.map(|role| format!("role {}", role.as_str()));
        let disabled = self.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }.to_owned());
        let password = self.password_hash.as_ref().map(|_| "another password".to_owned());
        f.write_str(&[role, disabled, password].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// An account as those see it who manage it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// Our identifier.
    pub id: String,
    /// What it signs in with.
    pub login: Login,
    /// What it is.
    pub role: Role,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// The identity provider that vouches for it, and its name for the person.
    pub identity: Option<(String, String)>,
}

/// An account with what is needed to sign it in.
pub struct Account {
    /// Who it is.
    pub principal: Principal,
    /// argon2id, PHC string. None where an identity provider vouches for it.
    pub password_hash: Option<String>,
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

#[derive(sqlx::FromRow)]
struct InfoRow {
    id: String,
    login: String,
    role: String,
    disabled: i64,
    created_ms: i64,
    issuer: Option<String>,
    subject: Option<String>,
}

/// Accounts as those see them who manage them.
macro_rules! select_info {
    ($rest:literal) => {
        concat!("SELECT id, login, role, disabled, created_ms, issuer, subject FROM accounts WHERE ", $rest)
    };
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
    /// Makes an account. `NotFound` if its tenant does not exist or is going, `Conflict` if the login is taken.
    pub async fn create_account(
        &self,
        login: &Login,
        role: Role,
        password_hash: &str,
        attempt: Option<&Attempt>,
        entry: &Entry,
    ) -> Result<()> {
        let id = self.id_for(attempt);
        let mut tx = self.begin().await?;
        self.insert_account(&mut tx, &id, (login, role, password_hash)).await?;
        tx.commit().await?;
        entry.identify(&id);
        Ok(())
    }

    /// Makes accounts, and those of their tenants that are missing with these means: all or none.
    pub async fn create_accounts(
        &self,
        accounts: &[NewAccount],
        means: &TenantMeans,
        _entries: &[Entry],
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        for NewAccount { login, role, password_hash } in accounts {
            if let Some(slug) = &login.tenant {
                let known: Option<String> = sqlx::query_scalar("SELECT id FROM tenants WHERE slug = $1")
                    .bind(slug.as_str())
                    .fetch_optional(&mut *tx)
                    .await?;
                if known.is_none() {
                    let tenant = Tenant { id: (self.world.new_id)(), slug: slug.clone() };
                    self.insert_tenant(&mut tx, &tenant, means).await?;
                }
            }
            self.insert_account(&mut tx, &(self.world.new_id)(), (login, *role, password_hash)).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn insert_account(
        &self,
        conn: &mut AnyConnection,
        id: &str,
        (login, role, password_hash): (&Login, Role, &str),
    ) -> Result<()> {
        let tenant: Option<String> = match &login.tenant {
            Some(slug) => {
                let missing = || Error::new(Kind::NotFound, format!("there is no tenant {slug}"));
                let found = sqlx::query_scalar("SELECT id FROM tenants WHERE slug = $1 AND deleting = 0");
                Some(found.bind(slug.as_str()).fetch_optional(&mut *conn).await?.ok_or_else(missing)?)
            }
            None => None,
        };
        room_for_one(conn, tenant.as_deref()).await?;
        sqlx::query(
            "INSERT INTO accounts (id, tenant_id, login, role, password_hash, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(tenant)
        .bind(login.to_string())
        .bind(role.as_str())
        .bind(password_hash)
        .bind(self.world.now_ms())
        .execute(conn)
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
        let rows: Vec<InfoRow> = sqlx::query_as(select_info!("COALESCE(tenant_id, '') = $1 ORDER BY login"))
            .bind(tenant.map_or("", |tenant| &tenant.id))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(InfoRow::into_info).collect()
    }

    /// The account of that login, disabled or not.
    pub async fn account_info(&self, login: &Login) -> Result<Option<AccountInfo>> {
        let row: Option<InfoRow> =
            sqlx::query_as(select_info!("login = $1")).bind(login.to_string()).fetch_optional(&self.pool).await?;
        row.map(InfoRow::into_info).transpose()
    }

    /// Whose account of that login it is, disabled or not: none where there is none, and no tenant where it is the
    /// platform's.
    pub async fn account_tenant(&self, login: &Login) -> Result<Option<Option<Tenant>>> {
        let row: Option<(Option<String>,)> = sqlx::query_as("SELECT tenant_id FROM accounts WHERE login = $1")
            .bind(login.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(id,)| Some(Tenant { id: id?, slug: login.tenant.clone()? })))
    }

    /// Changes an account, and ends all that was issued to it. `Conflict` if it is not what it was when it was looked at,
    /// if no platform administrator would be left, or if an identity provider decides what is to be changed.
    pub async fn change_account(&self, account: &AccountInfo, change: &AccountChange, _entry: &Entry) -> Result<()> {
        if change.role.is_some_and(|role| (role == Role::Platform) != account.login.tenant.is_none()) {
            return Err(Error::invalid(PLATFORM_IS_APART));
        }
        if change.is_none() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        refuse_what_a_provider_decides(&mut tx, account, change).await?;
        let now = self.world.now_ms() / 1000;
        let done = sqlx::query(
            "UPDATE accounts SET role = COALESCE($3, role), disabled = COALESCE($4, disabled),
                                 password_hash = COALESCE($5, password_hash), epoch = epoch + 1,
                                 good_from = CASE WHEN $4 = 1 AND issuer IS NOT NULL THEN $6 ELSE good_from END
             WHERE id = $1 AND role = $2",
        )
        .bind(&account.id)
        .bind(account.role.as_str())
        .bind(change.role.map(Role::as_str))
        .bind(change.disabled.map(i64::from))
        .bind(change.password_hash.as_deref())
        .bind(now + 1)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(changed_meanwhile());
        }
        someone_is_left(&mut tx, &account.login).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes an account away. `Conflict` as for a change.
    pub async fn delete_account(&self, account: &AccountInfo, _entry: &Entry) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM accounts WHERE id = $1 AND role = $2")
            .bind(&account.id)
            .bind(account.role.as_str())
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(changed_meanwhile());
        }
        someone_is_left(&mut tx, &account.login).await?;
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

/// `Quota` if the tenant has as many accounts as it may have.
pub(super) async fn room_for_one(conn: &mut AnyConnection, tenant_id: Option<&str>) -> Result<()> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts WHERE COALESCE(tenant_id, '') = $1")
        .bind(tenant_id.unwrap_or_default())
        .fetch_one(conn)
        .await?;
    if count >= MOST_ACCOUNTS {
        return Err(Error::new(Kind::Quota, format!("there are {count} accounts, which is the most there may be")));
    }
    Ok(())
}

/// What is changed here would be as before with the next token, or never asked for.
async fn refuse_what_a_provider_decides(
    conn: &mut AnyConnection,
    account: &AccountInfo,
    change: &AccountChange,
) -> Result<()> {
    let text = "SELECT mapped FROM accounts WHERE id = $1 AND issuer IS NOT NULL";
    let mapped: Option<i64> = sqlx::query_scalar(text).bind(&account.id).fetch_optional(conn).await?;
    let refused = |message| Err(Error::new(Kind::Conflict, message));
    match mapped {
        Some(_) if change.password_hash.is_some() => refused("this account signs in at its identity provider"),
        Some(1) if change.role.is_some() => refused("the role of this account is what its identity provider says"),
        _ => Ok(()),
    }
}

/// An installation that nobody runs could not be helped through its API any more. Whom a provider makes administrator, it
/// may make something else tomorrow.
async fn someone_is_left(conn: &mut AnyConnection, changed: &Login) -> Result<()> {
    if changed.tenant.is_some() {
        return Ok(());
    }
    let text = "SELECT COUNT(*) FROM accounts WHERE role = 'platform' AND disabled = 0 AND issuer IS NULL";
    let left: i64 = sqlx::query_scalar(text).fetch_one(conn).await?;
    if left > 0 { Ok(()) } else { Err(Error::new(Kind::Conflict, "this is the last platform administrator")) }
}

/// Why a role is refused for an account.
pub const PLATFORM_IS_APART: &str =
    "the role platform goes with a name without a tenant, every other role with TENANT/NAME";

/// Who may change an account depends on what it is: what was looked at is what gets changed (SECURITY rule 22).
fn changed_meanwhile() -> Error {
    Error::new(Kind::Conflict, "somebody else changed this account just now; look at it again")
}

impl InfoRow {
    fn into_info(self) -> Result<AccountInfo> {
        Ok(AccountInfo {
            id: self.id,
            login: Login::parse(&self.login).map_err(Error::internal)?,
            role: self.role.parse().map_err(Error::internal)?,
            disabled: self.disabled != 0,
            created_ms: self.created_ms,
            identity: self.issuer.zip(self.subject),
        })
    }
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
                foreign_iat: None,
            },
            password_hash: Some(self.password_hash).filter(|hash| !hash.is_empty()),
            epoch: self.epoch,
        })
    }
}
