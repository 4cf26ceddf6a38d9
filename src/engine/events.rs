//! Podman's events, which keep the index right.

use std::collections::HashMap;

use futures_util::StreamExt;
use serde::Deserialize;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::{Engine, failure};
use crate::domain::{EngineId, Result};
use crate::policy::grant::SystemGrant;

/// Events of containers, and only those; `{"type":["container"]}`.
const PATH: &str = "/v4.0.0/libpod/events?stream=true&filters=%7B%22type%22%3A%5B%22container%22%5D%7D";

/// The longest event taken, in bytes: labels are in it, of containers that are not ours too.
const LONGEST: usize = 1024 * 1024;

/// What says nothing of how a container is.
const IDLE: &[&str] = &["attach", "exec", "exec_died", "health_status", "mount", "unmount", "commit", "export"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

impl Engine {
    /// Hears Podman's events until they end, which they never should. An event's attributes are not read: tenants write
    /// them.
    pub async fn follow_events(&self, _grant: &SystemGrant) -> Result<()> {
        let stream = self.wire.stream(PATH).await?;
        self.index.listen(true);
        self.wedged.probe_all();
        self.network_removals.probe_all();
        let _deaf = Deaf(self);
        let chunks = StreamReader::new(stream.map(|chunk| chunk.map_err(std::io::Error::other)));
        let mut lines = FramedRead::new(chunks, LinesCodec::new_with_max_length(LONGEST));
        while let Some(line) = lines.next().await {
            let event: Event =
                serde_json::from_str(&line.map_err(failure::unreachable)?).map_err(failure::unreadable)?;
            if !IDLE.contains(&event.action.as_str())
                && let Ok(id) = EngineId::parse(&event.actor.id)
            {
                self.index.heard_of(id, event.action == "create");
            }
        }
        Err(failure::unreachable("the events ended"))
    }

    /// Containers that events told of, ours and others, once there are any; with whether they were made.
    pub async fn touched(&self) -> HashMap<EngineId, bool> {
        self.index.next_touched().await
    }

    /// Waits until Podman is there again, or for the first time: what happened before nobody told.
    pub async fn came_back(&self) {
        self.index.began().await;
    }
}

/// When the events are no longer heard, for whatever reason, nothing in the index is believed.
struct Deaf<'a>(&'a Engine);

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        self.0.index.listen(false);
    }
}
