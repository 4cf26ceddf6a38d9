//! Making containers, and what Podman has of those that it was making when it died.

use serde::{Deserialize, Serialize};

use super::annotations::order_of_container;
use super::containers::Made;
use super::spec::{CONTAINER, Identity, body, engine_name};
use super::{Deadline, Engine, Image, failure};
use crate::domain::{ContainerName, EngineId, Error, Kind, Result, Tenant};
use crate::policy::grant::{Audited, CreateGrant};

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

/// Podman's words where its storage has the name, whether it knows such a container or not.
const IN_STORAGE: &str = "creating container storage";

impl Engine {
    /// Makes the container, not running. `Refused` where its image gives orders by then that it did not when it was looked
    /// at: two manifests may say different things of one image, whose id is that of its configuration.
    pub async fn create(
        &self,
        grant: &Audited<CreateGrant>,
        image: &Image,
        identity: &Identity<'_>,
        deadline: Deadline,
    ) -> Result<EngineId> {
        let _heavy = self.heavy.enter(grant.tenant(), deadline).await?;
        let cgroup = self.cgroup_of(identity.tenant);
        let body = body(grant.spec(), image, identity, &self.seccomp_path, self.host.get(), cgroup);
        let engine_id = match self.make(grant, &body, deadline).await {
            Err(error) if in_storage(&error) && self.remove_remains(grant, identity, deadline).await? => {
                self.make(grant, &body, deadline).await?
            }
            made => made?,
        };
        let path = format!("/v4.0.0/libpod/containers/{engine_id}/json");
        let look = async { self.wire.get(&path).await?.checked()?.json::<Made>() };
        let made = self.short(grant.tenant(), deadline, look).await?;
        made.annotations().and_then(order_of_container).map_or(Ok(engine_id), |order| Err(gives_orders(order)))
    }

    async fn make(
        &self,
        grant: &Audited<CreateGrant>,
        body: &(impl Serialize + Sync),
        deadline: Deadline,
    ) -> Result<EngineId> {
        let call = self.wire.post_json("/v4.0.0/libpod/containers/create", body);
        let answer = self.short(grant.tenant(), deadline, call).await?.checked()?;
        EngineId::parse(&answer.json::<Created>()?.id).map_err(failure::unreadable)
    }

    /// Takes away what a Podman that was killed in the middle of a create left in its storage under the name that we
    /// generated: no container that anybody could see or remove, and in the way of every further one. Whether there was
    /// that, and not a container.
    async fn remove_remains(
        &self,
        grant: &Audited<CreateGrant>,
        identity: &Identity<'_>,
        deadline: Deadline,
    ) -> Result<bool> {
        let name = engine_name(identity.tenant, identity.name);
        let path = format!("/v4.0.0/libpod/containers/{name}");
        let look = format!("{path}/json");
        let look = async { self.wire.get(&look).await?.checked() };
        match self.short(grant.tenant(), deadline, look).await {
            Err(error) if error.kind == Kind::NotFound => {}
            other => return other.map(|_| false),
        }
        // Without force: should it be a container by now, one that runs stays.
        let remove = async { self.wire.delete(&path).await?.checked() };
        self.short(grant.tenant(), deadline, remove).await?;
        tracing::warn!(container.name = name, "Podman had died while it made a container; what it left is gone");
        Ok(true)
    }

    /// The container that Podman made for this row of the ledger before a crash, if it did: of the name that we
    /// generated, with the row's label.
    pub async fn find_made(
        &self,
        tenant: &Tenant,
        name: &ContainerName,
        row_id: &str,
        deadline: Deadline,
    ) -> Result<Option<EngineId>> {
        let path = format!("/v4.0.0/libpod/containers/{}/json", engine_name(tenant, name));
        let ask = async { self.wire.get(&path).await?.checked() };
        let made: Made = match self.short(tenant, deadline, ask).await {
            Ok(answer) => answer.json()?,
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if made.label(CONTAINER) == Some(row_id) {
            EngineId::parse(&made.id).map(Some).map_err(failure::unreadable)
        } else {
            Ok(None)
        }
    }
}

/// The refusal of an image with an annotation of this family.
pub(super) fn gives_orders(family: &'static str) -> Error {
    let message =
        format!("the image has an annotation of the kind \"{family}\", which would be an order to its runtime");
    Error::new(Kind::Refused, message)
}

fn in_storage(error: &Error) -> bool {
    error.kind == Kind::Conflict && error.cause.as_ref().is_some_and(|cause| cause.contains(IN_STORAGE))
}
