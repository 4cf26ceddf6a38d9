//! Proofs that policy said yes; the engine acts on nothing else. Only policy makes those of requests. What the program does by
//! itself has one of its own, [`SystemGrant`], and `tests/it/layers.rs` holds where one may be made.
//!
//! Whatever changes something asks for an [`Audited`] proof: one that was announced in the audit log first.

use std::ops::Deref;

use super::spec::ContainerSpec;
use crate::domain::{ContainerName, EngineId, ImageRef, Principal, Tenant};
use crate::store::{Container, Entry, Volume};

/// A proof, and the entry in the audit log that says what will be done with it.
#[derive(Debug, Clone)]
pub struct Audited<G> {
    grant: G,
    entry: Entry,
}

impl<G> Audited<G> {
    pub(super) fn new(grant: G, entry: Entry) -> Self {
        Self { grant, entry }
    }

    /// The entry, for noting how it ended.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    fn of<T>(&self, grant: T) -> Audited<T> {
        Audited { grant, entry: self.entry.clone() }
    }
}

impl<G> Deref for Audited<G> {
    type Target = G;

    fn deref(&self) -> &G {
        &self.grant
    }
}

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
}

impl Audited<TenantGrant> {
    /// Who may work within a tenant may act on the volume it just made.
    pub fn made_volume(&self, row: &Volume) -> Audited<VolumeGrant> {
        self.entry.identify(&row.id);
        self.of(VolumeGrant { row: row.clone() })
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
}

impl Audited<CreateGrant> {
    /// The image that was admitted.
    pub fn image(&self) -> Audited<ImageGrant> {
        self.of(ImageGrant { tenant: self.within.tenant.clone(), reference: self.spec.image.clone() })
    }

    /// Who may create a container may act on what came of it.
    pub fn made(&self, row: &Container, engine_id: EngineId) -> Audited<ContainerGrant> {
        self.of(ContainerGrant { row: row.clone(), engine_id })
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

    /// A container of the ledger, under the id that Podman gave it, for looking at it.
    pub fn over(&self, row: &Container, engine_id: EngineId) -> ContainerGrant {
        ContainerGrant { row: row.clone(), engine_id }
    }

    /// The same for what was announced.
    pub fn announced(&self, entry: Entry) -> Audited<Self> {
        Audited { grant: self.clone(), entry }
    }
}

impl Audited<SystemGrant> {
    /// A volume of the ledger.
    pub fn over_volume(&self, row: &Volume) -> Audited<VolumeGrant> {
        self.of(VolumeGrant { row: row.clone() })
    }

    /// A container of the ledger, under the id that Podman gave it.
    pub fn over_container(&self, row: &Container, engine_id: EngineId) -> Audited<ContainerGrant> {
        self.of(self.over(row, engine_id))
    }
}
