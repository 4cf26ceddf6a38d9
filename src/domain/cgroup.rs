//! Control groups: where the tenants' are, in the words of either of Podman's managers.

use super::TenantSlug;

/// The group in which each tenant has one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupParent {
    /// One named `podgate`, in the words of the manager that Podman has.
    Auto,
    /// Below the root of each hierarchy, for the manager `cgroupfs`.
    Path(String),
    /// A slice without its suffix, for the manager `systemd`.
    Slice(String),
}

impl CgroupParent {
    /// Parses `auto`, `/path` or `name.slice`, or says that it is none of them.
    pub fn parse(input: &str) -> Result<Self, String> {
        if input == "auto" {
            return Ok(Self::Auto);
        }
        let is_name = |name: &str| {
            !matches!(name, "" | "." | "..")
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        // A dash in a slice's name says which slice that is in.
        let is_slice = |name: &str| name.split('-').all(|part| is_name(part) && !part.contains('.'));
        let parsed = match (input.strip_prefix('/'), input.strip_suffix(".slice")) {
            (Some(path), None) if path.split('/').all(is_name) => Some(Self::Path(input.to_owned())),
            (None, Some(name)) if is_slice(name) => Some(Self::Slice(name.to_owned())),
            _ => None,
        };
        parsed.filter(|_| input.len() <= 100).ok_or_else(|| format!("{input:?} is none of auto, /path and name.slice"))
    }

    /// The tenant's own group, where Podman has this manager of groups; none where that is not known. No two tenants have
    /// the same, for a slug has no `_`.
    pub fn of(&self, tenant: &TenantSlug, manager: Option<CgroupManager>) -> Option<String> {
        let path = |parent: &str| Some(format!("{parent}/{tenant}"));
        let slice = |parent: &str| Some(format!("{parent}-{}.slice", tenant.as_str().replace('-', "_")));
        match (self, manager) {
            (Self::Path(parent), _) => path(parent),
            (Self::Slice(parent), _) => slice(parent),
            (Self::Auto, Some(CgroupManager::Cgroupfs)) => path("/podgate"),
            (Self::Auto, Some(CgroupManager::Systemd)) => slice("podgate"),
            (Self::Auto, None) => None,
        }
    }

    /// Whether Podman can make containers there, having this manager.
    pub fn fits(&self, manager: Option<CgroupManager>) -> bool {
        match self {
            Self::Auto => true,
            Self::Path(_) => manager != Some(CgroupManager::Systemd),
            Self::Slice(_) => manager != Some(CgroupManager::Cgroupfs),
        }
    }
}

/// Who makes control groups for Podman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupManager {
    /// Podman itself.
    Cgroupfs,
    /// systemd.
    Systemd,
}

impl CgroupManager {
    /// By Podman's name for it.
    pub fn parse(input: &str) -> Option<Self> {
        match input {
            "cgroupfs" => Some(Self::Cgroupfs),
            "systemd" => Some(Self::Systemd),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_a_group_of_its_own() {
        let whose = |parent: &str, slug: &str, manager| {
            CgroupParent::parse(parent).unwrap().of(&TenantSlug::parse(slug).unwrap(), manager)
        };
        assert_eq!(whose("auto", "acme-x", Some(CgroupManager::Cgroupfs)).unwrap(), "/podgate/acme-x");
        assert_eq!(whose("auto", "acme-x", Some(CgroupManager::Systemd)).unwrap(), "podgate-acme_x.slice");
        assert_eq!(whose("auto", "acme-x", None), None);
        let of = |parent: &str, slug: &str| whose(parent, slug, None).unwrap();
        assert_eq!(of("/podgate", "acme-x"), "/podgate/acme-x");
        assert_eq!(of("/a/b.c", "acme"), "/a/b.c/acme");
        assert_eq!(of("podgate.slice", "acme-x"), "podgate-acme_x.slice");
        assert_eq!(of("machine-podgate.slice", "acme"), "machine-podgate-acme.slice");
        assert_ne!(of("podgate.slice", "a-b"), of("podgate-a.slice", "b"));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for bad in [
            "",
            "/",
            "podgate",
            "/podgate/",
            "/../x",
            "/a/./b",
            "/a b",
            "/podgate.slice",
            ".slice",
            "-.slice",
            "a-.slice",
            "a--b.slice",
            "a.b.slice",
            "a/b.slice",
            "/a\n",
        ] {
            assert!(CgroupParent::parse(bad).is_err(), "{bad:?}");
        }
        assert!(CgroupParent::parse(&format!("/{}", "a".repeat(100))).is_err());
    }
}
