//! What the caller's tenant may have and has.

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, ContainersRead};
use super::model::answer;
use super::{Context, Tag};

pub struct Usage(pub Context);

/// One resource.
#[derive(Object)]
struct ResourceUsage {
    /// containers, running, memory_bytes, cpu_millis or pids.
    resource: String,
    /// The most the tenant may have, in the resource's unit.
    limit: i64,
    /// What it has.
    used: i64,
}

answer! {
    /// Quotas and what is used of them.
    UsageResponse { usage: Vec<ResourceUsage> }
    example vec![ResourceUsage { resource: "containers".into(), limit: 20, used: 3 }]
}

#[OpenApi(tag = "Tag::Status")]
impl Usage {
    /// Read quotas and usage
    ///
    /// What the caller's tenant may have in all, and has. Memory, CPUs and processes count as promised to containers.
    #[oai(path = "/usage", method = "get", operation_id = "getUsage")]
    async fn usage(&self, who: Caller<ContainersRead>) -> poem::Result<Json<UsageResponse>> {
        let usage = self.0.policy.usage(who.principal()).await?;
        let usage = usage.into_iter().map(|one| ResourceUsage {
            resource: one.resource.as_str().into(),
            limit: one.limit,
            used: one.used,
        });
        Ok(UsageResponse::of(usage.collect()))
    }
}
