//! Podman's create body, written from the admitted spec. Every field stands here; a tenant's text fills values only.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::Image;
use crate::domain::{ContainerName, Tenant};
use crate::policy::spec::ContainerSpec;

/// Label of the installation that made an object.
pub(super) const INSTALLATION: &str = "io.podgate.installation";
/// Label with the tenant's name, for an operator's eyes.
const TENANT: &str = "io.podgate.tenant";
/// Label with the ledger's identifier of a container.
pub(super) const CONTAINER: &str = "io.podgate.container";

/// What ties a Podman container to the ledger.
pub struct Identity<'a> {
    /// This installation.
    pub installation: &'a str,
    /// The ledger's identifier.
    pub row_id: &'a str,
    /// Whose.
    pub tenant: &'a Tenant,
    /// Name within the tenant.
    pub name: &'a ContainerName,
}

/// The capabilities of a plain service, without NET_RAW, MKNOD and AUDIT_WRITE (SECURITY rule 6).
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// CPU accounting period in microseconds, the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// Processes that one user id may have on the whole host. Podman sets a default of its own, which a service without
/// CAP_SYS_RESOURCE may not; the container's own bound is the pids limit.
const PROCESSES_PER_USER: u64 = 8192;

/// The name of a tenant's network.
pub(super) fn network_name(tenant: &Tenant) -> String {
    format!("podgate-{}", tenant.slug)
}

/// The labels by which an operator, and we after a crash, know an object.
pub(super) fn labels(id: &Identity<'_>) -> BTreeMap<String, String> {
    let ours = [
        (INSTALLATION, id.installation.to_owned()),
        (TENANT, id.tenant.slug.to_string()),
        (CONTAINER, id.row_id.to_owned()),
    ];
    ours.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The body of `POST /libpod/containers/create`.
pub(super) fn body(spec: &ContainerSpec, image: &Image, id: &Identity<'_>) -> impl Serialize {
    let mut all_labels = spec.labels.clone();
    all_labels.extend(labels(id));
    let limits = &spec.limits;
    let ports: Vec<_> = spec
        .ports
        .iter()
        .map(|port| {
            json!({
                "host_ip": spec.port_address,
                "host_port": port.host,
                "container_port": port.container,
                "protocol": "tcp",
            })
        })
        .collect();
    let mut body = json!({
        // The id, so that what was looked at is what runs, whatever the tag says by now.
        "image": image.id,
        "raw_image_name": spec.image.as_str(),
        "name": format!("{}.{}", id.tenant.slug, id.name),
        "hostname": id.name.as_str(),
        "labels": all_labels,
        "env": spec.environment,
        // Sent even when it is the image's own: Podman would make a missing one, through symlinks, on the host
        // (CVE-2026-55686).
        "work_dir": spec.workdir.as_deref().unwrap_or(&image.workdir),
        "image_volume_mode": "ignore",
        "base_hosts_file": "none",
        "netns": {"nsmode": "bridge"},
        "Networks": {network_name(id.tenant): {"aliases": [id.name.as_str()]}},
        "portmappings": ports,
        "no_new_privileges": true,
        "cap_drop": ["ALL"],
        "cap_add": CAPABILITIES,
        "r_limits": [
            {"type": "nofile", "soft": limits.open_files, "hard": limits.open_files},
            {"type": "nproc", "soft": PROCESSES_PER_USER, "hard": PROCESSES_PER_USER},
        ],
        "resource_limits": {
            // Swap counts memory and swap together: equal means no swap.
            "memory": {"limit": limits.memory_bytes, "swap": limits.memory_bytes},
            "pids": {"limit": limits.pids},
            "cpu": {"period": CPU_PERIOD, "quota": cpu_quota(limits.cpus)},
        },
        // `options.max-size` is ignored by Podman; this is not.
        "log_configuration": {"driver": "k8s-file", "size": limits.log_bytes},
    });
    if let Some(command) = &spec.command {
        body["command"] = json!(command.as_slice());
    }
    if let Some(entrypoint) = &spec.entrypoint {
        body["entrypoint"] = json!(entrypoint.as_slice());
    }
    if let Some(user) = &spec.user {
        body["user"] = json!(user.as_str());
    }
    body
}

/// Microseconds of CPU a period; the kernel takes no less than 1,000.
fn cpu_quota(cpus: f64) -> i64 {
    ((cpus * CPU_PERIOD as f64) as i64).max(1000)
}
