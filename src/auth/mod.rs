//! From a password or a token to a [`Principal`], always by what the records say at that moment.

mod api_keys;
mod attempts;
mod foreign;
mod key;
mod password;
mod recent;
mod secret;
mod standing;
mod tickets;
mod token;

use std::sync::Arc;

use crate::config;
use crate::domain::{Error, Kind, Login, Principal, Result, Scope, World};
use crate::metrics::Metrics;
use crate::store::{Account, AccountChange, Asker, Course, Entry, Object, Outcome, Refreshed, Room, Store};

pub use api_keys::KeyRequest;
use foreign::Issuers;
pub use key::development_certificate;
pub use password::Passwords;
use recent::Recent;
pub use secret::new_password;
use sha2::{Digest, Sha256};
pub use standing::Held;
pub use tickets::TICKET_SECONDS;
use token::Subject;
pub use token::{SignedToken, Tokens};

/// Longest password that is looked at, in bytes (SECURITY rule 19).
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Shortest password taken (NIST SP 800-63B).
const MIN_PASSWORD_CHARACTERS: usize = 8;

/// Whether a password may be an account's. `Invalid` if it is too short or too long.
pub fn check_new_password(password: &str) -> Result<()> {
    if password.chars().count() >= MIN_PASSWORD_CHARACTERS && password.len() <= MAX_PASSWORD_BYTES {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a password is {MIN_PASSWORD_CHARACTERS} characters at least and {MAX_PASSWORD_BYTES} bytes at most"
    )))
}

/// Signs in and recognises.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    passwords: Passwords,
    attempts: Arc<attempts::Attempts>,
    tokens: Tokens,
    issuers: Issuers,
    seen: Arc<Recent<Fingerprint, Seen>>,
    session_ms: i64,
    metrics: Metrics,
}

/// Of a token.
type Fingerprint = [u8; 32];

/// A token whose signature was verified, so that it need not be at each request.
#[derive(Clone)]
enum Seen {
    Ours(Arc<token::Checked>),
    Foreign(Arc<foreign::Checked>),
}

