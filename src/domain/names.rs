//! Names that people choose, and the identifiers that Podman does.

use std::fmt;

/// A tenant's name in logins and in Podman's object names: `^[a-z][a-z0-9-]{0,30}[a-z0-9]$` or one letter.
///
/// It has no dot, so `<tenant>.<name>` splits one way only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantSlug(String);

impl TenantSlug {
    /// Parses, or says what a slug looks like.
    pub fn parse(input: &str) -> Result<Self, String> {
        let bytes = input.as_bytes();
        let fits = (1..=32).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && bytes[bytes.len() - 1] != b'-'
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if fits {
            Ok(Self(input.to_owned()))
        } else {
            Err("a tenant is 1 to 32 of a-z, 0-9 and '-', begins with a letter and does not end with '-'".into())
        }
    }
}

/// A container's name within its tenant: `^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$` (SECURITY rule 29).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerName(String);

impl ContainerName {
    /// Parses, or says what a name looks like.
    pub fn parse(input: &str) -> Result<Self, String> {
        let bytes = input.as_bytes();
        let fits = (1..=63).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if fits {
            Ok(Self(input.to_owned()))
        } else {
            Err("a name is 1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-', and begins with a letter or digit".into())
        }
    }
}

/// An account's name within its tenant, or a platform administrator's: `^[a-z0-9][a-z0-9._@-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// Parses, or says what a name looks like.
    pub fn parse(input: &str) -> Result<Self, String> {
        let bytes = input.as_bytes();
        let fits = (1..=63).contains(&bytes.len())
            && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-' | b'@'));
        if fits {
            Ok(Self(input.to_owned()))
        } else {
            Err("an account is 1 to 63 of a-z, 0-9, '.', '_', '-' and '@', and begins with a letter or digit".into())
        }
    }
}

/// What a person signs in with: `tenant/name`, or `name` alone for a platform administrator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// The tenant, absent for a platform administrator.
    pub tenant: Option<TenantSlug>,
    /// The account within it.
    pub name: AccountName,
}

impl Login {
    /// Parses `tenant/name` or `name`.
    pub fn parse(input: &str) -> Result<Self, String> {
        match input.split_once('/') {
            Some((tenant, name)) => {
                Ok(Self { tenant: Some(TenantSlug::parse(tenant)?), name: AccountName::parse(name)? })
            }
            None => Ok(Self { tenant: None, name: AccountName::parse(input)? }),
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{tenant}/{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// Podman's full identifier of a container, 64 hex digits: the only thing that addresses one (SECURITY rule 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EngineId(String);

impl EngineId {
    /// Parses what Podman or the ledger said.
    pub fn parse(input: &str) -> Result<Self, String> {
        if input.len() == 64 && input.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(input.to_owned()))
        } else {
            Err("not a full container id".into())
        }
    }

    /// The 12 digits shown to people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
as_text!(TenantSlug, ContainerName, AccountName, EngineId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_would_reach_elsewhere_are_refused() {
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "a%2e", "a\0", "ä", "a\n", &"a".repeat(64)] {
            assert!(ContainerName::parse(bad).is_err(), "{bad:?}");
            assert!(TenantSlug::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TenantSlug::parse("a.b").is_err());
        assert!(TenantSlug::parse("a-").is_err());
        assert!(ContainerName::parse("Web_1.x-y").is_ok());
    }

    #[test]
    fn a_login_has_at_most_one_slash() {
        assert_eq!(Login::parse("acme/alice").map(|l| l.to_string()), Ok("acme/alice".into()));
        assert!(Login::parse("admin").is_ok_and(|l| l.tenant.is_none()));
        assert!(Login::parse("a/b/c").is_err());
        assert!(Login::parse("/x").is_err());
    }

    proptest! {
        #[test]
        fn what_parses_needs_no_escaping_in_a_url(input in "\\PC{0,70}") {
            if let Ok(name) = ContainerName::parse(&input) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && !b"/?#%&\\".contains(&b)));
                prop_assert!(name.as_str() != "." && name.as_str() != "..");
            }
        }

        #[test]
        fn only_full_lowercase_hex_is_an_engine_id(input in "[0-9a-fA-FgG]{60,66}") {
            prop_assert_eq!(
                EngineId::parse(&input).is_ok(),
                input.len() == 64 && input.bytes().all(|b| b"0123456789abcdef".contains(&b))
            );
        }
    }
}
