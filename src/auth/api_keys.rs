//! Keys for programs: made, replaced, revoked, and recognised.

use std::sync::Arc;

use super::sessions::subject;
use super::{Authenticator, SignedToken, Subject, secret, unauthenticated};
use crate::domain::{Attempt, Details, Error, Kind, Principal, Result, Scope, VolumeName};
use crate::store::{Account, ApiKey, Asker, Course, NewApiKey, Object, Room, Rotation, key_of_session, key_session};

/// Longest overlap of two secrets, in seconds.
const MAX_OVERLAP: i64 = 30 * 86_400;
/// Ten years.
const MAX_LIFE: i64 = 10 * 365 * 86_400;

/// A key that is wished for.
pub struct KeyRequest {
    name: String,
    scopes: Vec<Scope>,
    lasts_ms: Option<i64>,
}

/// Milliseconds that a key is to be good, if not for ever.
fn life(expires_in: Option<i64>, wrong: &mut Details) -> Option<Option<i64>> {
    let lasts_ms = match expires_in {
        Some(seconds) if !(1..=MAX_LIFE).contains(&seconds) => Err(format!("must be within 1 to {MAX_LIFE}")),
        other => Ok(other.map(|seconds| seconds * 1000)),
    };
    wrong.take("expires_in", lasts_ms)
}

fn each_once(scopes: Vec<Scope>) -> Vec<Scope> {
    let mut kept = Vec::new();
    for scope in scopes {
        if !kept.contains(&scope) {
            kept.push(scope);
        }
    }
    kept
}

impl KeyRequest {
    /// Checks every field; what is wrong goes to `wrong`.
    pub fn parse(
        name: String,
        scopes: Option<Vec<String>>,
        expires_in: Option<i64>,
        wrong: &mut Details,
    ) -> Option<Self> {
        // The same letters as everywhere that people name things.
        let name = wrong.take("name", VolumeName::parse(&name).map(|_| name.clone()));
        let known = scopes.as_deref().map(|scopes| match scopes {
            [] => Err("must not be empty; leave it out for all of the owner's scopes".to_owned()),
            scopes => scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>().map(each_once),
        });
        let scopes = wrong.take("scopes", known.unwrap_or_else(|| Ok(Vec::new())));
        let lasts_ms = life(expires_in, wrong);
        Some(Self { name: name?, scopes: scopes?, lasts_ms: lasts_ms? })
    }
}

impl Authenticator {
    /// A new key of the principal's, and the secret; without the secret where an earlier try of this attempt made it.
    /// `Forbidden` for scopes that the principal does not hold, and for keys.
    pub async fn create_key(
        &self,
        owner: &Asker,
        request: &KeyRequest,
        attempt: Option<&Attempt>,
    ) -> Result<(ApiKey, Option<String>)> {
        no_key(owner)?;
        // It would be good for whom the provider knows no more.
        if owner.foreign_iat.is_some() {
            let message =
                "people of an identity provider have no keys; an administrator makes an account for a program";
            return Err(Error::new(Kind::Forbidden, message));
        }
        if let Some(scope) = request.scopes.iter().find(|scope| !owner.scopes.contains(scope)) {
            return Err(Error::new(Kind::Forbidden, format!("you do not hold the scope {} yourself", scope.as_str())));
        }
        let id = attempt.map(|attempt| secret::key_id_for(attempt.id()));
        if let (Some((attempt, _)), Some(id)) = (Attempt::earlier(attempt), &id)
            && let Some(made) = self.store.api_key(&owner.account_id, id).await?
        {
            attempt.was_made();
            return Ok((made, None));
        }
        let key = secret::api_key(id.as_deref());
        let new = NewApiKey {
            id: secret::key_id(&key).ok_or_else(|| Error::internal("a key without an id"))?,
            name: &request.name,
            scopes: &request.scopes,
            digest: &secret::digest(&key),
            lasts_ms: request.lasts_ms,
        };
        let scopes = request.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
        let asker = if scopes.is_empty() { owner.clone() } else { owner.noting(format!("scopes {scopes}")) };
        let object = Object::named("api_key", new.name).with_id(new.id);
        let entry = self.store.announce(&asker, object, Room::Needed).await?;
        Ok((self.store.create_api_key(owner, &new, &entry).await?, Some(key)))
    }

    /// The principal's keys; to a key itself alone.
    pub async fn keys(&self, owner: &Principal) -> Result<Vec<ApiKey>> {
        let mut keys = self.store.api_keys(&owner.account_id).await?;
        keys.retain(|key| owner.key_id.as_ref().is_none_or(|id| *id == key.id));
        Ok(keys)
    }

