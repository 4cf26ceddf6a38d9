//! Podman's create body, written from the admitted spec. Every field stands here; a tenant's text fills values only.

use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use super::{Host, Image, agent, capabilities};
use crate::domain::{ContainerName, Error, Mount, MountSource, NetworkMode, PublishedPort, Result, Tenant};
use crate::policy::spec::{ContainerSpec, USER_IDS};

/// Whether a label is one of ours, or would be taken for one.
pub(super) fn is_own_label(name: &str) -> bool {
    name.starts_with("io.podgate.")
}

/// Label of the installation that made an object.
pub(super) const INSTALLATION: &str = "io.podgate.installation";
/// Label with the tenant's name, for an operator's eyes.
pub(super) const TENANT: &str = "io.podgate.tenant";
/// Label of a network with the ledger's identifier of its tenant.
pub(super) const TENANT_ID: &str = "io.podgate.tenant_id";
/// Label with the ledger's identifier of a container.
pub(super) const CONTAINER: &str = "io.podgate.container";

/// Label of a visitor to a container's files: the gateway that sent it, a dot, and the tenant's identifier.
pub(super) const VISITOR: &str = "io.podgate.visitor";

/// Podman's name of a visitor.
pub(super) fn visitor_name(id: &str) -> String {
    format!("podgate-files-{id}")
}

/// Whether a name is of that form. Every tenant's container has a dot in its name.
pub(super) fn is_visitor_name(name: &str) -> bool {
    name.strip_prefix("podgate-files-").is_some_and(|id| !id.contains('.'))
}

/// Label of a volume with the agent's program: its digest.
pub(super) const AGENT: &str = "io.podgate.agent";

/// Label with the time at which the container goes by itself, as it was at create.
const EXPIRES: &str = "io.podgate.expires";

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
    /// The ports it holds on the host.
    pub ports: &'a [PublishedPort],
    /// When it goes by itself, RFC 3339.
    pub expires: Option<String>,
    /// The volume with the agent.
    pub agent: Option<String>,
}

/// CPU accounting period in microseconds, the kernel's default.
pub(super) const CPU_PERIOD: i64 = 100_000;

/// Processes that one user id may have on the whole host. Podman sets a default of its own, which a service without
/// CAP_SYS_RESOURCE may not; the container's own bound is the pids limit.
pub(super) const PROCESSES_PER_USER: u64 = 8192;

/// The name of a tenant's network of that mode. The slug is for an operator's eyes; another installation's tenant may have
/// it as well, and so may a later one of ours.
pub(super) fn network_name(tenant: &Tenant, mode: NetworkMode) -> Option<String> {
    let name = format!("podgate-{}.{}", tenant.slug, start_of_id(tenant));
    match mode {
        NetworkMode::None => None,
        NetworkMode::Internal => Some(format!("{name}.internal")),
        NetworkMode::Egress => Some(name),
    }
}

/// The id is random, so 44 bits of it do not meet.
fn start_of_id(tenant: &Tenant) -> &str {
    tenant.id.get(..11).unwrap_or(&tenant.id)
}

/// A filter for what carries this installation's label, as a query takes it. Exact and never empty: an empty value
/// matches everybody's (SECURITY rule 30).
pub(super) fn own_label(installation: &str) -> Result<String> {
    own_labels(installation, &[])
}

/// The same for what carries all of these labels, too, whatever their values.
pub(super) fn own_labels(installation: &str, names: &[&str]) -> Result<String> {
    if installation.is_empty() {
        return Err(Error::internal("an empty label filter"));
    }
    let own = format!("{INSTALLATION}={installation}");
    let labels: Vec<&str> = names.iter().copied().chain([own.as_str()]).collect();
    let filter = json!({"label": labels}).to_string();
    Ok(utf8_percent_encode(&filter, NON_ALPHANUMERIC).to_string())
}

/// The bridge of a tenant's network: `pg-` marks it for the host's firewall (deploy/podgate.nft). Linux takes 15 bytes;
/// Podman takes more and then fails to start.
pub(super) fn bridge_name(tenant: &Tenant, mode: NetworkMode) -> String {
    let kind = if mode == NetworkMode::Internal { 'i' } else { 'e' };
    format!("pg-{kind}{}", start_of_id(tenant))
}

/// Podman's name of a container. The dot keeps it from being an id, which Podman 5 would confuse it with.
pub(super) fn engine_name(tenant: &Tenant, name: &ContainerName) -> String {
    format!("{}.{name}", tenant.slug)
}

/// The name of a volume, of our identifier.
pub(super) fn volume_name(id: &str) -> String {
    format!("podgate-{id}")
}

/// Our identifier in Podman's name of a volume, if it is of that form.
pub(super) fn volume_id(name: &str) -> Option<&str> {
    name.strip_prefix("podgate-")
}

