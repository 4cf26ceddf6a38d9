//! A bound on the long calls that each tenant has running.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Deadline;
use crate::domain::{Error, Kind, Result, Tenant};
use crate::metrics::{Queue, Running};

#[derive(Clone)]
pub(super) struct Lanes {
    width: usize,
    by_tenant: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    queue: Queue,
}

/// One of a tenant's lanes, until this is dropped.
pub struct Lane {
    _permit: OwnedSemaphorePermit,
    _running: Running,
}

impl Lanes {
    pub(super) fn new(width: usize, queue: Queue) -> Self {
        Self { width, by_tenant: Arc::default(), queue }
    }

    /// Waits for one of the tenant's lanes; `RateLimited` when the deadline comes first.
    pub(super) async fn enter(&self, tenant: &Tenant, deadline: Deadline) -> Result<Lane> {
        let waiting = self.queue.come();
        let lane = {
            let mut lanes = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
            // Lanes that nobody holds or waits for are as good as new ones.
            lanes.retain(|id, lane| *id == tenant.id || Arc::strong_count(lane) > 1);
            let lane = lanes.entry(tenant.id.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.width)));
            Arc::clone(lane)
        };
        match deadline.or_none(lane.acquire_owned()).await {
            Some(permit) => {
                let permit = permit.map_err(Error::internal)?;
                Ok(Lane { _permit: permit, _running: waiting.served() })
            }
            None => Err(Error::new(Kind::RateLimited(1), "too many long calls of this tenant at once")),
        }
    }
}
