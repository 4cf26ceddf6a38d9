//! Volumes and where they are mounted.

use super::ContainerPath;

/// A volume's name within its tenant: as a container's.
pub use super::ContainerName as VolumeName;

/// A directory inside a container that something may be mounted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountTarget(String);

/// Directories that are not the tenant's to cover, with everything below the first four (SECURITY rule 15).
const KERNEL: &[&str] = &["/proc", "/sys", "/dev", "/.podgate"];
const SYSTEM: &[&str] = &["/etc"];

impl MountTarget {
    /// Parses an absolute path that is not one of the forbidden directories.
    pub fn parse(input: &str) -> Result<Self, String> {
        let path = ContainerPath::parse(input)?;
        let path = path.as_str();
        let below = |dir: &str| path == dir || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        if KERNEL.iter().any(|dir| below(dir)) || SYSTEM.contains(&path) {
            return Err(format!("nothing may be mounted on {path}"));
        }
        Ok(Self(path.to_owned()))
    }

    /// The checked path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A volume of the tenant, by our identifier.
    Volume(String),
    /// A directory of the host that the administrator declared, exactly.
    Share {
        /// Absolute.
        path: String,
        /// Unless declared otherwise.
        read_only: bool,
    },
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where.
    pub target: MountTarget,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_are_not_covered() {
        for bad in
            ["/", "/proc", "/proc/self", "/sys/fs", "/dev", "/dev/shm", "/etc", "/.podgate/x", "data", "/a/../etc"]
        {
            assert!(MountTarget::parse(bad).is_err(), "{bad}");
        }
        for good in ["/data", "/etc/app", "/home/x", "/procession", "/developer"] {
            assert!(MountTarget::parse(good).is_ok(), "{good}");
        }
    }
}