/// The labels by which an operator, and we after a crash, know an object.
pub(super) fn labels(id: &Identity<'_>) -> BTreeMap<String, String> {
    let ours = [
        (INSTALLATION, id.installation.to_owned()),
        (TENANT, id.tenant.slug.to_string()),
        (CONTAINER, id.row_id.to_owned()),
    ];
    let expires = id.expires.clone().map(|time| (EXPIRES, time));
    // An image's would have `podman auto-update` restart a unit of the host's that it names.
    let theirs = [("io.containers.autoupdate", "disabled".to_owned()), ("PODMAN_SYSTEMD_UNIT", String::new())];
    ours.into_iter().chain(theirs).chain(expires).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The body of `POST /libpod/containers/create`.
pub(super) fn body(
    spec: &ContainerSpec,
    image: &Image,
    id: &Identity<'_>,
    seccomp: &Path,
    host: Host,
    cgroup: Option<String>,
) -> impl Serialize {
    let limits = &spec.limits;
    let ports: Vec<_> = id
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
        "name": engine_name(id.tenant, id.name),
        "hostname": id.name.as_str(),
        // None of the tenant's: Podman writes them into each of its events.
        "labels": labels(id),
        "env": spec.environment,
        // Sent even when it is the image's own: Podman would make a missing one, through symlinks, on the host
        // (CVE-2026-55686).
        "work_dir": spec.workdir.as_ref().unwrap_or(&image.workdir).as_str(),
        "image_volume_mode": "ignore",
        "volatile": !spec.durable,
        // A pipe for everybody: without, the main process would get the host's /dev/null.
        "stdin": true,
        "base_hosts_file": "none",
        "no_new_privileges": true,
        // Podman would run an image's own check past our quotas, supervision and audit,
        "healthconfig": {"Test": ["NONE"]},
        // and mount more, writable, for a command that is called init.
        "systemd": "false",
        "cap_drop": capabilities::dropped(&spec.capabilities),
        "cap_add": spec.capabilities,
        "seccomp_profile_path": seccomp,
        "r_limits": [
            {"type": "nofile", "soft": limits.open_files, "hard": limits.open_files},
            {"type": "nproc", "soft": PROCESSES_PER_USER, "hard": PROCESSES_PER_USER},
        ],
        // `options.max-size` is ignored by Podman; this is not.
        "log_configuration": {"driver": "k8s-file", "size": limits.log_bytes},
    });
    if let Some(group) = cgroup {
        body["cgroup_parent"] = json!(group);
    }
    match network_name(id.tenant, spec.network) {
        None => body["netns"] = json!({"nsmode": "none"}),
        Some(network) => {
            body["netns"] = json!({"nsmode": "bridge"});
            body["Networks"] = json!({network: {"aliases": [id.name.as_str()]}});
            body["portmappings"] = json!(ports);
        }
    }
    let first_user_id = spec.first_user_id.filter(|_| host.user_namespaces);
    let (mut volumes, mut binds) = (Vec::new(), Vec::new());
    for Mount { source, target, read_only } in &spec.mounts {
        match source {
            // Podman adds nosuid and nodev by itself. crun 1.8.1 forgets both in a user namespace, but for what is read-only,
            // whoever asks; that nobody gains privileges or makes devices holds without them. Without `nocopy`, Podman
            // would fill an empty volume with what lies at its target, holes written out (docs/decisions/0033).
            MountSource::Volume(id) => {
                let options: &[&str] = if *read_only { &["nocopy", "ro", "nosuid", "nodev"] } else { &["nocopy"] };
                volumes.push(json!({"Name": volume_name(id), "Dest": target.as_str(), "Options": options}));
            }
            MountSource::Share(path) => {
                // Never `idmap`: the container's root would be the host's on what is shared.
                let options = ["rbind", if *read_only { "ro" } else { "rw" }, "nosuid", "nodev", "rprivate"];
                binds.push(json!({
                    "type": "bind", "source": path, "destination": target.as_str(), "options": options,
                }));
            }
        }
    }
    if let Some(volume) = &id.agent {
        let options = ["ro", "nosuid", "nodev", "nocopy"];
        volumes.push(json!({"Name": volume, "Dest": agent::DIRECTORY, "Options": options}));
    }
    body["volumes"] = json!(volumes);
    body["mounts"] = json!(binds);
    body["resource_limits"] = json!({});
    if host.memory {
        // Swap counts memory and swap together: equal means no swap.
        body["resource_limits"]["memory"] = json!({"limit": limits.memory_bytes, "swap": limits.memory_bytes});
    }
    if host.pids {
        body["resource_limits"]["pids"] = json!({"limit": limits.pids});
    }
    if host.cpu {
        body["resource_limits"]["cpu"] = json!({"period": CPU_PERIOD, "quota": cpu_quota(limits.cpu_millis)});
    }
    if let Some(first) = first_user_id {
        let map = json!([{"container_id": 0, "host_id": first, "size": USER_IDS}]);
        // An explicit map: `auto` alone is silently ignored.
        body["userns"] = json!({"nsmode": "private"});
        body["idmappings"] = json!({"UIDMap": map, "GIDMap": map});
    }
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
fn cpu_quota(millis: i64) -> i64 {
    millis.saturating_mul(CPU_PERIOD / 1000).max(1000)
}
