//! Making and removing volumes.

use super::Lifecycle;
use super::create::unfinished;
use crate::domain::{Attempt, Result, VolumeName};
use crate::policy::grant::{Audited, SystemGrant, TenantGrant, VolumeGrant};
use crate::store::{Deed, Object, State, Volume};

impl Lifecycle {
    /// Makes a volume, unless an earlier try of this attempt did. On failure nothing is left, or what is left is marked
    /// and taken away later.
    pub async fn create_volume(
        &self,
        grant: Audited<TenantGrant>,
        name: VolumeName,
        attempt: Option<Attempt>,
    ) -> Result<Volume> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            if let Some(made) = this.volume_made_before(&grant, attempt.as_ref()).await? {
                return Ok(made);
            }
            // What cannot be made is not reserved: while Podman is away, nobody could take that back.
            this.engine.ping().await?;
            let id = this.store.id_for(attempt.as_ref());
            let _claim = this.claim(&id).ok_or_else(unfinished)?;
            let volume = this.store.reserve_volume(grant.tenant(), &name, &id).await?;
            this.fail_point.reached("volume.reserved");
            let over = grant.made_volume(&volume);
            let made = this.engine.create_volume(&over, &this.installation, this.engine.deadline()).await;
            this.fail_point.reached("volume.created");
            if let Err(error) = made {
                if let Err(left) = this.take_back_volume(&over, &volume).await {
                    tracing::warn!(volume.row = volume.id, ?left, "a failed volume is left for the reconciler");
                    this.unsettled.notify_one();
                }
                return Err(error);
            }
            this.store.confirm_volume(&volume).await?;
            Ok(volume)
        })
        .await
    }

    async fn volume_made_before(&self, grant: &TenantGrant, attempt: Option<&Attempt>) -> Result<Option<Volume>> {
        let Some((attempt, id)) = Attempt::earlier(attempt) else { return Ok(None) };
        match self.store.volume_by_id(grant.tenant(), id).await? {
            Some(volume) if volume.state == State::Ready => {
                attempt.was_made();
                Ok(Some(volume))
            }
            Some(_) => Err(unfinished()),
            None => Ok(None),
        }
    }

    /// Takes a volume away with what is in it. `Conflict` while a container has it.
    pub async fn remove_volume(&self, grant: Audited<VolumeGrant>) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let volume = grant.row();
            let _claim = this.claim_in_time(&volume.id, this.engine.deadline()).await?;
            this.store.mark_volume_removing(volume).await?;
            this.fail_point.reached("volume.marked");
            this.take_back_volume(&grant, volume).await.inspect_err(|_| this.unsettled.notify_one())
        })
        .await
    }

    async fn take_back_volume(&self, grant: &Audited<VolumeGrant>, volume: &Volume) -> Result<()> {
        self.engine.remove_volume(grant, self.engine.deadline()).await?;
        self.store.forget_volume(volume).await
    }

    /// Takes back a volume that a crash left half made or half removed; whatever its state if its tenant is `removing`.
    pub(super) async fn settle_volume(&self, system: &SystemGrant, volume: &Volume, removing: bool) -> Result<bool> {
        let Some(_claim) = self.claim(&volume.id) else { return Ok(false) };
        if !removing && !self.store.is_unsettled_volume(&volume.id).await? {
            return Ok(false);
        }
        let (verb, reason) = if removing {
            ("removeVolume", "its tenant is deleted")
        } else {
            ("removeVolume", "it was half made or half removed")
        };
        let deed = Deed::of_the_system(verb, Object::from(volume), Some(reason));
        let taking_back =
            async |system: &Audited<SystemGrant>| self.take_back_volume(&system.over_volume(volume), volume).await;
        self.upkeep(system, &volume.id, deed, taking_back).await.map(|()| true)
    }
}
