//! Configuration: the embedded defaults, then the file, then the environment; checked whole before anything starts.
//!
//! `config/podgate.toml` documents every key with its unit. Whatever is wrong is reported at once, each with its key.

mod issuers;
mod listen;
mod live;
mod load;
mod network;
mod profiles;
mod reader;
mod restart;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::{
    CgroupParent, ContainerLimits, ImageRef, ImageRequest, NetworkMode, PullPolicy, Resource, TenantSlug,
};

pub use issuers::{ForeignAccounts, Issuer, KeyPlace, Mapping, Meaning, reachable};
pub use live::Live;
pub use network::Network;

/// The defaults, as committed.
pub const DEFAULTS: &str = include_str!("../../config/podgate.toml");

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds the database and the seccomp profile.
    pub data_dir: PathBuf,
    /// Addresses to serve on.
    pub listen: Vec<Listen>,
    /// Where the process kills itself, for tests.
    pub fail_point: Option<String>,
    /// Podman.
    pub engine: Engine,
    /// The program that runs inside containers.
    pub agent_path: PathBuf,
    /// How long a terminal may be silent.
    pub terminal_idle: Duration,
    /// The database.
    pub store: Store,
    /// Passwords and tokens.
    pub auth: Auth,
    /// Identity providers whose tokens are taken.
    pub issuers: Vec<Issuer>,
    /// Request rates.
    pub limits: Limits,
    /// Connections and bodies.
    pub http: Http,
    /// Requests that may be sent again.
    pub idempotency: Idempotency,
    /// Logging.
    pub log: Log,
    /// What only the operator sees.
    pub operator: Operator,
    /// How much of what containers say is kept.
    pub output: Output,
    /// What containers may have, by name; `default` is always there.
    pub profiles: BTreeMap<String, Profile>,
    /// What a tenant may have in all.
    pub quotas: Quotas,
    /// Directories of the host that tenants may mount, by name.
    pub shares: BTreeMap<String, Share>,
    /// Where images come from, and what their short names mean.
    pub images: Images,
    /// Who did what.
    pub audit: Audit,
}

/// The audit log, beside the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Gets every row as a line of JSON.
    pub file: Option<PathBuf>,
    /// Whether standard output does.
    pub stdout: bool,
    /// Whether a row is on the disk before what it announces is done.
    pub wait_for_disk: bool,
    /// How long rows are kept; none: for ever.
    pub keep: Option<Duration>,
}

/// Where images come from.
#[derive(Debug, Clone)]
pub struct Images {
    /// The most a request may ask for.
    pub pull: PullPolicy,
    /// How long one pull may take.
    pub pull_patience: Duration,
    /// Pulls at once.
    pub pulls: usize,
    /// Bytes of Podman's storage that no pull takes.
    pub keep_free_bytes: u64,
    /// What short names mean.
    pub aliases: BTreeMap<ImageRequest, ImageRef>,
}

/// What only the operator sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Where metrics and probes are served; none: nowhere.
    pub listen: Option<Listen>,
    /// Whether `GET /metrics` of the API gives them, too.
    pub metrics_in_api: bool,
}

/// One address to serve on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<Tls>,
    /// Plain HTTP on an address that is not loopback was asked for in as many words.
    pub plain_http_beyond_loopback: bool,
}

/// PEM files of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, leaf first.
    pub cert_file: PathBuf,
    /// Private key.
    pub key_file: PathBuf,
}

/// How Podman is reached and how hard it is worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Short calls at once.
    pub max_workers: usize,
    /// Deadline of an operation.
    pub request_timeout: Duration,
    /// Long calls at once per tenant.
    pub long_calls_per_tenant: usize,
    /// Files of containers worked on at once per tenant.
    pub transfers_per_tenant: usize,
    /// Between two surveys of what a running container has on the disk.
    pub survey_every: Duration,
    /// As Podman's host sees it.
    pub seccomp_path: PathBuf,
    /// Whether the file at `seccomp_path` is ours to write.
    pub seccomp_is_ours: bool,
    /// First host id of the first tenant; none without user namespaces.
    pub first_user_id: Option<u32>,
    /// Where each tenant has a control group of its own; none where Podman chooses.
    pub cgroup_parent: Option<CgroupParent>,
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Path of the SQLite file.
    Sqlite(PathBuf),
    /// URL of a PostgreSQL database, with the password.
    Postgres(Secret),
}

