//! What the caller's tenant may have and has.

use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, ContainersRead};
use super::offer::{ProfileItem, ShareItem};
use super::{Context, Tag};
use crate::policy::{Offer, Shared};

pub struct Usage(pub Context);

/// One resource.
#[derive(Object)]
pub(super) struct ResourceUsage {
    /// containers, running, memory_bytes, cpu_millis, pids, volumes, stored_bytes, execs or streams.
    pub(super) resource: String,
    /// The most the tenant may have, in the resource's unit.
    pub(super) limit: i64,
    /// What it has.
    pub(super) used: i64,
}

impl From<crate::store::Usage> for ResourceUsage {
    fn from(one: crate::store::Usage) -> Self {
        Self { resource: one.resource.as_str().into(), limit: one.limit, used: one.used }
    }
}

/// Quotas and what is used of them.
#[derive(Object)]
#[oai(example)]
struct UsageResponse {
    /// Always true.
    success: bool,
    /// One entry a resource.
    usage: Vec<ResourceUsage>,
    /// What the host cannot enforce, in words.
    not_enforced: Vec<String>,
    /// The profiles that a container may name.
    profiles: Vec<ProfileItem>,
    /// The shares that a container may mount, by the name that `volumes` has.
    shares: Vec<ShareItem>,
}

impl Example for UsageResponse {
    fn example() -> Self {
        let usage = vec![ResourceUsage { resource: "containers".into(), limit: 20, used: 3 }];
        let shares = vec![ShareItem { name: "datasets".into(), read_only: true }];
        Self { success: true, usage, not_enforced: vec![DISK.into()], profiles: vec![ProfileItem::sample()], shares }
    }
}

/// No storage that Podman has by default bounds what a container writes.
const DISK: &str = "disk space and number of files: space is measured now and then, and who writes on beyond stored_bytes is stopped; \
     what was deleted and is still open is not found";

#[OpenApi(tag = "Tag::Status")]
impl Usage {
    /// Read quotas and usage
    ///
    /// What the caller's tenant may have in all, and has. Memory, CPUs and processes count as promised to containers;
    /// stored bytes as last measured. And what one container may have: by profile, as far as the tenant's own limits go.
    #[oai(path = "/usage", method = "get", operation_id = "getUsage")]
    async fn usage(&self, who: Caller<ContainersRead>) -> poem::Result<Json<UsageResponse>> {
        let usage = self.0.policy.usage(who.principal()).await?;
        let usage = usage.into_iter().map(ResourceUsage::from);
        let lacks = self.0.engine.host().lacks().into_iter().chain([DISK]);
        let not_enforced = lacks.map(str::to_owned).collect();
        let Offer { profiles, shares } = self.0.policy.offer(who.principal()).await?;
        let shares = shares.into_iter().map(|(name, Shared { read_only })| ShareItem { name, read_only });
        Ok(Json(UsageResponse {
            success: true,
            usage: usage.collect(),
            not_enforced,
            profiles: profiles.into_iter().map(|(name, profile)| ProfileItem::of(name, profile)).collect(),
            shares: shares.collect(),
        }))
    }
}
