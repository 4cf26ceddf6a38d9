//! Accounts and their password hashes.

use sqlx::AnyConnection;

use super::{Entry, Store, TenantMeans, is_duplicate};
use crate::domain::{Attempt, Error, Kind, Login, Principal, Result, Role, Tenant};

/// Most accounts of one tenant, and most platform administrators: the store is everybody's.
const MOST_ACCOUNTS: i64 = 10_000;

/// An account to make.
pub struct NewAccount {
    /// Our identifier.
    pub id: String,
    /// What it signs in with.
    pub login: Login,
    /// What it is.
    pub role: Role,
    /// argon2id, PHC string.
    pub password_hash: String,
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

/// Which accounts may come in; `a` is the account, `t` its tenant.
macro_rules! good {
    () => {
        "a.disabled = 0 AND COALESCE(t.deleting, 0) = 0"
    };
}
pub(super) use good;

/// Accounts that may come in.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.login, a.role, a.password_hash, a.tenant_id, a.epoch
             FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE ",
            good!(),
            " AND ",
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

    /// Makes tenants with these means, and accounts: all or none. `Conflict` and `NotFound` as for each.
    pub async fn create_accounts(
        &self,
        (tenants, means): (&[Tenant], &TenantMeans),
        accounts: &[NewAccount],
        _entries: &[Entry],
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        for tenant in tenants {
            self.insert_tenant(&mut tx, tenant, means).await?;
        }
        for NewAccount { id, login, role, password_hash } in accounts {
            self.insert_account(&mut tx, id, (login, *role, password_hash)).await?;
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

/// Why a role is refused for an account.
pub const PLATFORM_IS_APART: &str =
    "the role platform goes with a name without a tenant, every other role with TENANT/NAME";

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
        let epoch = session_id.is_some().then_some(self.epoch);
        Ok(Account {
            principal: Principal { session_id, epoch, ..principal(self.id, login, &self.role, self.tenant_id)? },
            password_hash: Some(self.password_hash).filter(|hash| !hash.is_empty()),
            epoch: self.epoch,
        })
    }
}

/// Who an account is, however it came.
pub(super) fn principal(id: String, login: Login, role: &str, tenant_id: Option<String>) -> Result<Principal> {
    let tenant = match (tenant_id, &login.tenant) {
        (Some(id), Some(slug)) => Some(Tenant { id, slug: slug.clone() }),
        (None, None) => None,
        _ => return Err(Error::internal(format!("account {id} contradicts its tenant"))),
    };
    let role: Role = role.parse().map_err(Error::internal)?;
    let scopes = role.scopes().to_vec();
    let (session_id, epoch, key_id, foreign_iat) = (None, None, None, None);
    Ok(Principal { account_id: id, login, role, tenant, scopes, session_id, epoch, key_id, foreign_iat })
}
