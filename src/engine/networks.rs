//! One network a tenant, isolated from every other (SECURITY rule 7). The default network is never used.

use podman_api::opts::NetworkCreateOpts;

use super::spec::{INSTALLATION, network_name};
use super::{Deadline, Engine, failure};
use crate::domain::{Kind, Result};
use crate::policy::grant::CreateGrant;

impl Engine {
    /// Makes the tenant's network; fine if it exists. Containers on it find each other by name.
    ///
    /// `isolate` keeps isolated bridges apart: all of ours are.
    pub async fn ensure_network(&self, grant: &CreateGrant, installation: &str, deadline: Deadline) -> Result<()> {
        let opts = NetworkCreateOpts::builder()
            .name(network_name(grant.tenant()))
            .driver("bridge")
            .dns_enabled(true)
            .options([("isolate", "true")])
            .labels([(INSTALLATION, installation)])
            .build();
        let networks = self.podman.networks();
        let call = async {
            match networks.create(&opts).await.map(drop).map_err(failure::of_client) {
                Err(error) if error.kind == Kind::Exists => Ok(()),
                other => other,
            }
        };
        self.short(grant.tenant(), deadline, call).await
    }
}
