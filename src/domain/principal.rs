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
    /// See how the gateway itself is doing.
    Status,
}

impl Scope {
    /// The name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContainersRead => "containers:read",
            Self::ContainersWrite => "containers:write",
            Self::Exec => "exec",
            Self::Files => "files",
            Self::Images => "images",
            Self::Volumes => "volumes",
            Self::Status => "status",
        }
    }
}

/// A named set of scopes. An account has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            Self::Operator | Self::Admin => &[
                Scope::ContainersRead,
                Scope::ContainersWrite,
                Scope::Exec,
                Scope::Files,
                Scope::Images,
                Scope::Volumes,
                Scope::Status,
            ],
            Self::Platform => &[Scope::Status],
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        [Self::Viewer, Self::Operator, Self::Admin, Self::Platform]
            .into_iter()
            .find(|role| role.as_str() == input)
            .ok_or_else(|| "a role is one of viewer, operator, admin, platform".into())
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
    /// What it may do.
    pub role: Role,
    /// Where; none for a platform administrator.
    pub tenant: Option<Tenant>,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.login.fmt(f)
    }
}
