//! The certificates that are presented: whole, in date, and trusted by whom.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::Report;
use crate::config::{Config, Tls};
use crate::domain::World;
use crate::serve::Certificate;

const CHECK: &str = "certificate";
const DAY: i64 = 86_400;

/// From so many days before its end on, somebody should have renewed it.
const SOON: i64 = 14;

/// Where systems keep the authorities that they trust.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
];

pub(super) async fn examine(config: &Config, world: World, report: &mut Report) {
    let mut any = false;
    for listen in &config.listen {
        if let Some(files) = &listen.tls {
            any = true;
            one(files, world, report).await;
        } else if listen.plain_http_beyond_loopback {
            any = true;
            let message = format!("{} speaks plain HTTP beyond this host", listen.address);
            report.warn(CHECK, message, "passwords and tokens cross the network readable; give it tls");
        }
    }
    if !any {
        let advice = "fine behind a proxy on this host, which then belongs into limits.trusted_proxies";
        report.warn(CHECK, "none: the gateway is reached on this host only", advice);
    }
}

async fn one(files: &Tls, world: World, report: &mut Report) {
    let shown = files.cert_file.display();
    // As the gateway does at its start: whole, and the key is the certificate's.
    if let Err(error) = Certificate::load(files).await {
        report.fail(CHECK, error.to_string(), "renew it; the gateway takes renewed files within ten seconds");
        return;
    }
    let chain = read(&files.cert_file);
    let parsed: Vec<X509Certificate<'_>> =
        chain.iter().filter_map(|der| parse_x509_certificate(der).ok()).map(|(_, parsed)| parsed).collect();
    let Some(leaf) = parsed.first().filter(|_| parsed.len() == chain.len()) else {
        report.fail(CHECK, format!("{shown} holds what is no X.509 certificate"), "renew it");
        return;
    };
    let now = (world.now)().unix_timestamp();
    let validity = leaf.validity();
    let days = (validity.not_after.timestamp() - now) / DAY;
    let names = names(leaf).join(", ");
    if now < validity.not_before.timestamp() {
        report.fail(CHECK, format!("{shown} ({names}) is not good yet"), "see the clock, then whoever made it");
    } else if now >= validity.not_after.timestamp() {
        report.fail(
            CHECK,
            format!("{shown} ({names}) is over"),
            "renew it; renewed files are taken within ten seconds",
        );
    } else if days < SOON {
        let advice = "whoever renews it should have: see certbot's or lego's timer";
        report.warn(CHECK, format!("{shown} ({names}) ends in {days} day(s)"), advice);
    } else {
        report.ok(CHECK, format!("{shown} ({names}) is good for {days} days"));
    }
    chain_and_trust(&shown.to_string(), &parsed, report);
}

/// Whether each certificate was signed by the next, and the last by somebody whom this system trusts.
fn chain_and_trust(shown: &str, chain: &[X509Certificate<'_>], report: &mut Report) {
    const CHECK: &str = "chain of trust";
    for pair in chain.windows(2) {
        if !is_signed_by(&pair[0], &pair[1]) {
            let message = format!("in {shown}, {} was not signed by {}", pair[0].subject(), pair[1].subject());
            report.fail(CHECK, message, "the server's own certificate comes first, then each one's issuer");
            return;
        }
    }
    let Some(top) = chain.last() else { return };
    let bundle = BUNDLES.iter().map(Path::new).find(|path| path.exists()).map(read).unwrap_or_default();
    let trusted = bundle.iter().filter_map(|der| parse_x509_certificate(der).ok()).any(|(_, root)| {
        // The authority itself may be the last of the chain.
        root.subject() == top.issuer() && (root.tbs_certificate == top.tbs_certificate || is_signed_by(top, &root))
    });
    if trusted {
        report.ok(CHECK, format!("{} leads to an authority that this system trusts", shown));
    } else if is_signed_by(top, top) {
        let message = format!("{shown} ends in {}, which this system does not trust", top.subject());
        report.warn(CHECK, message, "clients need that certificate (curl --cacert), or one from a public authority");
    } else {
        let message = format!("{shown} ends at {}, signed by {}, which is not there", top.subject(), top.issuer());
        report.warn(
            CHECK,
            message,
            "add the intermediate certificates (fullchain.pem), or give clients the authority's",
        );
    }
}

fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// The names and addresses that it is for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let found = certificate.subject_alternative_name().ok().flatten();
    let names = found.into_iter().flat_map(|extension| &extension.value.general_names);
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.filter_map(name).collect()
}

fn read(path: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(path).into_iter().flatten();
    all.filter_map(Result::ok).collect()
}
