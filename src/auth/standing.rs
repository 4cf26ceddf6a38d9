//! Whether those who were let in some time ago may stay.

use super::Authenticator;
use crate::domain::{Principal, Result, Scope};
use crate::store::Standing;

/// What a principal's leave to stay depends on.
enum By<'a> {
    Key(&'a str),
    Session(&'a str),
    Account(&'a str),
}

fn by(principal: &Principal) -> By<'_> {
    match (&principal.key_id, &principal.session_id) {
        (Some(key), _) => By::Key(key),
        (None, Some(session)) => By::Session(session),
        (None, None) => By::Account(&principal.account_id),
    }
}

/// The scopes that principals hold at one moment.
#[derive(Default)]
pub struct Held {
    keys: Standing,
    sessions: Standing,
    accounts: Standing,
}

impl Held {
    /// Whether the principal holds the scope still.
    pub fn has(&self, principal: &Principal, scope: Scope) -> bool {
        let stands = match by(principal) {
            By::Key(id) => {
                let session = principal.session_id.as_ref();
                self.keys.get(id).filter(|key| session.is_some_and(|session| key.sessions.contains(session)))
            }
            By::Session(id) => self.sessions.get(id),
            By::Account(id) => self.accounts.get(id),
        };
        stands.is_some_and(|stands| {
            stands.scopes.contains(&scope)
                && principal.epoch.is_none_or(|epoch| epoch == stands.epoch)
                && principal.foreign_iat.is_none_or(|issued| issued >= stands.good_from)
        })
    }
}

impl Authenticator {
    /// What all of these principals hold now, in as few questions as that takes.
    pub async fn held_by<'a>(&self, principals: impl Iterator<Item = &'a Principal>) -> Result<Held> {
        let (mut keys, mut sessions, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
        for principal in principals {
            match by(principal) {
                By::Key(id) => keys.push(id),
                By::Session(id) => sessions.push(id),
                By::Account(id) => accounts.push(id),
            }
        }
        for ids in [&mut keys, &mut sessions, &mut accounts] {
            ids.sort_unstable();
            ids.dedup();
        }
        Ok(Held {
            keys: self.store.keys_in_standing(&keys).await?,
            sessions: self.store.sessions_in_standing(&sessions).await?,
            accounts: self.store.accounts_in_standing(&accounts).await?,
        })
    }
}
