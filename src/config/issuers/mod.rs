//! Identity providers whose tokens are taken, and what their claims mean here.

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use rustls_pki_types::CertificateDer;
use url::{Host, Url};

use crate::domain::{Role, TenantSlug};

pub(super) use load::issuers;

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// What the operator calls it.
    pub name: String,
    /// `iss`, exactly.
    pub issuer: String,
    /// One of them is in `aud`.
    pub audiences: BTreeSet<String>,
    /// Asymmetric ones only.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeyPlace,
    /// How long they are taken as they are.
    pub keys_last: Duration,
    /// Whose certificates are taken beside those that the system takes.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Whether it, and what its discovery names, may be reached by plain HTTP on other hosts than this one.
    pub plain_http: bool,
    /// Forgiven clock difference, in seconds.
    pub leeway: i64,
    /// Who its people are here.
    pub accounts: ForeignAccounts,
}

/// Where a provider's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// Named by the document at this URL (OpenID Connect Discovery 1.0).
    Discovery(Url),
    /// A JWK set at this URL.
    Uri(Url),
    /// A JWK set or one PEM public key.
    File(PathBuf),
}

/// Who a provider's people are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignAccounts {
    /// Whom the operator made an account for, with the role that it has.
    Linked,
    /// Whoever the claims give a tenant and a role.
    Mapped(Mapping),
}

/// What claims mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Which tenant; none: platform administrators only.
    pub tenant: Option<Meaning<TenantSlug>>,
    /// Values whose rest is the tenant's name.
    pub tenant_prefixes: Vec<String>,
    /// Which role.
    pub role: Meaning<Role>,
    /// The claim that accounts are named after.
    pub name_claim: String,
}

/// What something means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<T> {
    /// The same for everybody.
    Fixed(T),
    /// What the values of a claim mean.
    Claim(String, BTreeMap<String, T>),
}

/// A URL that keys may come from: HTTPS; plain HTTP only from this host itself, or where that is asked for.
pub fn reachable(text: &str, plain_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("{text:?} is no URL"))?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(format!("{text:?} names no host")),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if plain_http || is_loopback => Ok(url),
        _ => Err(format!("{text:?} is not https://…; anybody on the way could put keys of their own there")),
    }
}
