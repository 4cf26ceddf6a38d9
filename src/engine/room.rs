//! Room in Podman's storage for what counts for no tenant: images.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::{Deadline, Engine};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::{Audited, ImageGrant};

/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Room {
    keep_free: u64,
    /// As Podman told it last.
    lacks: Arc<AtomicBool>,
}

impl Room {
    /// Room beyond so many bytes.
    pub(super) fn of(keep_free: u64) -> Self {
        Self { keep_free, lacks: Arc::default() }
    }
}

#[derive(Deserialize)]
struct Info {
    store: Storage,
}

/// Bytes of the file system.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    graph_root_allocated: u64,
    graph_root_used: u64,
}

impl Engine {
    /// `HostFull` where an image more would take what is to stay free. Where Podman does not tell, as beside a container
    /// that hangs, what it told last counts: one tenant's container is not to keep images from the others.
    pub async fn check_room(&self, _grant: &Audited<ImageGrant>) -> Result<()> {
        let Room { keep_free, lacks } = &self.room;
        let ask = async { self.wire.get("/v4.0.0/libpod/info").await?.checked()?.json::<Info>() };
        match Deadline::after(PATIENCE).bound(ask).await {
            Ok(Info { store }) => {
                let free = store.graph_root_allocated.saturating_sub(store.graph_root_used);
                lacks.store(free < *keep_free, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(?error, "Podman does not tell how much room there is"),
        }
        if lacks.load(Ordering::Relaxed) { Err(no_room()) } else { Ok(()) }
    }
}

/// The answer where there is too little.
pub fn no_room() -> Error {
    Error::new(Kind::HostFull, "the host has no room for another image; ask its administrator")
}
