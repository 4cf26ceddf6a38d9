//! Accounts of people whom an identity provider vouches for.
//!
//! Their tokens are not ours to end; the account is, and with it what they may do here. So there is a row for each, found
//! by the provider and its name for the person, that can be listed, disabled and named in the audit like any other.

use sqlx::AnyConnection;

use super::accounts::{principal, room_for_one};
use super::{Account, Deed, Entry, Object, Outcome, Room, Store};
use crate::domain::{AccountName, Error, Kind, Login, Principal, Result, Role, Tenant, TenantSlug};

/// What a verified token says.
pub struct ForeignToken<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// `iat`, seconds since 1970.
    pub issued_at: i64,
    /// What its claims give.
    pub access: &'a ForeignAccess,
}

/// What claims give by the operator's mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignAccess {
    /// Nothing: the account that the operator made says it all.
    Linked,
    /// This role in this tenant, or the platform's.
    Mapped {
        /// None for a platform administrator.
        tenant: Option<TenantSlug>,
        /// The role.
        role: Role,
        /// What a new account is called, the first that is free.
        names: Vec<AccountName>,
    },
    /// No access, and why.
    Nothing(&'static str),
}

const NO_TENANT: &str = "the tenant that the token's claims name does not exist here";

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    login: String,
    role: String,
    tenant_id: Option<String>,
    epoch: i64,
    mapped: i64,
    good_from: i64,
    disabled: i64,
}

impl Store {
    /// Whom a provider's token means at this moment, if that account may come in; it is made at first sight. `Forbidden`
    /// where neither the claims nor an account gives access.
    ///
    /// Of two tokens that say different things the one issued later is right, and the earlier is nothing any more.
    pub async fn foreign_bearer(&self, token: &ForeignToken<'_>) -> Result<Option<Account>> {
        let rows: Vec<(Login, Row)> = self.accounts_of(token).await?;
        let (tenant, role, names) = match token.access {
            ForeignAccess::Linked => return linked(token, rows),
            ForeignAccess::Mapped { tenant, role, names } => (tenant, *role, names),
            ForeignAccess::Nothing(why) => {
                self.left(token, rows.iter()).await?;
                return Err(no_access(why));
            }
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(login, _)| login.tenant == *tenant);
        self.left(token, elsewhere.iter()).await?;
        let Some((login, mut row)) = here.into_iter().next() else {
            return self.make_foreign(token, tenant.as_ref(), role, names).await.map(Some);
        };
        if !row.is_good(token) {
            return Ok(None);
        }
        if row.role != role.as_str() || row.mapped == 0 {
            self.change_foreign(token, &login, &row, role).await?;
            role.as_str().clone_into(&mut row.role);
        }
        row.into_account(login, token).map(Some)
    }

