//! Work on a container's files, which may take long.

use super::{InUse, Lifecycle};
use crate::policy::grant::ContainerGrant;
use crate::store::{Container, Store};

/// A container whose files somebody works on until this is dropped. It does not go for want of use meanwhile, and its
/// time counts from the end.
pub struct Using {
    store: Store,
    row: Container,
    in_use: Option<InUse>,
}

impl Lifecycle {
    /// Notes that somebody works on the container's files.
    pub fn using(&self, grant: &ContainerGrant) -> Using {
        let row = grant.row().clone();
        Using { store: self.store.clone(), in_use: Some(self.in_use(&row.id)), row }
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        if self.row.idle_seconds.is_none() {
            return;
        }
        let (store, row, in_use) = (self.store.clone(), self.row.clone(), self.in_use.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = store.touch_container(&row).await {
                    tracing::warn!(?error, "that a container was used could not be noted");
                }
                drop(in_use);
            });
        }
    }
}
