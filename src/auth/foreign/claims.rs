//! What a verified token says, and what that means here.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::auth::unauthenticated;
use crate::config::{ForeignAccounts, Issuer, Mapping, Meaning};
use crate::domain::{AccountName, Error, Result, Role, TenantSlug, hex};
use crate::store::ForeignAccess;

/// Longest subject (OpenID Connect Core 1.0, 2).
const MAX_SUBJECT_BYTES: usize = 255;
/// Longest part of an account's name that a provider chooses.
const MAX_NAME: usize = 30;
/// Bytes whose digits tell apart whom a provider calls the same.
const TELLING_BYTES: usize = 4;

/// Of one token.
pub struct Claims {
    pub subject: String,
    /// Seconds since 1970, as all times here.
    pub issued_at: i64,
    pub access: ForeignAccess,
    expires: i64,
    not_before: Option<i64>,
}

impl Claims {
    /// Takes nothing for a time or a name that is not one.
    pub fn parse(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Self, String> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
            return Err("sub is no identifier".into());
        }
        let required = |name: &str| time(claims, name)?.ok_or_else(|| format!("{name} is missing"));
        Ok(Self {
            subject: subject.to_owned(),
            issued_at: required("iat")?,
            expires: required("exp")?,
            not_before: time(claims, "nbf")?,
            access: match &issuer.accounts {
                ForeignAccounts::Linked => ForeignAccess::Linked,
                ForeignAccounts::Mapped(mapping) => access(issuer, mapping, subject, claims),
            },
        })
    }

    /// Whether the token is good at this time.
    pub fn check_time(&self, now: i64, leeway: i64) -> Result<()> {
        if self.expires <= now.saturating_sub(leeway) {
            return Err(Error { message: "the token has expired".into(), ..unauthenticated("expired") });
        }
        let latest = now.saturating_add(leeway);
        if self.issued_at > latest || self.not_before.is_some_and(|begins| begins > latest) {
            return Err(unauthenticated("iat or nbf in the future"));
        }
        Ok(())
    }
}

/// A number, with or without a fraction (RFC 7519, 2); nothing else.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_i64().or_else(|| value.as_f64().filter(|time| time.abs() < 1e15).map(|time| time as i64));
    whole.map(Some).ok_or_else(|| format!("{name} is no time"))
}

fn access(issuer: &Issuer, mapping: &Mapping, subject: &str, claims: &Map<String, Value>) -> ForeignAccess {
    let role = match &mapping.role {
        Meaning::Fixed(role) => Some(*role),
        Meaning::Claim(path, roles) => values(claims, path).iter().filter_map(|value| roles.get(*value)).max().copied(),
    };
    let Some(role) = role else { return ForeignAccess::Nothing("no claim of the token gives a role here") };
    let tenant = if role == Role::Platform { Ok(None) } else { tenant(mapping, claims).map(Some) };
    match tenant {
        Ok(tenant) => {
            let name = claims.get(&mapping.name_claim).and_then(Value::as_str).unwrap_or_default();
            ForeignAccess::Mapped { tenant, role, names: names(issuer, subject, name) }
        }
        Err(why) => ForeignAccess::Nothing(why),
    }
}

fn tenant(mapping: &Mapping, claims: &Map<String, Value>) -> Result<TenantSlug, &'static str> {
    let mut found = match &mapping.tenant {
        Some(Meaning::Fixed(tenant)) => return Ok(tenant.clone()),
        Some(Meaning::Claim(path, tenants)) => {
            let mean = |value: &&str| {
                let mut rests = mapping.tenant_prefixes.iter().filter_map(|prefix| value.strip_prefix(&**prefix));
                tenants.get(*value).cloned().or_else(|| rests.find_map(|rest| TenantSlug::parse(rest).ok()))
            };
            values(claims, path).iter().filter_map(mean).collect::<BTreeSet<_>>()
        }
        None => BTreeSet::new(),
    };
    match (found.pop_first(), found.is_empty()) {
        (Some(tenant), true) => Ok(tenant),
        (Some(_), false) => Err("the claims of the token name several tenants"),
        (None, _) => Err("no claim of the token names a tenant here"),
    }
}

/// The texts at a path: a claim of that name, else of the names between the dots. Scopes are words in one text (RFC 8693).
fn values<'a>(claims: &'a Map<String, Value>, path: &str) -> Vec<&'a str> {
    let below = || {
        let mut names = path.split('.');
        let first = claims.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    };
    match claims.get(path).or_else(below) {
        Some(Value::String(text)) if matches!(path, "scope" | "scp") => text.split(' ').collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// What the account may be called, best first: `alice@corp`, so that it is nobody's of our own, and with digits of its own
/// where that is taken.
fn names(issuer: &Issuer, subject: &str, name: &str) -> Vec<AccountName> {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let name = name.split('@').next().unwrap_or_default().to_lowercase();
    let fit: String = name.chars().map(|c| if is_fit(c) { c } else { '-' }).take(MAX_NAME).collect();
    let fit = fit.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let digest = Sha256::digest(format!("{}\n{subject}", issuer.issuer));
    let digits = hex(&digest[..TELLING_BYTES]);
    let names =
        if fit.is_empty() { vec![format!("user-{digits}")] } else { vec![fit.into(), format!("{fit}-{digits}")] };
    names.iter().filter_map(|name| AccountName::parse(&format!("{name}@{}", issuer.name)).ok()).collect()
}
