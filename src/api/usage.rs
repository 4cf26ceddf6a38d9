//! What the caller's tenant may have and has.

use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, ContainersRead};
use super::{Context, Tag};

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
}

impl Example for UsageResponse {
    fn example() -> Self {
        let usage = vec![ResourceUsage { resource: "containers".into(), limit: 20, used: 3 }];
        Self { success: true, usage, not_enforced: vec![DISK.into()] }
    }
}

/// No storage that Podman has by default bounds what a container writes.
const DISK: &str =
    "disk space and number of files: space is measured now and then, and who writes on beyond stored_bytes is stopped";

#[OpenApi(tag = "Tag::Status")]
impl Usage {
    /// Read quotas and usage
    ///
    /// What the caller's tenant may have in all, and has. Memory, CPUs and processes count as promised to containers;
    /// stored bytes as last measured.
    #[oai(path = "/usage", method = "get", operation_id = "getUsage")]
    async fn usage(&self, who: Caller<ContainersRead>) -> poem::Result<Json<UsageResponse>> {
        let usage = self.0.policy.usage(who.principal()).await?;
        let usage = usage.into_iter().map(ResourceUsage::from);
        let lacks = self.0.engine.host().lacks().into_iter().chain([DISK]);
        let not_enforced = lacks.map(str::to_owned).collect();
        Ok(Json(UsageResponse { success: true, usage: usage.collect(), not_enforced }))
    }
}
