//! What happens to a tenant's containers, as it happens.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::Lifecycle;
use crate::domain::{Error, Kind, Result, Tenant};
use crate::policy::grant::TenantGrant;
use crate::store::{Event, Store};

/// How often it is asked whether another gateway noted something.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// How many events are read at once.
const SOME: i64 = 100;

/// What a listener learns.
#[derive(Debug)]
pub enum Heard {
    /// Something happened.
    Event(Event),
    /// What happened in between is not kept any more.
    Gap,
}

/// By tenant: the number of its last event, as far as is known here. Only tenants to whom somebody listens.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<HashMap<String, watch::Sender<i64>>>>);

impl Listeners {
    fn listen(&self, tenant: &Tenant) -> watch::Receiver<i64> {
        self.lock().entry(tenant.id.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<i64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who listens.
struct Listener {
    store: Store,
    tenant: Tenant,
    told: watch::Receiver<i64>,
    /// The number of the last event that it was told, or might have been.
    cursor: i64,
    read: VecDeque<Event>,
}

impl Lifecycle {
    /// A tenant's events from now on, or behind the one of this number. Whoever reads slowly misses none within the hour
    /// for which they are kept.
    pub async fn events(
        &self,
        grant: &TenantGrant,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Heard>> + use<>> {
        let tenant = grant.tenant().clone();
        let told = self.listeners.listen(&tenant);
        let last = self.store.last_events(&[&tenant.id]).await?.get(&tenant.id).copied().unwrap_or(0);
        let cursor = after.map_or(last, |number| number.clamp(0, last));
        let listener = Listener { store: self.store.clone(), tenant, told, cursor, read: VecDeque::new() };
        Ok(stream::unfold(Some(listener), |listener| async {
            let mut listener = listener?;
            match listener.next().await {
                Ok(heard) => Some((Ok(heard), Some(listener))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// Tells listeners what was noted, here and on other gateways, for ever.
    pub async fn tell_events(&self) {
        loop {
            tokio::select! {
                () = self.store.event_noted() => {}
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
            let tenants: Vec<String> = {
                let mut all = self.listeners.lock();
                all.retain(|_, tell| !tell.is_closed());
                all.keys().cloned().collect()
            };
            let ids: Vec<&str> = tenants.iter().map(String::as_str).collect();
            let last = tokio::time::timeout(ASK_PATIENCE, self.store.last_events(&ids)).await;
            match last.unwrap_or_else(|_| Err(Error::new(Kind::StoreDown, "the store takes too long"))) {
                Ok(last) => {
                    let all = self.listeners.lock();
                    for (tell, number) in last.into_iter().filter_map(|(id, number)| Some((all.get(&id)?, number))) {
                        tell.send_if_modified(|told| std::mem::replace(told, number) != number);
                    }
                }
                Err(error) => {
                    tracing::warn!(?error, "events could not be read");
                    tokio::time::sleep(ASK_EVERY).await;
                }
            }
        }
    }
}

impl Listener {
    async fn next(&mut self) -> Result<Heard> {
        loop {
            if let Some(event) = self.read.pop_front() {
                if event.number != self.cursor + 1 {
                    self.cursor = event.number - 1;
                    self.read.push_front(event);
                    return Ok(Heard::Gap);
                }
                self.cursor = event.number;
                return Ok(Heard::Event(event));
            }
            self.told.mark_unchanged();
            self.read = self.store.events_after(&self.tenant, self.cursor, SOME).await?.into();
            // Nobody who tells is a gateway that ends.
            if self.read.is_empty() && self.told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