    /// Ends what a provider issued to this account before this time, in seconds since 1970.
    pub async fn end_foreign(&self, account_id: &str, good_from: i64, _entry: &Entry) -> Result<()> {
        sqlx::query("UPDATE accounts SET good_from = $1 WHERE id = $2 AND good_from < $1")
            .bind(good_from)
            .bind(account_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Makes an account for a person of a provider. `NotFound` and `Conflict` as for every account; `Conflict` also where
    /// that person has one.
    pub async fn link_account(
        &self,
        login: &Login,
        role: Role,
        (issuer, subject): (&str, &str),
        entry: &Entry,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let known: Option<String> = sqlx::query_scalar("SELECT login FROM accounts WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(known) = known {
            return Err(Error::new(Kind::Conflict, format!("this person has the account {known} already")));
        }
        let tenant = match &login.tenant {
            Some(slug) => Some(tenant_id(&mut tx, slug).await?.ok_or_else(|| no_tenant(slug))?),
            None => None,
        };
        let made = self.insert_foreign(&mut tx, (issuer, subject), login, tenant.as_deref(), role, false).await?;
        let taken = || Error::new(Kind::Conflict, format!("there is an account {login} already"));
        let id = made.ok_or_else(taken)?;
        tx.commit().await?;
        entry.identify(&id);
        Ok(())
    }

    async fn accounts_of(&self, token: &ForeignToken<'_>) -> Result<Vec<(Login, Row)>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT a.id, a.login, a.role, a.tenant_id, a.epoch, a.mapped, a.good_from,
                    a.disabled + COALESCE(t.deleting, 0) AS disabled
             FROM accounts a LEFT JOIN tenants t ON t.id = a.tenant_id
             WHERE a.issuer = $1 AND a.subject = $2 ORDER BY a.login",
        )
        .bind(token.issuer)
        .bind(token.subject)
        .fetch_all(&self.pool)
        .await?;
        let with_login = |row: Row| Ok((Login::parse(&row.login).map_err(Error::internal)?, row));
        rows.into_iter().map(with_login).collect()
    }

    /// The token gives nothing in these accounts; earlier ones that did shall not either.
    async fn left(&self, token: &ForeignToken<'_>, rows: impl Iterator<Item = &(Login, Row)> + Send) -> Result<()> {
        let stale: Vec<_> = rows.filter(|(_, row)| row.mapped != 0 && row.good_from <= token.issued_at).collect();
        for (login, row) in stale {
            let reason = format!("no access by the claims of {}", token.issuer);
            let deed = Deed::of_the_system("changeAccount", object(login, row), Some(&reason));
            let entry = self.announce_upkeep(deed).await?;
            let ended = self.end_foreign(&row.id, token.issued_at.saturating_add(1), &entry).await;
            entry.end(Outcome::of(&ended));
            ended?;
        }
        Ok(())
    }

    /// Gives an account the role that its owner's claims say now.
    async fn change_foreign(&self, token: &ForeignToken<'_>, login: &Login, row: &Row, role: Role) -> Result<()> {
        let reason = format!("the role {} by the claims of {}", role.as_str(), token.issuer);
        let deed = Deed::of_the_system("changeAccount", object(login, row), Some(&reason));
        let entry = self.announce_deed(deed, Room::Needed).await?;
        let text = "UPDATE accounts SET role = $1, mapped = 1, good_from = $2 WHERE id = $3 AND good_from <= $2";
        let query = sqlx::query(text).bind(role.as_str()).bind(token.issued_at).bind(&row.id);
        let changed = query.execute(&self.pool).await.map_err(Error::from);
        entry.end(Outcome::of(&changed));
        changed.map(drop)
    }

    async fn make_foreign(
        &self,
        token: &ForeignToken<'_>,
        tenant: Option<&TenantSlug>,
        role: Role,
        names: &[AccountName],
    ) -> Result<Account> {
        let owner = match tenant {
            Some(slug) => Some(self.tenant(slug).await?.ok_or_else(|| no_access(NO_TENANT))?),
            None => None,
        };
        let wanted = names.first().map(|name| Login { tenant: tenant.cloned(), name: name.clone() });
        let object = Object::named("account", wanted.map(|login| login.to_string()).unwrap_or_default());
        let reason = format!("the role {} by the claims of {}", role.as_str(), token.issuer);
        let deed = Deed::of_the_system("createAccount", object.of(owner.as_ref()), Some(&reason));
        let entry = self.announce_deed(deed, Room::Needed).await?;
        let made = self.make_first_free(token, owner.as_ref(), role, names).await;
        entry.end(match &made {
            Ok(Some(id)) => {
                entry.identify(id);
                Outcome::of(&made)
            }
            Ok(None) => Outcome::of::<()>(&Err(Error::new(Kind::Conflict, "there is one, or no name is free"))),
            Err(_) => Outcome::of(&made),
        });
        made?;
        // Or another request was faster.
        let found = self.accounts_of(token).await?.into_iter().find(|(login, _)| login.tenant.as_ref() == tenant);
        let (login, row) = found.ok_or_else(|| Error::new(Kind::Conflict, "no name is free for a new account"))?;
        row.into_account(login, token)
    }

    /// The identifier of the new account, under the first name that is free; none if there is one for that person.
    async fn make_first_free(
        &self,
        token: &ForeignToken<'_>,
        tenant: Option<&Tenant>,
        role: Role,
        names: &[AccountName],
    ) -> Result<Option<String>> {
        let mut tx = self.begin().await?;
        // It may be on its way out meanwhile.
        let tenant_id = match tenant {
            Some(tenant) => Some(tenant_id(&mut tx, &tenant.slug).await?.ok_or_else(|| no_access(NO_TENANT))?),
            None => None,
        };
        let identity = (token.issuer, token.subject);
        let mut made = None;
        for name in names {
            let login = Login { tenant: tenant.map(|tenant| tenant.slug.clone()), name: name.clone() };
            made = self.insert_foreign(&mut tx, identity, &login, tenant_id.as_deref(), role, true).await?;
            if made.is_some() {
                tracing::info!(account = %login, issuer = token.issuer, "an account was made at first sight");
                break;
            }
        }
        tx.commit().await?;
        Ok(made)
    }

    /// Its identifier, if it could be inserted.
    async fn insert_foreign(
        &self,
        conn: &mut AnyConnection,
        (issuer, subject): (&str, &str),
        login: &Login,
        tenant_id: Option<&str>,
        role: Role,
        mapped: bool,
    ) -> Result<Option<String>> {
        room_for_one(conn, tenant_id).await?;
        let id = (self.world.new_id)();
        // No password has an empty hash.
        let done = sqlx::query(
            "INSERT INTO accounts (id, tenant_id, login, role, password_hash, created_ms, issuer, subject, mapped)
             VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(&id)
        .bind(tenant_id)
        .bind(login.to_string())
        .bind(role.as_str())
        .bind(self.world.now_ms())
        .bind(issuer)
        .bind(subject)
        .bind(i64::from(mapped))
        .execute(conn)
        .await?;
        Ok((done.rows_affected() == 1).then_some(id))
    }
}

/// The account that the operator made for this person.
fn linked(token: &ForeignToken<'_>, rows: Vec<(Login, Row)>) -> Result<Option<Account>> {
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (Some((login, row)), None) if row.is_good(token) => row.into_account(login, token).map(Some),
        (Some(_), None) => Ok(None),
        (Some(_), Some(_)) => Err(no_access("this person has several accounts here")),
        (None, _) => Err(no_access("nobody made an account for this person here")),
    }
}

/// A tenant that is there to stay.
async fn tenant_id(conn: &mut AnyConnection, slug: &TenantSlug) -> Result<Option<String>> {
    let id = sqlx::query_scalar("SELECT id FROM tenants WHERE slug = $1 AND deleting = 0").bind(slug.as_str());
    Ok(id.fetch_optional(conn).await?)
}

/// An account as the audit log names it.
fn object(login: &Login, row: &Row) -> Object {
    let tenant = login.tenant.clone().zip(row.tenant_id.clone()).map(|(slug, id)| Tenant { id, slug });
    Object::named("account", login.to_string()).with_id(&row.id).of(tenant.as_ref())
}

fn no_tenant(slug: &TenantSlug) -> Error {
    Error::new(Kind::NotFound, format!("there is no tenant {slug}"))
}

/// The token is good; it opens nothing.
fn no_access(why: &'static str) -> Error {
    Error::new(Kind::Forbidden, why)
}

impl Row {
    fn is_good(&self, token: &ForeignToken<'_>) -> bool {
        self.disabled == 0 && token.issued_at >= self.good_from
    }

    fn into_account(self, login: Login, token: &ForeignToken<'_>) -> Result<Account> {
        let principal = principal(self.id, login, &self.role, self.tenant_id)?;
        Ok(Account {
            principal: Principal { foreign_iat: Some(token.issued_at), ..principal },
            password_hash: None,
            epoch: self.epoch,
        })
    }
}
