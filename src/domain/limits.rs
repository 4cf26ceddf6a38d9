//! What a container may use, and what a tenant may have.

use std::str::FromStr;

/// Bounds of one container, always set (SECURITY rules 26, 27).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerLimits {
    /// Bytes, swap included.
    pub memory_bytes: i64,
    /// Processes.
    pub pids: i64,
    /// Thousandths of a CPU.
    pub cpu_millis: i64,
    /// File descriptors of a process.
    pub open_files: u64,
    /// Bytes of log kept on disk.
    pub log_bytes: i64,
}

/// Where a container can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkMode {
    /// Its own loopback.
    None,
    /// Its tenant's containers.
    Internal,
    /// Its tenant's containers, and out.
    Egress,
}

impl NetworkMode {
    /// The name in the configuration and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Internal => "internal",
            Self::Egress => "egress",
        }
    }
}

impl FromStr for NetworkMode {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        [Self::None, Self::Internal, Self::Egress]
            .into_iter()
            .find(|mode| mode.as_str() == input)
            .ok_or_else(|| format!("{input:?} is none of none, internal, egress"))
    }
}

/// Something a tenant has a quota of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Containers in any state.
    Containers,
    /// Containers that run.
    Running,
    /// Bytes of memory promised to containers.
    Memory,
    /// Thousandths of CPUs promised to containers.
    CpuMillis,
    /// Processes promised to containers.
    Pids,
    /// Named volumes.
    Volumes,
    /// Bytes on the disk, as last measured.
    StoredBytes,
    /// Commands running in containers at once.
    Execs,
    /// Streams open at once.
    Streams,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Containers,
        Self::Running,
        Self::Memory,
        Self::CpuMillis,
        Self::Pids,
        Self::Volumes,
        Self::StoredBytes,
        Self::Execs,
        Self::Streams,
    ];

    /// Whether it is what is done at this moment, which no record survives.
    pub const fn is_momentary(self) -> bool {
        matches!(self, Self::Execs | Self::Streams)
    }

    /// The name in the store, in answers and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Running => "running",
            Self::Memory => "memory_bytes",
            Self::CpuMillis => "cpu_millis",
            Self::Pids => "pids",
            Self::Volumes => "volumes",
            Self::StoredBytes => "stored_bytes",
            Self::Execs => "execs",
            Self::Streams => "streams",
        }
    }
}

impl FromStr for Resource {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|resource| resource.as_str() == input);
        found.ok_or_else(|| format!("{input:?} is none of {}", names.join(", ")))
    }
}

/// What bounds a tenant beside its quotas, where its record says other than the configuration and its profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantLimit {
    /// Requests a second.
    RequestsPerSecond,
    /// Requests at once after a pause.
    Burst,
    /// Seconds after which its containers go, where a request says nothing.
    ExpiresSeconds,
    /// The most seconds that its containers may have.
    MaxExpiresSeconds,
    /// Seconds that a command in them may take, where a request says nothing.
    ExecSeconds,
    /// The most seconds that a request may ask for.
    MaxExecSeconds,
    /// The most bytes of memory of one container.
    ContainerMemory,
    /// The most thousandths of CPUs of one container.
    ContainerCpuMillis,
    /// The most processes of one container.
    ContainerPids,
}

impl TenantLimit {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RequestsPerSecond,
        Self::Burst,
        Self::ExpiresSeconds,
        Self::MaxExpiresSeconds,
        Self::ExecSeconds,
        Self::MaxExecSeconds,
        Self::ContainerMemory,
        Self::ContainerCpuMillis,
        Self::ContainerPids,
    ];

    /// The name in the store, in answers and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests_per_second",
            Self::Burst => "burst",
            Self::ExpiresSeconds => "expires_seconds",
            Self::MaxExpiresSeconds => "max_expires_seconds",
            Self::ExecSeconds => "exec_seconds",
            Self::MaxExecSeconds => "max_exec_seconds",
            Self::ContainerMemory => "container_memory_bytes",
            Self::ContainerCpuMillis => "container_cpu_millis",
            Self::ContainerPids => "container_pids",
        }
    }

    /// The limit of this name with this value, if both make sense.
    pub fn parse(name: &str, value: i64) -> Result<(Self, i64), String> {
        let limit: Self = name.parse()?;
        Ok((limit, limit.check(value)?))
    }

    /// The value, if it makes sense as this limit.
    pub fn check(self, value: i64) -> Result<i64, String> {
        let bounds = match self {
            Self::RequestsPerSecond | Self::Burst => 1..=1_000_000,
            Self::ExpiresSeconds | Self::MaxExpiresSeconds => 1..=MOST_SECONDS,
            Self::ExecSeconds | Self::MaxExecSeconds => 1..=86_400,
            // Podman takes no less memory than this.
            Self::ContainerMemory => 6_291_456..=i64::MAX,
            Self::ContainerCpuMillis => 10..=1_024_000,
            Self::ContainerPids => 1..=4_194_304,
        };
        if bounds.contains(&value) {
            return Ok(value);
        }
        Err(format!("{} must be within {} and {}", self.as_str(), bounds.start(), bounds.end()))
    }
}

/// Ten years: the sum with any date we see fits its type.
const MOST_SECONDS: i64 = 10 * 365 * 86_400;

impl FromStr for TenantLimit {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|limit| limit.as_str() == input);
        found.ok_or_else(|| format!("{input:?} is none of {}", names.join(", ")))
    }
}
