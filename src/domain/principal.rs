//! Who is asking, and what that lets them do.

use std::fmt;
use std::str::FromStr;

use super::{Login, TenantSlug};

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See containers, their logs, volumes and usage.
    ContainersRead,
    /// Create, start, stop and remove containers.
    ContainersWrite,
    /// Run commands and add users inside containers.
    Exec,
    /// Write files inside containers.
    Files,
    /// Pull images.
    Images,
    /// Make and remove volumes.
    Volumes,
    /// Manage the tenant's accounts and keys.
    Accounts,
    /// Read who did what.
    Audit,
    /// Manage tenants.
    Tenants,
    /// See how the gateway itself is doing.
    Status,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::ContainersRead,
        Self::ContainersWrite,
        Self::Exec,
        Self::Files,
        Self::Images,
        Self::Volumes,
        Self::Accounts,
        Self::Audit,
        Self::Tenants,
        Self::Status,
    ];

    /// What it allows, in the specification.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ContainersRead => "See containers, their logs, volumes and usage",
            Self::ContainersWrite => "Create, start, stop and remove containers",
            Self::Exec => "Run commands and add users inside containers",
            Self::Files => "Write files inside containers",
            Self::Images => "Pull images",
            Self::Volumes => "Make and remove volumes",
            Self::Accounts => "Manage the tenant's accounts and keys",
            Self::Audit => "Read who did what",
            Self::Tenants => "Manage tenants",
            Self::Status => "See how the gateway itself is doing",
        }
    }

    /// The name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContainersRead => "containers:read",
            Self::ContainersWrite => "containers:write",
            Self::Exec => "exec",
            Self::Files => "files",
            Self::Images => "images",
            Self::Volumes => "volumes",
            Self::Accounts => "accounts",
            Self::Audit => "audit",
            Self::Tenants => "tenants",
            Self::Status => "status",
        }
    }
}

/// A named set of scopes. An account has one. Later ones may more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees everything of its tenant, changes nothing.
    Viewer,
    /// Works with its tenant's containers.
    Operator,
    /// Does everything within its tenant.
    Admin,
    /// Runs the installation; a member of no tenant.
    Platform,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Platform];

    /// The name in the store and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Platform => "platform",
        }
    }

    /// The scopes it holds.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Viewer => &[Scope::ContainersRead, Scope::Status],
            Self::Operator => &[
                Scope::ContainersRead,
                Scope::ContainersWrite,
                Scope::Exec,
                Scope::Files,
                Scope::Images,
                Scope::Volumes,
                Scope::Status,
            ],
            Self::Admin => &[
                Scope::ContainersRead,
                Scope::ContainersWrite,
                Scope::Exec,
                Scope::Files,
                Scope::Images,
                Scope::Volumes,
                Scope::Accounts,
                Scope::Audit,
                Scope::Status,
            ],
            Self::Platform => &[Scope::Accounts, Scope::Audit, Scope::Tenants, Scope::Status],
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == input)
            .ok_or_else(|| format!("a scope is one of {}", known()))
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|role| role.as_str() == input);
        found.ok_or_else(|| format!("a role is one of {}", known()))
    }
}

/// The tenant a principal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// Our identifier, the key of everything it owns.
    pub id: String,
    /// Its name.
    pub slug: TenantSlug,
}

/// An authenticated account as our records describe it at this moment (SECURITY rule 11).
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account's identifier.
    pub account_id: String,
    /// What it signs in with.
    pub login: Login,
    /// What it is.
    pub role: Role,
    /// Where; none for a platform administrator.
    pub tenant: Option<Tenant>,
    /// What it may do: its role's, or fewer.
    pub scopes: Vec<Scope>,
    /// The session that its token was issued in. A key has one for each of its secrets.
    pub session_id: Option<String>,
    /// The account's epoch that its token was issued in, if it is over with that: a key itself is not.
    pub epoch: Option<i64>,
    /// The API key that it came with.
    pub key_id: Option<String>,
    /// When an identity provider issued its token, in seconds since 1970, if one did.
    pub foreign_iat: Option<i64>,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.login.fmt(f)
    }
}
