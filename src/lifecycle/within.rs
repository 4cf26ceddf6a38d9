//! Deadlines of what nobody waits for.

use std::time::Duration;

use crate::domain::{Error, Kind, Result};

/// How long a round of work may take: what takes longer waits for a connection that was lost without a word, and is begun
/// anew.
pub const ROUND: Duration = Duration::from_secs(600);

/// `StoreDown` if it takes longer. Whatever is begun so may be cut at any step, as at the gateway's end.
pub async fn within<T>(patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(Kind::StoreDown, "it takes too long"));
    tokio::time::timeout(patience, work).await.unwrap_or_else(late)
}
