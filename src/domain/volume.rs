//! Volumes and where they are mounted.

use super::ContainerPath;

/// A volume's name within its tenant: as a container's.
pub use super::ContainerName as VolumeName;

/// A directory inside a container that something may be mounted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountTarget(String);

/// Where a request wants something mounted, and how, as Docker writes it: `/data`, `/data:ro`, `/data:rw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedMount {
    /// Where.
    pub target: MountTarget,
    /// Whether it is not to be written, where the request says so.
    pub read_only: Option<bool>,
}

impl WantedMount {
    /// Parses a target with at most one of the two options.
    pub fn parse(input: &str) -> Result<Self, String> {
        let (path, read_only) = match input.split_once(':') {
            None => (input, None),
            Some((path, "ro")) => (path, Some(true)),
            Some((path, "rw")) => (path, Some(false)),
            Some(_) => return Err("behind the path there may be :ro or :rw, and nothing else".into()),
        };
        if path.contains(',') {
            return Err("nothing may be mounted on a path with a comma".into());
        }
        Ok(Self { target: MountTarget::parse(path)?, read_only })
    }
}

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
    /// A directory of the host that the administrator declared, exactly: an absolute path.
    Share(String),
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where.
    pub target: MountTarget,
    /// Whether nothing is written there.
    pub read_only: bool,
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

    #[test]
    fn a_mount_has_the_two_options_that_there_are() {
        for (input, read_only) in [("/data", None), ("/data:ro", Some(true)), ("/data:rw", Some(false))] {
            let wanted = WantedMount::parse(input).unwrap();
            assert_eq!((wanted.target.as_str(), wanted.read_only), ("/data", read_only));
        }
        for bad in [
            "/data:",
            "/data:z",
            "/data:ro,z",
            "/data:O",
            "/data:U",
            "/data:ro:rw",
            "/data:RO",
            "/data,ro",
            ":ro",
            "/etc:ro",
        ] {
            assert!(WantedMount::parse(bad).is_err(), "{bad}");
        }
    }
}
