//! One deadline an operation, shared by its calls.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Error, Kind, Result};

/// When an operation's patience ends. Waiting for a worker counts.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now.
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// That much later than this one.
    #[must_use]
    pub fn extended(self, by: Duration) -> Self {
        Self(self.0 + by)
    }

    /// The earlier of this and `patience` from now.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self(self.0.min(Instant::now() + patience))
    }

    /// How long until then.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The result, or `EngineTimeout`.
    pub async fn bound<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout_at(self.0, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::EngineTimeout, "Podman did not answer in time")),
        }
    }

    /// The result, or none when the time is up.
    pub async fn or_none<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, work).await.ok()
    }
}
