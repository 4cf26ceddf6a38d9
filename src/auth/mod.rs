//! From a password or a token to a [`Principal`], always by what the records say at that moment.

mod key;
mod password;
mod token;

use crate::config;
use crate::domain::{Error, Kind, Login, Principal, Result, World};
use crate::store::Store;

pub use key::development_certificate;
pub use password::Passwords;
pub use token::{SignedToken, Tokens};

/// Longest password that is looked at, in bytes (SECURITY rule 19).
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Signs in and recognises.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    passwords: Passwords,
    tokens: Tokens,
}

impl Authenticator {
    /// Loads the signing key, or makes it at the first start.
    pub fn new(config: &config::Auth, store: Store, world: World) -> Result<Self> {
        Ok(Self { store, passwords: Passwords::new(config)?, tokens: Tokens::new(config, world)? })
    }

    /// A token for whoever knows the password. One answer for every way to be wrong, after the same work.
    pub async fn sign_in(&self, username: &str, password: &str) -> Result<SignedToken> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(wrong_credentials());
        }
        let account = match Login::parse(username) {
            Ok(login) => self.store.account_by_login(&login).await?,
            Err(_) => None,
        };
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let matches = self.passwords.verify(password.to_owned(), hash).await?;
        match account {
            Some(account) if matches => self.tokens.sign(&account.principal),
            _ => Err(wrong_credentials()),
        }
    }

    /// A token for an account without its password: for the command line, which owns the key anyway.
    pub async fn sign_for(&self, login: &Login) -> Result<SignedToken> {
        let missing = || Error::new(Kind::NotFound, format!("there is no enabled account {login}"));
        let account = self.store.account_by_login(login).await?.ok_or_else(missing)?;
        self.tokens.sign(&account.principal)
    }

    /// Who bears this token. The token names an account; everything else comes from its record.
    pub async fn recognise(&self, token: &str) -> Result<Principal> {
        let account_id = self.tokens.verify(token)?;
        let account = self.store.account_by_id(&account_id).await?;
        account.map(|account| account.principal).ok_or_else(|| unauthenticated("the account is gone or disabled"))
    }

    /// The argon2id hash of a new password.
    pub async fn hash_password(&self, password: String) -> Result<String> {
        self.passwords.hash(password).await
    }
}

fn wrong_credentials() -> Error {
    Error::new(Kind::Unauthenticated("invalid_grant"), "wrong user name or password")
}

fn unauthenticated(why: &'static str) -> Error {
    Error::new(Kind::Unauthenticated("invalid_token"), "the token is not valid").because(why)
}
