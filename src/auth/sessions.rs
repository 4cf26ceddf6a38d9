//! Signing in, going on, and signing out.

use std::sync::Arc;

use super::token::Subject;
use super::{Authenticator, MAX_PASSWORD_BYTES, SignedToken, api_keys, secret, unauthenticated};
use crate::domain::{Error, Kind, Login, Result, Scope};
use crate::store::{Account, Asker, Course, Entry, Object, Outcome, Refreshed, Room};

/// What a sign-in gives.
pub struct Session {
    /// For every request.
    pub access: SignedToken,
    /// For the next access token; good once.
    pub refresh_token: String,
    /// What both are good for.
    pub scopes: Vec<Scope>,
}

impl Authenticator {
    /// A session for whoever knows the password. One answer for every way to be wrong, after the same work.
    /// `RateLimited` for who tries too often, whatever the password.
    pub async fn sign_in(&self, course: &Arc<Course>, username: &str, password: &str) -> Result<Session> {
        let session = self.try_sign_in(course, username, password).await;
        self.metrics.login("password", &session);
        session
    }

    async fn try_sign_in(&self, course: &Arc<Course>, username: &str, password: &str) -> Result<Session> {
        let attempt = self.attempts.one(username, course.source())?;
        let login = Login::parse(username).ok();
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(self.refused(course, login.as_ref(), wrong_credentials()).await);
        }
        let account = match &login {
            Some(login) => self.store.account_by_login(login).await?,
            None => None,
        };
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let matches = self.passwords.verify(password.to_owned(), hash).await?;
        match account {
            Some(account) if matches => {
                self.attempts.succeeded(attempt);
                let refresh = secret::refresh_token();
                let asker = Asker::new(account.principal.clone(), Arc::clone(course));
                let entry = self.store.announce(&asker, Object::of_kind("session"), Room::Kept).await?;
                let digest = secret::digest(&refresh);
                let session_id = self.store.begin_session(&account, self.session_ms, Some(&digest), &entry).await?;
                self.session(&account, session_id, refresh)
            }
            _ => Err(self.refused(course, login.as_ref(), wrong_credentials()).await),
        }
    }

    /// Notes a sign-in that failed. What was given as a name is noted only where there is such an account: it may be a
    /// password in the wrong field.
    pub(super) async fn refused(&self, course: &Course, login: Option<&Login>, error: Error) -> Error {
        let noted = async {
            let tenant = match login {
                Some(login) => self.store.account_tenant(login).await?,
                None => None,
            };
            let object = match (login, &tenant) {
                (Some(login), Some(tenant)) => Object::named("account", login.to_string()).of(tenant.as_ref()),
                _ => Object::of_kind("account"),
            };
            self.store.note_refusal(course, None, object, not_signed_in(&error.message)).await
        };
        noted.await.err().unwrap_or(error)
    }

    /// The session goes on, with a new refresh token. A token that was used before ends it.
    pub async fn refresh(&self, course: &Arc<Course>, refresh_token: &str) -> Result<Session> {
        let session = self.try_refresh(course, refresh_token).await;
        self.metrics.login("refresh_token", &session);
        session
    }

    async fn try_refresh(&self, course: &Arc<Course>, refresh_token: &str) -> Result<Session> {
        let (new, used) = (secret::refresh_token(), secret::digest(refresh_token));
        let Some((session_id, login)) = self.store.session_of_token(&used).await? else {
            return Err(self.refused(course, None, stale()).await);
        };
        let Some(account) = self.store.account_by_login(&login).await? else {
            return Err(self.refused(course, Some(&login), stale()).await);
        };
        let asker = Asker::new(account.principal, Arc::clone(course));
        let session = Object::of_kind("session").with_id(&session_id);
        let entry = self.store.announce(&asker, session, Room::Kept).await?;
        match self.store.refresh_session(&used, &secret::digest(&new), &entry).await? {
            Refreshed::Continued(account) => {
                let session_id = account.principal.session_id.clone().unwrap_or_default();
                self.session(&account, session_id, new)
            }
            Refreshed::Replayed(account) => {
                tracing::warn!(account, "{REPLAYED}");
                entry.end(not_signed_in(REPLAYED));
                Err(stale())
            }
            Refreshed::Invalid => Err(stale()),
        }
    }

    fn session(&self, account: &Account, session_id: String, refresh_token: String) -> Result<Session> {
        let access = self.tokens.sign(subject(account, session_id))?;
        Ok(Session { access, refresh_token, scopes: account.principal.scopes.clone() })
    }

    /// A token for an account without its password: for the command line, which owns the store anyway.
    pub async fn sign_for(&self, login: &Login, entry: &Entry) -> Result<SignedToken> {
        let missing = || Error::new(Kind::NotFound, format!("there is no enabled account {login}"));
        let account = self.store.account_by_login(login).await?.ok_or_else(missing)?;
        let session_id = self.store.begin_session(&account, self.session_ms, None, entry).await?;
        self.tokens.sign(subject(&account, session_id))
    }

    /// Ends the principal's session, or everything that was ever issued to it. `Forbidden` for keys.
    ///
    /// A provider's token is not ours to end; from now on we take neither it nor those that were issued before.
    pub async fn sign_out(&self, asker: &Asker, everywhere: bool) -> Result<()> {
        if asker.key_id.is_some() {
            return Err(Error::new(Kind::Forbidden, "an API key has no session to end; its owner revokes it"));
        }
        let (asker, object) = match (everywhere, &asker.session_id) {
            (true, _) => (asker.noting("everywhere"), Object::of_kind("session")),
            (false, Some(session)) => (asker.clone(), Object::of_kind("session").with_id(session)),
            (false, None) => (asker.clone(), Object::of_kind("session")),
        };
        let entry = self.store.announce(&asker, object, Room::NotNeeded).await?;
        if let Some(issued_at) = asker.foreign_iat {
            let last = if everywhere { issued_at.max(self.store.now_ms() / 1000) } else { issued_at };
            self.store.end_foreign(&asker.account_id, last.saturating_add(1), &entry).await?;
        }
        if everywhere {
            self.store.raise_epoch(&asker.account_id, &entry).await
        } else {
            self.store.end_session(&asker, &entry).await
        }
    }

    /// Another password for who knows the one there is. `Forbidden` if it is wrong, and for keys; `RateLimited` as for a
    /// sign-in.
    pub async fn change_password(&self, asker: &Asker, password: &str, new: String) -> Result<()> {
        api_keys::no_key(asker)?;
        let _attempt = self.attempts.one(&asker.login.to_string(), asker.source())?;
        if asker.foreign_iat.is_some() {
            return Err(Error::new(Kind::Conflict, "this account signs in at its identity provider"));
        }
        let account = self.store.account_by_login(&asker.login).await?;
        let account = account.filter(|account| account.principal.account_id == asker.account_id);
        let (hash, epoch) = account.map(|account| (account.password_hash, account.epoch)).unzip();
        if password.len() > MAX_PASSWORD_BYTES || !self.passwords.verify(password.to_owned(), hash.flatten()).await? {
            return Err(Error::new(Kind::Forbidden, "the password is wrong"));
        }
        let epoch = epoch.ok_or_else(|| unauthenticated("the account is over"))?;
        let hash = self.hash_password(new).await?;
        let object = Object::named("account", asker.login.to_string()).with_id(&asker.account_id);
        let entry = self.store.announce(asker, object, Room::Needed).await?;
        self.store.change_own_password(&asker.account_id, epoch, &hash, &entry).await
    }
}

pub(super) fn subject(account: &Account, session_id: String) -> Subject {
    Subject { account_id: account.principal.account_id.clone(), session_id, epoch: account.epoch }
}

const REPLAYED: &str = "a refresh token was used twice; its session is over";

fn not_signed_in(reason: &str) -> Outcome {
    Outcome { word: "AuthenticationError".into(), status: None, reason: Some(reason.to_owned()) }
}

fn stale() -> Error {
    Error::new(Kind::Unauthenticated(""), "the refresh token is not valid")
}

fn wrong_credentials() -> Error {
    Error::new(Kind::Unauthenticated(""), "wrong user name or password")
}