/// How many verified tokens are remembered.
const MOST_SEEN: usize = 5_000;

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
    /// Over the store, whose first signing key is made here if it has none.
    pub async fn new(config: &config::Config, store: Store, metrics: Metrics, world: World) -> Result<Self> {
        let attempts = Arc::new(attempts::Attempts::new(&config.limits.sign_ins));
        let issuers = Issuers::new(&config.issuers, world)?;
        let config = &config.auth;
        if config.hs256_secret.is_none() && store.signing_keys().await?.is_empty() {
            store.found_signing_key(&key::new_signing_key()?).await?;
        }
        let tokens = Tokens::new(config, &store.signing_keys().await?, world)?;
        let session_ms = i64::try_from(config.session_seconds.saturating_mul(1000)).map_err(Error::internal)?;
        let passwords = Passwords::new(config, metrics.queue("hashes"))?;
        let seen = Arc::new(Recent::new(MOST_SEEN));
        Ok(Self { store, passwords, attempts, tokens, issuers, seen, session_ms, metrics })
    }

    /// Other bounds on how often passwords may be tried, from now on.
    pub fn limit_sign_ins(&self, config: &config::SignIns) {
        self.attempts.set_rates(config);
    }

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
                let entry = self.store.announce(&asker, Object::of_kind("session"), Room::Needed).await?;
                let digest = secret::digest(&refresh);
                let session_id = self.store.begin_session(&account, self.session_ms, Some(&digest), &entry).await?;
                self.session(&account, session_id, refresh)
            }
            _ => Err(self.refused(course, login.as_ref(), wrong_credentials()).await),
        }
    }

    /// Notes a sign-in that failed. What was given as a name is noted only where there is such an account: it may be a
    /// password in the wrong field.
    async fn refused(&self, course: &Course, login: Option<&Login>, error: Error) -> Error {
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
        let entry = self.store.announce(&asker, session, Room::Needed).await?;
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

    /// Who bears this token or key. A token names an account and a session; everything else comes from their records.
    pub async fn recognise(&self, token: &str) -> Result<Principal> {
        if secret::is_key(token) {
            return Ok(self.key_bearer(token).await?.principal);
        }
        let account = match self.checked(token).await? {
            Seen::Ours(checked) => self.account_of(checked.subject()).await?,
            Seen::Foreign(checked) => self.store.foreign_bearer(&checked.token()).await?,
        };
        account.map(|account| account.principal).ok_or_else(|| unauthenticated("the account or the session is over"))
    }

    /// What a good token says, by its signature or because that was verified lately.
    async fn checked(&self, token: &str) -> Result<Seen> {
        let fingerprint = Fingerprint::from(Sha256::digest(token));
        if let Some(seen) = self.seen.get(&fingerprint) {
            let holds = match &seen {
                Seen::Ours(checked) => self.tokens.holds(checked),
                Seen::Foreign(checked) => self.issuers.holds(checked).await?,
            };
            if holds {
                return Ok(seen);
            }
        }
        let seen = if self.issuers.claim(token) {
            Seen::Foreign(Arc::new(self.issuers.check(token).await?))
        } else {
            if self.tokens.is_of_unknown_key(token) {
                self.renew_keys().await?;
            }
            Seen::Ours(Arc::new(self.tokens.check(token)?))
        };
        self.seen.put(fingerprint, seen.clone());
        Ok(seen)
    }

    async fn account_of(&self, named: &Subject) -> Result<Option<Account>> {
        match self.key_session(&named.session_id).await {
            Some(account) => Ok(account?
                .filter(|account| account.principal.account_id == named.account_id && account.epoch == named.epoch)),
            None => self.store.bearer(&named.account_id, &named.session_id, named.epoch).await,
        }
    }

    /// Ends the principal's session, or everything that was ever issued to it. `Forbidden` for keys.
    ///
    /// A provider's token is not ours to end; from now on we take neither it nor those that were issued before.
    pub async fn sign_out(&self, asker: &Asker, everywhere: bool) -> Result<()> {
        api_keys::no_key(asker)?;
        let (asker, object) = match (everywhere, &asker.session_id) {
            (true, _) => (asker.noting("everywhere"), Object::of_kind("session")),
            (false, Some(session)) => (asker.clone(), Object::of_kind("session").with_id(session)),
            (false, None) => (asker.clone(), Object::of_kind("session")),
        };
        let entry = self.store.announce(&asker, object, Room::Needed).await?;
        if let Some(issued_at) = asker.foreign_iat {
            let last = if everywhere { issued_at.max(self.store.now_ms() / 1000) } else { issued_at };
            self.store.end_foreign(&asker.account_id, last.saturating_add(1)).await?;
        }
        if everywhere {
            self.store.raise_epoch(&asker.account_id, &entry).await
        } else {
            self.store.end_session(&asker, &entry).await
        }
    }

    /// Reads the keys of identity providers ahead of their tokens.
    pub async fn read_foreign_keys(&self) {
        self.issuers.warm().await;
    }

    /// A new key signs from now on; what others signed stays good for as long as a token lives.
    pub async fn rotate_key(&self, entry: &Entry) -> Result<String> {
        self.store.rotate_signing_key(&key::new_signing_key()?, self.tokens.good_for_ms(), entry).await
    }

    /// Takes over the store's signing keys as they are now.
    pub async fn renew_keys(&self) -> Result<()> {
        self.tokens.renew(&self.store.signing_keys().await?)
    }

    /// The public keys as a JWK set.
    pub fn public_keys(&self) -> serde_json::Value {
        self.tokens.public_keys()
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
        let hash = account.filter(|account| account.principal.account_id == asker.account_id);
        let hash = hash.and_then(|account| account.password_hash);
        if password.len() > MAX_PASSWORD_BYTES || !self.passwords.verify(password.to_owned(), hash).await? {
            return Err(Error::new(Kind::Forbidden, "the password is wrong"));
        }
        let password_hash = Some(self.hash_password(new).await?);
        let gone = || unauthenticated("the account is over");
        let account = self.store.account_info(&asker.login).await?;
        let account = account.filter(|account| account.id == asker.account_id).ok_or_else(gone)?;
        let object = Object::named("account", asker.login.to_string()).with_id(&asker.account_id);
        let entry = self.store.announce(asker, object, Room::Needed).await?;
        let change = AccountChange { password_hash, ..AccountChange::default() };
        self.store.change_account(&account, &change, &entry).await
    }

    /// Forgets attempts that count no more; to be called now and then.
    pub fn forget_attempts(&self) {
        self.attempts.forget_idle();
    }

    /// The argon2id hash of a new password.
    pub async fn hash_password(&self, password: String) -> Result<String> {
        self.passwords.hash(password).await
    }
}

fn subject(account: &Account, session_id: String) -> Subject {
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

fn unauthenticated(why: &'static str) -> Error {
    Error::new(Kind::Unauthenticated("invalid_token"), "the token is not valid").because(why)
}
