//! What a tenant may ask for, told before it asks.

use std::collections::BTreeMap;

use super::{DEFAULT_PROFILE, Policy, admission};
use crate::config::Profile;
use crate::domain::{Principal, Result, Scope};

/// What a tenant's containers may have.
pub struct Offer {
    /// Profiles by name, each as far as the tenant's own limits let it have that.
    pub profiles: BTreeMap<String, Profile>,
    /// The shares that were declared for it, by name.
    pub shares: BTreeMap<String, Shared>,
}

/// How a share may be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Whether nothing can be written there.
    pub read_only: bool,
}

impl Policy {
    /// What the principal's tenant may ask for.
    pub async fn offer(&self, principal: &Principal) -> Result<Offer> {
        let within = self.in_tenant(principal, Scope::ContainersRead)?;
        let tenant = within.tenant();
        let (given, limits) = (self.store.profiles(tenant).await?, self.store.tenant_limits(tenant).await?);
        let rules = self.rules.get();
        let is_given = |name: &String| name == DEFAULT_PROFILE || given.contains(name);
        let profiles = rules.profiles.iter().filter(|(name, _)| is_given(name));
        let shares = rules.shares.iter().filter(|(_, share)| share.tenants.contains(&tenant.slug));
        Ok(Offer {
            profiles: profiles
                .map(|(name, profile)| (name.clone(), admission::within_tenant(profile, &limits)))
                .collect(),
            shares: shares.map(|(name, share)| (name.clone(), Shared { read_only: share.read_only })).collect(),
        })
    }
}
