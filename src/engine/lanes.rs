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
    too_late: fn() -> Error,
}

/// One of a tenant's lanes, until this is dropped.
pub struct Lane {
    _permit: OwnedSemaphorePermit,
    _running: Running,
}

impl Lanes {
    /// For calls that last as long as their caller wants: who waits in vain has too many.
    pub(super) fn of_callers(width: usize, queue: Queue) -> Self {
        let too_late = || Error::new(Kind::RateLimited(1), "too many long calls of this tenant at once");
        Self { width, by_tenant: Arc::default(), queue, too_late }
    }

    /// For calls that last as long as Podman takes: who waits in vain waits for Podman.
    pub(super) fn of_podman(width: usize, queue: Queue) -> Self {
        let too_late = || Error::new(Kind::EngineTimeout, "Podman was busy with other calls of this tenant");
        Self { width, by_tenant: Arc::default(), queue, too_late }
    }

    /// Waits for one of the tenant's lanes, or fails when the deadline comes first.
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
            None => Err((self.too_late)()),
        }
    }
}
