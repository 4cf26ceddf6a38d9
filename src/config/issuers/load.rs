//! From `[issuers.NAME]` to checked [`Issuer`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Value};
use jsonwebtoken::Algorithm;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use url::Url;

use super::{ForeignAccounts, Issuer, KeyPlace, Mapping, Meaning, reachable};
use crate::config::reader::Reader;
use crate::domain::{Role, TenantSlug};

#[derive(Deserialize)]
struct Raw {
    issuer: String,
    #[serde(default)]
    audiences: BTreeSet<String>,
    #[serde(default = "usual_algorithms")]
    algorithms: Vec<String>,
    #[serde(default)]
    jwks_uri: String,
    #[serde(default)]
    keys_file: PathBuf,
    #[serde(default = "ten_minutes")]
    keys_seconds: u64,
    #[serde(default)]
    ca_file: PathBuf,
    #[serde(default)]
    plain_http: bool,
    #[serde(default = "ten")]
    leeway_seconds: i64,
    #[serde(default = "mapped")]
    accounts: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    tenant_claim: String,
    #[serde(default)]
    tenants: BTreeMap<String, String>,
    #[serde(default)]
    role: String,
    #[serde(default)]
    role_claim: String,
    #[serde(default)]
    roles: BTreeMap<String, String>,
    #[serde(default = "username")]
    name_claim: String,
    #[serde(default)]
    platform: bool,
}

const KEYS: [&str; 18] = [
    "issuer",
    "audiences",
    "algorithms",
    "jwks_uri",
    "keys_file",
    "keys_seconds",
    "ca_file",
    "plain_http",
    "leeway_seconds",
    "accounts",
    "tenant",
    "tenant_claim",
    "tenants",
    "role",
    "role_claim",
    "roles",
    "name_claim",
    "platform",
];

fn usual_algorithms() -> Vec<String> {
    vec!["RS256".into()]
}

fn ten_minutes() -> u64 {
    600
}

fn ten() -> i64 {
    10
}

fn mapped() -> String {
    "mapped".into()
}

fn username() -> String {
    "preferred_username".into()
}

/// Notes what is wrong with one provider's table.
struct Table<'a> {
    reader: &'a mut Reader,
    key: String,
}

impl Table<'_> {
    fn mistake(&mut self, key: &str, message: impl Display) {
        self.reader.mistake(format!("{}.{key}", self.key), message);
    }

    fn take<T>(&mut self, key: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|message| self.mistake(key, message)).ok()
    }
}

pub(in crate::config) fn issuers(r: &mut Reader, own: &str) -> Vec<Issuer> {
    let mut found: Vec<Issuer> = Vec::new();
    for name in r.names_in("issuers") {
        let mut table = Table { key: format!("issuers.{name}"), reader: &mut *r };
        let Some(issuer) = read(&mut table, &name) else { continue };
        if issuer.issuer == own || found.iter().any(|other| other.issuer == issuer.issuer) {
            table.mistake("issuer", "is another issuer's, or our own auth.issuer");
        }
        found.push(issuer);
    }
    found
}

fn read(table: &mut Table, name: &str) -> Option<Issuer> {
    let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits || !(1..=20).contains(&name.len()) {
        table.mistake("", "an issuer's name is 1 to 20 of a-z, 0-9 and '-'");
    }
    let key = table.key.clone();
    let given: Dict = table.reader.try_get(&key).unwrap_or_default();
    for unknown in given.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        table.mistake(unknown, "there is no such key");
    }
    let raw: Raw = match Value::from(given).deserialize() {
        Ok(raw) => raw,
        Err(error) => {
            for each in error {
                table.mistake(&each.path.join("."), &each.kind);
            }
            return None;
        }
    };
    if raw.audiences.is_empty() || raw.audiences.contains("") {
        table.mistake("audiences", "say which `aud` is ours; without one, tokens that were meant for others would do");
    }
    let algorithms = raw.algorithms.iter().map(|name| asymmetric(name)).collect::<Result<Vec<_>, _>>();
    let algorithms = table.take("algorithms", algorithms).unwrap_or_default();
    if raw.algorithms.is_empty() {
        table.mistake("algorithms", "at least one is needed");
    }
    if !(0..=30).contains(&raw.leeway_seconds) {
        table.mistake("leeway_seconds", format!("{} is not within 0 to 30", raw.leeway_seconds));
    }
    if !(1..=86_400).contains(&raw.keys_seconds) {
        table.mistake("keys_seconds", format!("{} is not within 1 to 86400", raw.keys_seconds));
    }
    let keys = key_place(table, &raw);
    let authorities = authorities(table, &raw);
    let accounts = accounts(table, &raw);
    Some(Issuer {
        name: name.to_owned(),
        issuer: raw.issuer,
        audiences: raw.audiences,
        algorithms,
        keys: keys?,
        keys_last: Duration::from_secs(raw.keys_seconds),
        authorities,
        plain_http: raw.plain_http,
        leeway: raw.leeway_seconds,
        accounts: accounts?,
    })
}

/// An algorithm whose keys are public: with a shared secret, whoever can check a token could make one.
fn asymmetric(name: &str) -> Result<Algorithm, String> {
    match name.parse() {
        Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) => {
            Err(format!("{name} signs with a shared secret; only algorithms with a public key are taken"))
        }
        Ok(algorithm) => Ok(algorithm),
        Err(_) => Err(format!("{name:?} is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA")),
    }
}

