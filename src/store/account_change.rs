//! Accounts that change, and those that go.

use std::fmt;

use sqlx::AnyConnection;

use super::accounts::PLATFORM_IS_APART;
use super::{AccountInfo, Entry, Store};
use crate::domain::{Error, Kind, Login, Result, Role};

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
    /// Whether it does nothing but lock the account.
    pub fn only_disables(&self) -> bool {
        self.disabled == Some(true) && self.role.is_none() && self.password_hash.is_none()
    }

    fn is_none(&self) -> bool {
        self.role.is_none() && self.disabled.is_none() && self.password_hash.is_none()
    }
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

impl Store {
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

    /// Gives an account the password that it chose for itself while this was its epoch. `Conflict` if it is another one by
    /// now: who reset the password meanwhile, or locked the account, has the last word.
    pub async fn change_own_password(&self, account_id: &str, epoch: i64, hash: &str, _entry: &Entry) -> Result<()> {
        let done = sqlx::query(
            "UPDATE accounts SET password_hash = $1, epoch = epoch + 1
             WHERE id = $2 AND epoch = $3 AND disabled = 0 AND issuer IS NULL",
        )
        .bind(hash)
        .bind(account_id)
        .bind(epoch)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(changed_meanwhile()) }
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

/// Who may change an account depends on what it is: what was looked at is what gets changed (SECURITY rule 22).
fn changed_meanwhile() -> Error {
    Error::new(Kind::Conflict, "somebody else changed this account just now; look at it again")
}
