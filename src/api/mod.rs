//! The typed operations, one file a resource. Each reads: who, parse, authorize, act.

mod account_keys;
mod accounts;
mod api_keys;
mod attach;
mod audit;
pub mod caller;
mod containers;
pub mod contract;
mod document;
pub mod error;
mod events;
mod exec;
mod exec_answer;
mod exec_stream;
mod files;
mod framed;
mod headers;
pub mod idempotency;
mod images;
mod json;
mod large;
mod logs;
mod model;
pub mod oauth;
mod offer;
mod parameter;
mod ports;
mod query;
mod sse;
mod stats;
mod status;
mod tenants;
mod terminal;
mod tickets;
mod tokens;
mod usage;
mod users;
mod volumes;
pub mod websocket;

use std::collections::HashMap;
use std::time::Duration;

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
use crate::streams::Streams;

pub use json::{BodyLimits, has_body};
pub use large::LargeBodies;
pub use terminal::Terminals;

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
    /// What stays open.
    pub streams: Streams,
    /// Terminals that run here.
    pub terminals: Terminals,
    /// How long one may be silent.
    pub terminal_idle: Duration,
    /// The clock.
    pub world: World,
    /// What is counted, where the configuration lets the API tell.
    pub metrics: Option<Metrics>,
    /// When the gateway started.
    pub started: tokio::time::Instant,
}

#[derive(Tags)]
enum Tag {
    /// Make, look at, run and remove containers.
    Containers,
    /// Run commands and change things inside a running container.
    Inside,
    /// Read, write and move files in a container, running or not.
    Files,
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
    // A tuple has sixteen places at most; one in another is as good.
    (logs::Logs, stats::Stats, events::Events, attach::Attach, ports::Ports),
    (exec::Exec, exec_stream::ExecStream, terminal::Terminal),
    users::Users,
    files::Operations,
    volumes::Volumes,
    images::Images,
    tokens::TokenOperations,
    tickets::Tickets,
    api_keys::ApiKeys,
    (accounts::Accounts, account_keys::AccountKeys),
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
        (
            logs::Logs(context.clone()),
            stats::Stats(context.clone()),
            events::Events(context.clone()),
            attach::Attach(context.clone()),
            ports::Ports(context.clone()),
        ),
        (exec::Exec(context.clone()), exec_stream::ExecStream(context.clone()), terminal::Terminal(context.clone())),
        users::Users(context.clone()),
        files::operations(&context),
        volumes::Volumes(context.clone()),
        images::Images(context.clone()),
        tokens::TokenOperations(context.clone()),
        tickets::Tickets(context.clone()),
        api_keys::ApiKeys(context.clone()),
        (accounts::Accounts(context.clone()), account_keys::AccountKeys(context.clone())),
        tenants::Tenants(context.clone()),
        status::Status(context.clone()),
        usage::Usage(context.clone()),
        audit::Audit(context),
    );
    OpenApiService::new(operations, "Podgate", env!("CARGO_PKG_VERSION"))
}
