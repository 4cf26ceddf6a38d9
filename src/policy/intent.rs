//! What will be done with a container; the type tells what grant comes of it.

use super::Policy;
use super::grant::{Audited, ContainerGrant};
use crate::domain::{Error, Kind, Result};
use crate::store::{Asker, Container, Object, Room, State};

/// Look at it.
#[derive(Debug, Clone, Copy)]
pub struct Read;

/// Change it, or something in it.
#[derive(Debug, Clone, Copy)]
pub struct Change;

/// Stop it: a change that needs no room.
#[derive(Debug, Clone, Copy)]
pub struct Stop;

/// Take away something in it: a change that makes room.
#[derive(Debug, Clone, Copy)]
pub struct Clear;

/// Take it away; the only intent that one half-removed still admits.
#[derive(Debug, Clone, Copy)]
pub struct Remove;

/// One of these.
pub trait Intent: Copy + Send + Sync {
    /// What one may do then: whatever is more than looking is announced first.
    type Grant: Send;
    /// Whether it may be done to one that is being removed.
    const ADMITS_REMOVING: bool;
    /// Whether it changes something that may take room.
    const NEEDS_ROOM: bool;

    /// The grant, announced where that is due.
    fn grant(
        self,
        policy: &Policy,
        asker: &Asker,
        grant: ContainerGrant,
    ) -> impl Future<Output = Result<Self::Grant>> + Send;

    /// Refuses containers in a state that does not admit it.
    fn check(self, row: &Container) -> Result<()> {
        if row.state == State::Removing && !Self::ADMITS_REMOVING {
            return Err(Error::new(Kind::Conflict, "the container is being removed"));
        }
        Ok(())
    }
}

impl Intent for Read {
    type Grant = ContainerGrant;
    const ADMITS_REMOVING: bool = true;
    const NEEDS_ROOM: bool = false;

    async fn grant(self, _: &Policy, _: &Asker, grant: ContainerGrant) -> Result<ContainerGrant> {
        Ok(grant)
    }
}

macro_rules! announced {
    ($intent:ty, admits_removing: $removing:literal, needs_room: $room:literal) => {
        impl Intent for $intent {
            type Grant = Audited<ContainerGrant>;
            const ADMITS_REMOVING: bool = $removing;
            const NEEDS_ROOM: bool = $room;

            async fn grant(self, policy: &Policy, asker: &Asker, grant: ContainerGrant) -> Result<Self::Grant> {
                let room = if $room { Room::Needed } else { Room::NotNeeded };
                let entry = policy.store.announce(asker, Object::from(grant.row()), room).await?;
                Ok(Audited::new(grant, entry))
            }
        }
    };
}
announced!(Change, admits_removing: false, needs_room: true);
announced!(Stop, admits_removing: false, needs_room: false);
announced!(Clear, admits_removing: false, needs_room: false);
announced!(Remove, admits_removing: true, needs_room: false);
