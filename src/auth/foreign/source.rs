//! Where a provider's keys come from, and for how long they are taken as they are.
//!
//! They are read anew, aside, from half their time on; who finds them older than their time waits for that. One reading at
//! a time, whoever wants it. One that fails leaves the keys there are in use, and is not repeated for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::fetch::Fetcher;
use super::keys::KeySet;
use crate::config::{Issuer, KeyPlace, reachable};
use crate::domain::{Error, Kind, Result};

/// How long one reading may take, discovery and all.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two readings for keys that are not there, and after one that failed.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// After one that failed while there are no keys at all.
const RETRY: Duration = Duration::from_secs(2);

/// One provider's.
pub struct Source {
    name: String,
    issuer: String,
    algorithms: Vec<jsonwebtoken::Algorithm>,
    place: KeyPlace,
    plain_http: bool,
    last: Duration,
    fetcher: Fetcher,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    read: Option<Instant>,
    failed: Option<Instant>,
    /// When a key that is not there was last looked for.
    looked: Option<Instant>,
    reading: Option<Reading>,
}

type Reading = Shared<BoxFuture<'static, ()>>;

enum Due {
    Now,
    Aside,
    Later,
}

impl Source {
    pub fn new(config: &Issuer) -> Result<Self> {
        Ok(Self {
            name: config.name.clone(),
            issuer: config.issuer.clone(),
            algorithms: config.algorithms.clone(),
            place: config.keys.clone(),
            plain_http: config.plain_http,
            last: config.keys_last,
            fetcher: Fetcher::new(&config.authorities)?,
            state: Mutex::default(),
        })
    }

    /// The keys as they are known. `IssuerDown` if they never were.
    pub async fn keys(self: &Arc<Self>) -> Result<Arc<KeySet>> {
        let (keys, due) = {
            let state = self.state();
            (state.keys.clone(), self.due(&state))
        };
        match (keys, due) {
            (Some(keys), Due::Later) => Ok(keys),
            (Some(keys), Due::Aside) => {
                drop(self.reading());
                Ok(keys)
            }
            (_, Due::Now) => {
                self.reading().await;
                self.known()
            }
            (None, Due::Aside | Due::Later) => self.known(),
        }
    }

    /// The keys, once more read if these lack one that a token names: now and then, not for every token that says so.
    pub async fn keys_beyond(self: &Arc<Self>, keys: &Arc<KeySet>) -> Result<Arc<KeySet>> {
        let wait = {
            let mut state = self.state();
            let is_news = state.keys.as_ref().is_some_and(|now| !Arc::ptr_eq(now, keys));
            let may_look = state.looked.is_none_or(|looked| looked.elapsed() >= self.cool_down());
            if may_look && !is_news {
                state.looked = Some(Instant::now());
            }
            !is_news && (may_look || state.reading.is_some())
        };
        if wait {
            self.reading().await;
        }
        self.known()
    }

    fn known(&self) -> Result<Arc<KeySet>> {
        let out_of_reach = || Error::new(Kind::IssuerDown, "the identity provider's keys are out of reach; try again");
        self.state().keys.clone().ok_or_else(out_of_reach)
    }

    fn due(&self, state: &State) -> Due {
        let since = |then: Option<Instant>| then.map(|then| then.elapsed());
        let (age, failed) = (since(state.read), since(state.failed));
        let pause = if state.keys.is_some() { self.cool_down() } else { RETRY };
        match (age, failed) {
            (_, Some(ago)) if ago < pause => Due::Later,
            (None, _) => Due::Now,
            // Who waited for a provider that did not answer lately would wait in vain.
            (Some(age), Some(_)) if age >= self.last => Due::Aside,
            (Some(age), None) if age >= self.last => Due::Now,
            (Some(age), _) if age >= self.last / 2 => Due::Aside,
            _ => Due::Later,
        }
    }

    fn cool_down(&self) -> Duration {
        COOL_DOWN.min(self.last)
    }

    /// The reading that goes on, or a new one. It ends by itself, whoever leaves.
    fn reading(self: &Arc<Self>) -> Reading {
        let mut state = self.state();
        let begin = || {
            let source = Arc::clone(self);
            tokio::spawn(async move { source.read().await }).map(drop).boxed().shared()
        };
        state.reading.get_or_insert_with(begin).clone()
    }

    async fn read(&self) {
        let late = |_| Err(format!("no answer within {} s", DEADLINE.as_secs()));
        let read = tokio::time::timeout(DEADLINE, self.text()).await.unwrap_or_else(late);
        let read = read.and_then(|text| KeySet::parse(text, &self.algorithms));
        let mut state = self.state();
        state.reading = None;
        match read {
            Ok(keys) => {
                if state.failed.take().is_some() {
                    tracing::info!(issuer = self.name, "the keys can be read again");
                }
                state.read = Some(Instant::now());
                // The same keys stay the same, and what was verified by them verified.
                if !state.keys.as_ref().is_some_and(|known| known.is_same(&keys)) {
                    tracing::info!(issuer = self.name, "new keys");
                    state.keys = Some(Arc::new(keys));
                }
            }
            Err(cause) => {
                tracing::warn!(issuer = self.name, cause, "the keys cannot be read; those that are known stay in use");
                state.failed = Some(Instant::now());
            }
        }
    }

    async fn text(&self) -> Result<Vec<u8>, String> {
        match &self.place {
            KeyPlace::File(path) => tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display())),
            KeyPlace::Uri(url) => self.fetcher.get(url).await,
            KeyPlace::Discovery(url) => {
                let document: serde_json::Value = serde_json::from_slice(&self.fetcher.get(url).await?)
                    .map_err(|error| format!("{url}: no JSON: {error}"))?;
                // OpenID Connect Discovery 1.0, 4.3.
                if document["issuer"] != *self.issuer {
                    return Err(format!("{url} is another issuer's"));
                }
                let uri = document["jwks_uri"].as_str().ok_or_else(|| format!("{url} names no jwks_uri"))?;
                self.fetcher.get(&reachable(uri, self.plain_http)?).await
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