/// Text, or bytes, that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// For whoever needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(text: T) -> Self {
        Self(text)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Passwords and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Life of a token.
    pub token_seconds: u64,
    /// Forgiven clock difference.
    pub leeway_seconds: u64,
    /// Signs tokens by HS256 instead of a key of the store.
    pub hs256_secret: Option<Secret<Vec<u8>>>,
    /// Life of a session: how long its refresh tokens are good.
    pub session_seconds: u64,
    /// Memory of one argon2id hash.
    pub hash_memory_kib: u32,
    /// Passes of one argon2id hash.
    pub hash_passes: u32,
    /// Hashes at once.
    pub hash_threads: usize,
    /// Hashes waiting.
    pub hash_queue: usize,
}

/// Request rates.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of a tenant.
    pub tenant: Rate,
    /// Of an account.
    pub account: Rate,
    /// Of a peer address without a valid token.
    pub address: Rate,
    /// Of passwords that are tried.
    pub sign_ins: SignIns,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Vec<Network>,
}

/// A rate with its burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained.
    pub per_second: u32,
    /// At once after a pause.
    pub burst: u32,
}

/// How often passwords may be tried, right or wrong.
#[derive(Debug, Clone, Copy)]
pub struct SignIns {
    /// From one address.
    pub address: SlowRate,
    /// For one account from one address.
    pub account_at_address: SlowRate,
    /// For one account from all addresses that it has not been used from before.
    pub account: SlowRate,
}

/// A rate that is counted in minutes, with its burst.
#[derive(Debug, Clone, Copy)]
pub struct SlowRate {
    /// Sustained.
    pub per_minute: u32,
    /// At once after a pause.
    pub burst: u32,
}

/// Connections and bodies; seconds and bytes as in the file.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Http {
    pub handshake_deadline_seconds: u64,
    pub header_deadline_seconds: u64,
    pub body_deadline_seconds: u64,
    pub max_header_bytes: usize,
    pub max_headers: usize,
    pub max_body_bytes: usize,
    pub max_file_body_bytes: usize,
    pub max_transfer_bytes: u64,
    pub transfer_idle_seconds: u64,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_streams_per_connection: u32,
    pub idle_seconds: u64,
    pub drain_seconds: u64,
    pub cors_origins: Vec<String>,
}

/// Requests that may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// How long an answer is kept.
    pub kept: Duration,
    /// The most that is kept of one tenant.
    pub keys_per_tenant: u32,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A tracing filter.
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
}

/// How much of what containers say is kept, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Of one exec.
    pub exec_bytes: usize,
    /// Of one answer with logs.
    pub logs_bytes: usize,
}

/// What a container may have: defaults and maxima at once.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Bounds that are always set.
    pub limits: ContainerLimits,
    /// Beyond the lean set.
    pub capabilities: Vec<String>,
    /// Where it can reach.
    pub network: NetworkMode,
    /// Most ports published.
    pub max_ports: usize,
    /// Host address of published ports.
    pub port_address: IpAddr,
    /// Host ports that may be asked for.
    pub ports: RangeInclusive<u16>,
    /// Host ports that are chosen from.
    pub auto_ports: RangeInclusive<u16>,
    /// Whether what containers write outside of volumes survives a power cut.
    pub durable: bool,
    /// When containers go by themselves.
    pub expiry: Expiry,
    /// How long commands in them may take.
    pub exec_time: ExecTime,
}

/// How long a command in a container may take.
#[derive(Debug, Clone, Copy)]
pub struct ExecTime {
    /// Where a request says nothing.
    pub default: Duration,
    /// The most a request may ask for.
    pub most: Duration,
}

/// A directory of the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Absolute, as Podman's host sees it.
    pub path: String,
    /// Who may mount it.
    #[serde(deserialize_with = "slugs")]
    pub tenants: BTreeSet<TenantSlug>,
    /// Unless declared otherwise.
    #[serde(default = "yes")]
    pub read_only: bool,
}

fn yes() -> bool {
    true
}

fn slugs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<TenantSlug>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let parse =
        |name: &String| TenantSlug::parse(name).map_err(|why| serde::de::Error::custom(format!("{name:?}: {why}")));
    names.iter().map(parse).collect()
}

/// When containers go by themselves.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// Where a request says nothing; none: never.
    pub default: Option<Duration>,
    /// The most a request may ask for; none: any.
    pub most: Option<Duration>,
    /// After the last use; none: never.
    pub idle: Option<Duration>,
}

/// What a tenant may have in all, where its record says nothing else.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// By resource; in the resource's unit.
    pub defaults: BTreeMap<Resource, i64>,
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Dotted key; empty when a file cannot be read at all.
    pub key: String,
    /// What is wrong, for a person.
    pub message: String,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} mistake(s):", self.0.len())?;
        for Mistake { key, message } in &self.0 {
            write!(f, "\n  {key}{}{message}", if key.is_empty() { "" } else { ": " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