fn key_place(table: &mut Table, raw: &Raw) -> Option<KeyPlace> {
    if raw.issuer.is_empty() {
        table.mistake("issuer", "must not be empty");
    }
    let file = Some(&raw.keys_file).filter(|file| !file.as_os_str().is_empty());
    match (raw.jwks_uri.as_str(), file) {
        ("", Some(file)) => {
            if let Err(error) = std::fs::read_to_string(file) {
                table.mistake("keys_file", format!("{}: {error}", file.display()));
            }
            Some(KeyPlace::File(file.clone()))
        }
        ("", None) => {
            // OpenID Connect Discovery 1.0, 4: below the issuer, whose own slash at the end goes.
            let url = format!("{}/.well-known/openid-configuration", raw.issuer.trim_end_matches('/'));
            let url = reachable(&url, raw.plain_http).and_then(without_query);
            table.take("issuer", url).map(KeyPlace::Discovery)
        }
        (uri, None) => table.take("jwks_uri", reachable(uri, raw.plain_http)).map(KeyPlace::Uri),
        (_, Some(_)) => {
            table.mistake("keys_file", "goes without jwks_uri");
            None
        }
    }
}

fn without_query(url: Url) -> Result<Url, String> {
    if url.query().is_none() && url.fragment().is_none() { Ok(url) } else { Err("is no issuer's URL".into()) }
}

fn authorities(table: &mut Table, raw: &Raw) -> Vec<CertificateDer<'static>> {
    if raw.ca_file.as_os_str().is_empty() {
        return Vec::new();
    }
    let read = CertificateDer::pem_file_iter(&raw.ca_file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => return certificates,
        Ok(_) => table.mistake("ca_file", "holds no certificate"),
        Err(error) => table.mistake("ca_file", format!("{}: {error}", raw.ca_file.display())),
    }
    Vec::new()
}

fn accounts(table: &mut Table, raw: &Raw) -> Option<ForeignAccounts> {
    let says_who = !(raw.tenant.is_empty() && raw.tenant_claim.is_empty() && raw.tenants.is_empty());
    let says_what = !(raw.role.is_empty() && raw.role_claim.is_empty() && raw.roles.is_empty());
    match raw.accounts.as_str() {
        "linked" if says_who || says_what || raw.platform => {
            table.mistake("accounts", "where accounts are linked, tenant and role are theirs; no claim says them");
            None
        }
        "linked" => Some(ForeignAccounts::Linked),
        "mapped" => mapping(table, raw).map(ForeignAccounts::Mapped),
        other => {
            table.mistake("accounts", format!("{other:?} is neither mapped nor linked"));
            None
        }
    }
}

fn mapping(table: &mut Table, raw: &Raw) -> Option<Mapping> {
    let (prefixes, tenants): (Vec<_>, Vec<_>) = raw.tenants.iter().partition(|(_, slug)| *slug == "*");
    let mut tenant_prefixes = Vec::new();
    for (value, _) in prefixes {
        match value.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => tenant_prefixes.push(prefix.to_owned()),
            _ => table
                .mistake("tenants", format!("{value:?} = \"*\": the value ends in the * that is the tenant's name")),
        }
    }
    let tenants = tenants.into_iter().map(|(value, slug)| Ok((value.clone(), TenantSlug::parse(slug)?))).collect();
    let tenants: BTreeMap<_, _> = table.take("tenants", tenants)?;
    let has_values = !tenants.is_empty() || !tenant_prefixes.is_empty();
    let tenant = match (raw.tenant.as_str(), raw.tenant_claim.as_str(), has_values) {
        ("", "", false) => None,
        (slug, "", false) => Some(Meaning::Fixed(table.take("tenant", TenantSlug::parse(slug))?)),
        ("", claim, true) if !claim.is_empty() => Some(Meaning::Claim(claim.to_owned(), tenants)),
        _ => {
            table.mistake("tenant", "is either the one of everybody, or what the `tenants` say of `tenant_claim`");
            return None;
        }
    };
    let roles = raw.roles.iter().map(|(value, role)| Ok((value.clone(), role.parse()?))).collect();
    let roles: BTreeMap<_, Role> = table.take("roles", roles)?;
    let role = match (raw.role.as_str(), raw.role_claim.as_str(), roles.is_empty()) {
        (role, "", true) if !role.is_empty() => Meaning::Fixed(table.take("role", role.parse())?),
        ("", claim, false) if !claim.is_empty() => Meaning::Claim(claim.to_owned(), roles),
        _ => {
            table.mistake("role", "is either the one of everybody, or what the `roles` say of `role_claim`");
            return None;
        }
    };
    let (gives_platform, gives_others) = match &role {
        Meaning::Fixed(role) => (*role == Role::Platform, *role != Role::Platform),
        Meaning::Claim(_, roles) => {
            let platform = roles.values().filter(|role| **role == Role::Platform).count();
            (platform > 0, platform < roles.len())
        }
    };
    if gives_platform != raw.platform {
        table.mistake("platform", "is to be true where the role platform is given, and only there");
    }
    if gives_others && tenant.is_none() {
        table.mistake("tenant", "is missing: which tenant do these people belong to?");
    }
    Some(Mapping { tenant, tenant_prefixes, role, name_claim: raw.name_claim.clone() })
}
