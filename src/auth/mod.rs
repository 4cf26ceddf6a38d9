//! From a password or a token to a [`Principal`], always by what the records say at that moment.

mod api_keys;
mod attempts;
mod foreign;
mod key;
mod password;
mod recent;
mod secret;
mod sessions;
mod standing;
mod tickets;
mod token;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config;
use crate::domain::{Error, Kind, Principal, Result, World};
use crate::metrics::Metrics;
use crate::store::{Account, Entry, Store};

pub use api_keys::KeyRequest;
use foreign::Issuers;
pub use key::development_certificate;
pub use password::Passwords;
use recent::Recent;
pub use secret::new_password;
pub use sessions::Session;
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
    learnt_keys: Arc<Mutex<Option<Instant>>>,
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

/// Between two looks for keys that a token names and we do not know.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How many verified tokens are remembered.
const MOST_SEEN: usize = 5_000;

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
        let learnt_keys = Arc::default();
        Ok(Self { store, passwords, attempts, tokens, issuers, seen, learnt_keys, session_ms, metrics })
    }

    /// Other bounds on how often passwords may be tried, from now on.
    pub fn limit_sign_ins(&self, config: &config::SignIns) {
        self.attempts.set_rates(config);
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
                self.learn_keys().await?;
            }
            Seen::Ours(Arc::new(self.tokens.check(token)?))
        };
        self.seen.put(fingerprint, seen.clone());
        Ok(seen)
    }

    async fn account_of(&self, named: &Subject) -> Result<Option<Account>> {
        if let Some(account) = self.key_session(named).await {
            return account;
        }
        self.store.bearer(&named.account_id, &named.session_id, named.epoch).await
    }

    /// Reads the keys of identity providers ahead of their tokens.
    pub async fn read_foreign_keys(&self) {
        self.issuers.warm().await;
    }

    /// A new key signs from now on; what others signed stays good for as long as a token lives.
    pub async fn rotate_key(&self, entry: &Entry) -> Result<String> {
        self.store.rotate_signing_key(&key::new_signing_key()?, self.tokens.good_for_ms(), entry).await
    }

    /// Looks for a key that another gateway may have made just now: once a second at most, for all who wait for it. Anybody
    /// can name keys that do not exist.
    async fn learn_keys(&self) -> Result<()> {
        let asked = Instant::now();
        let mut learnt = self.learnt_keys.lock().await;
        match *learnt {
            Some(last) if last >= asked => return Ok(()),
            Some(last) => tokio::time::sleep_until(last + BETWEEN_LOOKS).await,
            None => {}
        }
        let begun = Instant::now();
        self.renew_keys().await?;
        *learnt = Some(begun);
        Ok(())
    }

    /// Takes over the store's signing keys as they are now.
    pub async fn renew_keys(&self) -> Result<()> {
        self.tokens.renew(&self.store.signing_keys().await?)
    }

    /// The public keys as a JWK set.
    pub fn public_keys(&self) -> serde_json::Value {
        self.tokens.public_keys()
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

fn unauthenticated(why: &'static str) -> Error {
    Error::new(Kind::Unauthenticated("invalid_token"), "the token is not valid").because(why)
}
