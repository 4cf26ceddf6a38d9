//! One network a tenant, isolated from every other (SECURITY rule 7). The default network is never used.

use podman_api::opts::NetworkCreateOpts;
use serde::Deserialize;

use super::spec::{INSTALLATION, bridge_name, network_name, network_owner, own_label};
use super::{Deadline, Engine, failure};
use crate::domain::{Kind, NetworkMode, Result, Tenant};
use crate::policy::grant::{Audited, CreateGrant, SystemGrant};

#[derive(Deserialize)]
struct Listed {
    name: String,
}

impl Engine {
    /// Takes a tenant's networks away; fine if there are none.
    pub async fn remove_networks(
        &self,
        _grant: &Audited<SystemGrant>,
        tenant: &Tenant,
        deadline: Deadline,
    ) -> Result<()> {
        for mode in [NetworkMode::Internal, NetworkMode::Egress] {
            let Some(name) = network_name(tenant, mode) else { continue };
            match deadline.bound(self.remove_network(&name)).await {
                Err(error) if matches!(error.kind, Kind::NotFound | Kind::NoPath) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The networks that carry this installation's label, each with the name of the tenant that it was made for.
    pub async fn own_networks(&self, _grant: &SystemGrant, installation: &str) -> Result<Vec<(String, String)>> {
        let path = format!("/v4.0.0/libpod/networks/json?filters={}", own_label(installation)?);
        let ask = async { self.wire.get(&path).await?.checked()?.json::<Vec<Listed>>() };
        let found = self.deadline().bound(ask).await?;
        Ok(found.into_iter().filter_map(|one| Some((network_owner(&one.name)?.to_owned(), one.name))).collect())
    }

    /// Takes away a network that no tenant owns. `Conflict` while a container is on it.
    pub async fn remove_own_network(&self, _grant: &Audited<SystemGrant>, name: &str) -> Result<()> {
        self.deadline().bound(self.remove_network(name)).await
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        let network = self.podman.networks().get(name);
        let remove = async { network.remove().await.map(drop).map_err(failure::of_client) };
        self.timed("DELETE networks/{id}", remove).await.map_err(failure::at_a_path)
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
        let mode = grant.spec().network;
        let Some(name) = network_name(grant.tenant(), mode) else { return Ok(()) };
        let opts = NetworkCreateOpts::builder()
            .name(name)
            .network_interface(bridge_name(grant.tenant(), mode))
            .internal(mode == NetworkMode::Internal)
            .driver("bridge")
            .dns_enabled(true)
            .options([("isolate", "true")])
            .labels([(INSTALLATION, installation)])
            .build();
        let networks = self.podman.networks();
        let create = || async {
            let call = async { networks.create(&opts).await.map(drop).map_err(failure::of_client) };
            match self.timed("POST networks/create", call).await {
                Err(error) if error.kind == Kind::Exists => Ok(()),
                other => other,
            }
        };
        self.short(grant.tenant(), deadline, self.patiently(create)).await
    }
}
