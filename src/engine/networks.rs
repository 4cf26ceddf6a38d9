//! One network a tenant, isolated from every other (SECURITY rule 7). The default network is never used.

use podman_api::opts::NetworkCreateOpts;

use super::spec::{INSTALLATION, bridge_name, network_name};
use super::{Deadline, Engine, failure};
use crate::domain::{Kind, NetworkMode, Result, Tenant};
use crate::policy::grant::{CreateGrant, SystemGrant};

impl Engine {
    /// Takes a tenant's networks away; fine if there are none.
    pub async fn remove_networks(&self, grant: &SystemGrant, tenant: &Tenant, deadline: Deadline) -> Result<()> {
        let SystemGrant { .. } = grant;
        for mode in [NetworkMode::Internal, NetworkMode::Egress] {
            let Some(name) = network_name(tenant, mode) else { continue };
            let networks = self.podman.networks();
            let call = async {
                match networks.get(name).remove().await.map(drop).map_err(failure::of_client) {
                    Err(error) if matches!(error.kind, Kind::NotFound | Kind::NoPath) => Ok(()),
                    other => other,
                }
            };
            deadline.bound(call).await?;
        }
        Ok(())
    }

    /// Makes the tenant's network of the granted mode; fine if it exists. Containers on it find each other by name.
    ///
    /// `isolate` keeps isolated bridges apart: all of ours are.
    pub async fn ensure_network(&self, grant: &CreateGrant, installation: &str, deadline: Deadline) -> Result<()> {
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
            match networks.create(&opts).await.map(drop).map_err(failure::of_client) {
                Err(error) if error.kind == Kind::Exists => Ok(()),
                other => other,
            }
        };
        self.short(grant.tenant(), deadline, self.patiently(create)).await
    }
}
