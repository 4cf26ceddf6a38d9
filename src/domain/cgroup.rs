//! Control groups: where the tenants' are, in the words of either of Podman's managers.

use super::TenantSlug;

/// The group in which each tenant has one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupParent {
    /// Below the root of each hierarchy, for the manager `cgroupfs`.
    Path(String),
    /// A slice without its suffix, for the manager `systemd`.
    Slice(String),
}

impl CgroupParent {
    /// Parses `/path` or `name.slice`, or says that it is neither.
    pub fn parse(input: &str) -> Result<Self, String> {
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
        parsed.filter(|_| input.len() <= 100).ok_or_else(|| format!("{input:?} is neither /path nor name.slice"))
    }

    /// The tenant's own group. No two tenants have the same, for a slug has no `_`.
    pub fn of(&self, tenant: &TenantSlug) -> String {
        match self {
            Self::Path(path) => format!("{path}/{tenant}"),
            Self::Slice(name) => format!("{name}-{}.slice", tenant.as_str().replace('-', "_")),
        }
    }

    /// Podman's manager that knows such groups.
    pub const fn manager(&self) -> &'static str {
        match self {
            Self::Path(_) => "cgroupfs",
            Self::Slice(_) => "systemd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_a_group_of_its_own() {
        let of = |parent: &str, slug: &str| CgroupParent::parse(parent).unwrap().of(&TenantSlug::parse(slug).unwrap());
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