    /// Another secret for a key of the principal's. `Conflict` for one that expired and is not to live longer.
    pub async fn rotate_api_key(
        &self,
        owner: &Asker,
        id: &str,
        overlap: i64,
        expires_in: Option<i64>,
    ) -> Result<(ApiKey, String)> {
        no_key(owner)?;
        let mut wrong = Details::default();
        if !(0..=MAX_OVERLAP).contains(&overlap) {
            wrong.add("overlap", format!("must be within 0 to {MAX_OVERLAP}"));
        }
        let lasts_ms = life(expires_in, &mut wrong).flatten();
        wrong.finish()?;
        let found = self.store.api_key(&owner.account_id, id).await?.ok_or_else(Error::no_key)?;
        if lasts_ms.is_none() && found.is_expired(self.store.now_ms()) {
            return Err(Error::new(Kind::Conflict, "the key has expired; say expires_in for another life of it"));
        }
        let entry = self.store.announce(owner, Object::from(&found), Room::Needed).await?;
        let key = secret::api_key(Some(id));
        let rotation = Rotation { digest: &secret::digest(&key), overlap_ms: overlap * 1000, lasts_ms };
        let rotated = self.store.rotate_api_key(owner, id, &rotation, &entry).await?;
        Ok((rotated.ok_or_else(Error::no_key)?, key))
    }

    /// Ends a key of the principal's.
    pub async fn revoke_key(&self, owner: &Asker, id: &str) -> Result<()> {
        no_key(owner)?;
        let found = self.store.api_key(&owner.account_id, id).await?.ok_or_else(Error::no_key)?;
        let entry = self.store.announce(owner, Object::from(&found), Room::NotNeeded).await?;
        if self.store.delete_api_key(&owner.account_id, id, &entry).await? { Ok(()) } else { Err(Error::no_key()) }
    }

    /// A token for a program that shows a key's id and the key (RFC 6749, 4.4).
    pub async fn sign_in_by_key(
        &self,
        course: &Arc<Course>,
        client_id: &str,
        client_secret: &str,
    ) -> Result<(SignedToken, Vec<Scope>)> {
        let token = self.try_sign_in_by_key(course, client_id, client_secret).await;
        self.metrics.login("client_credentials", &token);
        token
    }

    async fn try_sign_in_by_key(
        &self,
        course: &Arc<Course>,
        client_id: &str,
        client_secret: &str,
    ) -> Result<(SignedToken, Vec<Scope>)> {
        let found = match secret::key_id(client_secret) {
            Some(id) if id == client_id => self.key_bearer(client_secret).await,
            _ => Err(unauthenticated("another key's secret")),
        };
        let account = match found {
            Ok(account) => account,
            Err(error) if matches!(error.kind, Kind::Unauthenticated(_)) => {
                let refused = Error::new(Kind::Unauthenticated(""), "no such key");
                return Err(self.refused(course, None, refused).await);
            }
            Err(error) => return Err(error),
        };
        let asker = Asker::new(account.principal.clone(), Arc::clone(course));
        self.store.announce(&asker, Object::of_kind("session"), Room::Kept).await?;
        let session = key_session(client_id, &secret::digest(client_secret));
        let token = self.tokens.sign(subject(&account, session))?;
        Ok((token, account.principal.scopes))
    }

    /// Who bears this key.
    pub async fn recognise_key(&self, key: &str) -> Result<Principal> {
        Ok(self.key_bearer(key).await?.principal)
    }

    /// Whose key this is.
    pub(super) async fn key_bearer(&self, key: &str) -> Result<Account> {
        let id = secret::key_id(key).ok_or_else(|| unauthenticated("a broken key"))?;
        let record = self.store.key_record(id).await?.ok_or_else(|| unauthenticated("no such key"))?;
        if !secret::has_digest(key, &record.digests) {
            return Err(unauthenticated("another key's secret"));
        }
        // Told to who has its secret only.
        if record.is_expired {
            return Err(Error { message: "the key has expired".into(), ..unauthenticated("expired") });
        }
        let mut account = record.account;
        account.principal.session_id = Some(key_session(id, &secret::digest(key)));
        if record.is_use_news
            && let Err(error) = self.store.note_key_use(id).await
        {
            tracing::warn!(key.id = id, ?error, "when a key was last used is not noted");
        }
        Ok(account)
    }

    /// Whose key a token was given to, if that is good still, and the secret that it was given for: none if it is no token
    /// of a key.
    pub(super) async fn key_session(&self, named: &Subject) -> Option<Result<Option<Account>>> {
        let id = key_of_session(&named.session_id)?;
        Some(self.store.key_record(id).await.map(|record| {
            let mut account = record.filter(|record| record.has_session(&named.session_id))?.account;
            let principal = &mut account.principal;
            principal.session_id = Some(named.session_id.clone());
            principal.epoch = Some(named.epoch);
            Some(account)
                .filter(|account| account.principal.account_id == named.account_id && account.epoch == named.epoch)
        }))
    }
}

/// A key that made keys could not be revoked.
pub(super) fn no_key(principal: &Principal) -> Result<()> {
    match principal.key_id {
        Some(_) => Err(Error::new(Kind::Forbidden, "keys are managed by their owner, not by a key")),
        None => Ok(()),
    }
}
