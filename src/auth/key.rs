//! Private keys: the one that signs tokens, and the development certificate's.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use time::{Duration, OffsetDateTime};

use crate::domain::{Error, Result};

/// A new Ed25519 key, PKCS#8 PEM.
pub(super) fn new_signing_key() -> Result<String> {
    Ok(KeyPair::generate_for(&PKCS_ED25519).map_err(Error::internal)?.serialize_pem())
}

/// Writes `cert.pem` and `key.pem` (mode 0600) for localhost, 127.0.0.1 and ::1 into `dir`, good for a year.
///
/// For trying Podgate out: nobody but you has a reason to trust it.
pub fn development_certificate(dir: &Path, now: OffsetDateTime) -> Result<()> {
    let failed = |error: io::Error| Error::internal(format!("{}: {error}", dir.display()));
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut params = CertificateParams::new(names).map_err(Error::internal)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Podgate development");
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(365);
    let key = KeyPair::generate().map_err(Error::internal)?;
    let certificate = params.self_signed(&key).map_err(Error::internal)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    write_private(&dir.join("key.pem"), &key.serialize_pem()).map_err(failed)?;
    std::fs::write(dir.join("cert.pem"), certificate.pem()).map_err(failed)?;
    std::fs::set_permissions(dir.join("cert.pem"), Permissions::from_mode(0o644)).map_err(failed)
}

/// Writes a file that must not exist yet, complete or not at all, readable by its owner only.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(temporary, path);
    std::fs::remove_file(temporary)?;
    linked
}
