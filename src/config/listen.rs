//! Where requests come in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::reader::Reader;
use super::{Config, Listen, Operator, Tls};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    address: String,
    tls: Option<RawTls>,
    #[serde(default)]
    plain_http_beyond_loopback: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl Config {
    /// The ports on which this configuration has a gateway listen, whatever the addresses. No container may have one: it
    /// would be in the way of the gateway's next start, and get what a proxy goes on to send there.
    pub fn own_ports(&self) -> BTreeSet<u16> {
        self.listen.iter().chain(&self.operator.listen).map(|listen| listen.address.port()).collect()
    }
}

pub(super) fn listen(r: &mut Reader) -> Vec<Listen> {
    let values: Vec<figment::value::Value> = r.get("listen");
    if values.is_empty() {
        r.mistake("listen", "at least one address is needed");
    }
    let mut found: Vec<Listen> = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let key = format!("listen[{index}]");
        let raw: RawListen = match value.deserialize() {
            Ok(raw) => raw,
            Err(error) => {
                r.mistake(key, &error.kind);
                continue;
            }
        };
        let Ok(address) = raw.address.parse::<SocketAddr>() else {
            r.mistake(format!("{key}.address"), format!("{:?} is not \"IP:port\"", raw.address));
            continue;
        };
        if address.port() != 0 && found.iter().any(|other| other.address == address) {
            r.mistake(format!("{key}.address"), format!("{address} is there twice"));
        }
        if raw.tls.is_none() && !address.ip().to_canonical().is_loopback() && !raw.plain_http_beyond_loopback {
            let message = format!(
                "plain HTTP on {address} would send passwords and tokens readable over the network; give it tls, or say \
                 plain_http_beyond_loopback = true"
            );
            r.mistake(&key, message);
        }
        if let Some(tls) = &raw.tls {
            for (name, file) in [("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
                // Who may not look into the directory cannot say that.
                if let Err(error) = std::fs::metadata(file)
                    && error.kind() == std::io::ErrorKind::NotFound
                {
                    r.mistake(format!("{key}.tls.{name}"), format!("{}: {error}", file.display()));
                }
            }
        }
        let tls = raw.tls.map(|tls| Tls { cert_file: tls.cert_file, key_file: tls.key_file });
        found.push(Listen { address, tls, plain_http_beyond_loopback: raw.plain_http_beyond_loopback });
    }
    found
}

pub(super) fn operator(r: &mut Reader, others: &[Listen]) -> Operator {
    let metrics_in_api: bool = r.get("operator.metrics_in_api");
    let plain_http_beyond_loopback: bool = r.get("operator.beyond_loopback");
    let text: String = r.get("operator.listen");
    if text.is_empty() {
        return Operator { listen: None, metrics_in_api };
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        r.mistake("operator.listen", format!("{text:?} is not \"IP:port\""));
        return Operator { listen: None, metrics_in_api };
    };
    if address.port() != 0 && others.iter().any(|other| other.address == address) {
        r.mistake("operator.listen", format!("{address} is in listen, too"));
    }
    if !address.ip().to_canonical().is_loopback() && !plain_http_beyond_loopback {
        let message =
            format!("on {address} whoever reaches it could read the metrics; say operator.beyond_loopback = true");
        r.mistake("operator.listen", message);
    }
    Operator { listen: Some(Listen { address, tls: None, plain_http_beyond_loopback }), metrics_in_api }
}
