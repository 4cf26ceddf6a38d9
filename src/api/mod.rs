//! The typed operations, one file a resource. Each reads: who, parse, authorize, act.

mod accounts;
mod api_keys;
mod audit;
pub mod caller;
mod containers;
pub mod contract;
mod document;
pub mod error;
mod exec;
mod files;
pub mod idempotency;
mod images;
mod json;
mod large;
mod model;
mod parameter;
mod status;
mod tenants;
mod tokens;
mod usage;
mod users;
mod volumes;

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{OpenApi, OpenApiService, Tags};
use serde_json::Value;

use crate::auth::Authenticator;
use crate::domain::{Result, World};
use crate::engine::Engine;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::store::Store;

pub use json::BodyLimits;
pub use large::LargeBodies;

/// Where the operations are mounted.
pub const PREFIX: &str = "/api/v1";

/// What the operations work with.
#[derive(Clone)]
pub struct Context {
    /// Signs in.
    pub auth: Authenticator,
    /// Grants.
    pub policy: Policy,
    /// The records of tenants and accounts.
    pub store: Store,
    /// Takes several steps.
    pub lifecycle: Lifecycle,
    /// Takes one.
    pub engine: Engine,
    /// The clock.
    pub world: World,
    /// What is counted, where the configuration lets the API tell.
    pub metrics: Option<Metrics>,
    /// When the gateway started.
    pub started: time::OffsetDateTime,
}

#[derive(Tags)]
enum Tag {
    /// Make, look at, run and remove containers.
    Containers,
    /// Run commands and change things inside a running container.
    Inside,
    /// Make, look at and remove volumes.
    Volumes,
    /// See what images there are.
    Images,
    /// Get tokens and keys.
    Authentication,
    /// Manage accounts and tenants.
    Administration,
    /// How the gateway is doing.
    Status,
}

type Operations = (
    containers::Containers,
    exec::Exec,
    users::Users,
    files::Files,
    volumes::Volumes,
    images::Images,
    tokens::TokenOperations,
    api_keys::ApiKeys,
    accounts::Accounts,
    tenants::Tenants,
    status::Status,
    usage::Usage,
    audit::Audit,
);

/// The document of all operations. Needs nothing to work with: nothing is called.
pub fn document() -> Result<Value> {
    let service = OpenApiService::new(Shape, "Podgate", env!("CARGO_PKG_VERSION"));
    document::mended(&service.spec())
}

/// The operations' shape without the operations.
struct Shape;

impl OpenApi for Shape {
    fn meta() -> Vec<MetaApi> {
        Operations::meta()
    }

    fn register(registry: &mut Registry) {
        Operations::register(registry);
    }

    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

/// The service over all operations.
pub fn service(context: Context) -> OpenApiService<Operations, ()> {
    let operations = (
        containers::Containers(context.clone()),
        exec::Exec(context.clone()),
        users::Users(context.clone()),
        files::Files(context.clone()),
        volumes::Volumes(context.clone()),
        images::Images(context.clone()),
        tokens::TokenOperations(context.clone()),
        api_keys::ApiKeys(context.clone()),
        accounts::Accounts(context.clone()),
        tenants::Tenants(context.clone()),
        status::Status(context.clone()),
        usage::Usage(context.clone()),
        audit::Audit(context),
    );
    OpenApiService::new(operations, "Podgate", env!("CARGO_PKG_VERSION"))
}
