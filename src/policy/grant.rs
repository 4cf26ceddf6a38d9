//! Proofs that policy said yes. Only policy can make one; the engine acts on nothing else (STYLE: linkerd's `Permitted`).

use super::spec::ContainerSpec;
use crate::domain::{ContainerName, EngineId, ImageRef, Principal, Tenant};
use crate::store::{Container, Volume};

/// A principal may do what one scope allows, within its tenant.
#[derive(Debug, Clone)]
pub struct TenantGrant {
    pub(super) principal: Principal,
    pub(super) tenant: Tenant,
}

impl TenantGrant {
    /// Where.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Who may work within a tenant may act on the volume it just made.
    pub fn made_volume(&self, row: &Volume) -> VolumeGrant {
        VolumeGrant { row: row.clone() }
    }
}

/// A tenant may use this image.
#[derive(Debug, Clone)]
pub struct ImageGrant {
    pub(super) tenant: Tenant,
    pub(super) reference: ImageRef,
}

impl ImageGrant {
    /// Whose share of the engine the call uses.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// A parsed reference that the tenant's list allows.
    pub fn reference(&self) -> &ImageRef {
        &self.reference
    }
}

/// Someone may act on this one volume.
#[derive(Debug, Clone)]
pub struct VolumeGrant {
    pub(super) row: Volume,
}

impl VolumeGrant {
    /// Whose volume it is.
    pub fn tenant(&self) -> &Tenant {
        &self.row.tenant
    }

    /// Our identifier.
    pub fn id(&self) -> &str {
        &self.row.id
    }

    /// What the ledger says of it.
    pub fn row(&self) -> &Volume {
        &self.row
    }
}

/// Someone may act on this one container.
#[derive(Debug, Clone)]
pub struct ContainerGrant {
    pub(super) row: Container,
    pub(super) engine_id: EngineId,
}

impl ContainerGrant {
    /// Whose container it is: whose share of the engine the call uses.
    pub fn tenant(&self) -> &Tenant {
        &self.row.tenant
    }

    /// What Podman calls it. Nothing else may enter a Podman URL.
    pub fn engine_id(&self) -> &EngineId {
        &self.engine_id
    }

    /// What the ledger says of it.
    pub fn row(&self) -> &Container {
        &self.row
    }
}

/// Someone may create this container, as specified and no other way.
#[derive(Debug, Clone)]
pub struct CreateGrant {
    pub(super) within: TenantGrant,
    pub(super) name: ContainerName,
    pub(super) spec: ContainerSpec,
}

impl CreateGrant {
    /// Whose it will be.
    pub fn tenant(&self) -> &Tenant {
        &self.within.tenant
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.within.principal
    }

    /// Its name within the tenant.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// What was admitted.
    pub fn spec(&self) -> &ContainerSpec {
        &self.spec
    }

    /// The image that was admitted.
    pub fn image(&self) -> ImageGrant {
        ImageGrant { tenant: self.within.tenant.clone(), reference: self.spec.image.clone() }
    }

    /// Who may create a container may act on what came of it.
    pub fn made(&self, row: &Container, engine_id: EngineId) -> ContainerGrant {
        ContainerGrant { row: row.clone(), engine_id }
    }
}

/// The program itself, looking after what the ledger has.
#[derive(Debug, Clone)]
pub struct SystemGrant(pub(super) ());

impl SystemGrant {
    /// For looking after what the ledger already has.
    pub fn for_upkeep() -> Self {
        Self(())
    }

    /// A volume of the ledger.
    pub fn over_volume(&self, row: &Volume) -> VolumeGrant {
        VolumeGrant { row: row.clone() }
    }

    /// A container of the ledger, under the id that Podman gave it.
    pub fn over(&self, row: &Container, engine_id: EngineId) -> ContainerGrant {
        ContainerGrant { row: row.clone(), engine_id }
    }
}
