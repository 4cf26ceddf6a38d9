//! One network a tenant, isolated from every other (SECURITY rule 7). The default network is never used.

use std::collections::HashMap;

use podman_api::opts::NetworkCreateOpts;
use serde::Deserialize;

use super::spec::{INSTALLATION, TENANT, TENANT_ID, bridge_name, network_name, own_label};
use super::{Deadline, Engine, failure};
use crate::domain::{Error, Kind, NetworkMode, Result};
use crate::policy::grant::{Audited, CreateGrant, SystemGrant};

/// A network with our label.
#[derive(Debug, Deserialize)]
pub struct OwnNetwork {
    /// Podman's name.
    pub name: String,
    #[serde(default)]
    labels: HashMap<String, String>,
}

impl OwnNetwork {
    /// The ledger's identifier of the tenant that it was made for.
    pub fn tenant_id(&self) -> Option<&str> {
        self.labels.get(TENANT_ID).map(String::as_str)
    }
}

impl Engine {
    /// The networks that carry this installation's label.
    pub async fn own_networks(&self, _grant: &SystemGrant, installation: &str) -> Result<Vec<OwnNetwork>> {
        let path = format!("/v4.0.0/libpod/networks/json?filters={}", own_label(installation)?);
        let ask = async { self.wire.get(&path).await?.checked()?.json() };
        self.deadline().bound(ask).await
    }

    /// Takes away a network of ours; fine if it is gone. `Conflict` while a container is on it, which may be an operator's.
    ///
    /// For that, Podman takes the lock of every container on the host, so it hangs while any of them does (4.3.1 and
    /// 5.4.2), and what hangs stays in Podman: one at a time, none while a container of ours is known to hang, and after
    /// a missed deadline one now and then.
    pub async fn remove_own_network(&self, _grant: &Audited<SystemGrant>, name: &str) -> Result<()> {
        if self.wedged.any() {
            return Err(Error::new(Kind::EngineTimeout, "Podman removes no network while a container hangs"));
        }
        let deadline = self.deadline();
        let _turn = self.network_removals.turn(&(), deadline).await?;
        let path = format!("/v4.0.0/libpod/networks/{name}");
        let removed = deadline.bound(async { self.wire.delete(&path).await?.checked() }).await;
        self.network_removals.learn(&(), &removed);
        match removed.map_err(failure::at_a_path) {
            Err(error) if !matches!(error.kind, Kind::NotFound | Kind::NoPath) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the tenant's network of the granted mode; fine if it exists. Containers on it find each other by name.
    ///
    /// `isolate` keeps isolated bridges apart: all of ours are.
    pub async fn ensure_network(
        &self,
        grant: &Audited<CreateGrant>,
        installation: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let (tenant, mode) = (grant.tenant(), grant.spec().network);
        let Some(name) = network_name(tenant, mode) else { return Ok(()) };
        let opts = NetworkCreateOpts::builder()
            .name(name)
            .network_interface(bridge_name(tenant, mode))
            .internal(mode == NetworkMode::Internal)
            .driver("bridge")
            .dns_enabled(true)
            .options([("isolate", "true")])
            .labels([(INSTALLATION, installation), (TENANT, tenant.slug.as_str()), (TENANT_ID, &tenant.id)])
            .build();
        let networks = self.podman.networks();
        let create = || async {
            let call = async { networks.create(&opts).await.map(drop).map_err(failure::of_client) };
            match self.timed("POST networks/create", call).await {
                Err(error) if error.kind == Kind::Exists => Ok(()),
                other => other,
            }
        };
        self.short(tenant, deadline, self.patiently(create)).await
    }
}
