//! Private keys on disk: the token signing key, and the development certificate.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use time::{Duration, OffsetDateTime};

use crate::domain::{Error, Result};

/// Reads an Ed25519 key (PKCS#8 PEM), or makes it if there is none. Refuses a file that others can read.
pub(super) fn load_or_create(path: &Path) -> Result<KeyPair> {
    let failed = |error: io::Error| Error::internal(format!("signing key {}: {error}", path.display()));
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            Err(failed(io::Error::other("others can read it; chmod 600 it, or remove it to have a new one made")))
        }
        Ok(_) => {
            let pem = std::fs::read_to_string(path).map_err(failed)?;
            KeyPair::from_pem_and_sign_algo(&pem, &PKCS_ED25519).map_err(|error| failed(io::Error::other(error)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate_for(&PKCS_ED25519).map_err(Error::internal)?;
            match write_private(path, &key.serialize_pem()) {
                Ok(()) => Ok(key),
                // Another process made it between the look and the write.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load_or_create(path),
                Err(error) => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
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
