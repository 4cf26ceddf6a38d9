//! What an upload counts for until it is measured.

use super::Policy;
use crate::domain::{Error, Result};
use crate::policy::grant::ContainerGrant;
use crate::store::{Container, Store};

/// Bytes by which it grows, where nobody said how many come.
const STEP: u64 = 4 * 1024 * 1024;

/// Bytes that a tenant is about to store. Dropped, they are given back; kept, they count until the next measurement.
pub struct Charge {
    store: Store,
    row: Container,
    taken: u64,
}

impl Policy {
    /// Takes so many bytes of what the tenant may store. `Quota` if there are not so many left, whoever else is about to
    /// store something.
    pub async fn charge(&self, grant: &ContainerGrant, bytes: u64) -> Result<Charge> {
        let mut charge = Charge { store: self.store.clone(), row: grant.row().clone(), taken: 0 };
        charge.take(bytes).await?;
        Ok(charge)
    }
}

impl Charge {
    /// For as many bytes in all.
    pub async fn cover(&mut self, bytes: u64) -> Result<()> {
        if bytes <= self.taken {
            return Ok(());
        }
        let missing = bytes - self.taken;
        // The last ones may be had where no whole step is left.
        match self.take(missing.max(STEP)).await {
            Err(_) if missing < STEP => self.take(missing).await,
            other => other,
        }
    }

    /// So many were stored.
    pub async fn keep(mut self, bytes: u64) -> Result<()> {
        let taken = signed(std::mem::take(&mut self.taken))?;
        self.store.discharge_stored(&self.row, taken, signed(bytes)?).await
    }

    async fn take(&mut self, bytes: u64) -> Result<()> {
        self.store.charge_stored(&self.row, signed(bytes)?).await?;
        self.taken += bytes;
        Ok(())
    }
}

fn signed(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(Error::internal)
}

impl Drop for Charge {
    fn drop(&mut self) {
        let (store, row) = (self.store.clone(), self.row.clone());
        if let (taken @ 1.., Ok(runtime)) = (self.taken, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let given = store.discharge_stored(&row, i64::try_from(taken).unwrap_or_default(), 0).await;
                given.inspect_err(|error| tracing::warn!(?error, "what was not stored counts until it is measured"))
            });
        }
    }
}
