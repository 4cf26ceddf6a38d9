//! Annotations that are orders: what an image may not bring along.
//!
//! Podman 4.3.1 copies the annotations of an image's manifest into the container's specification (Podman 5 does not, for
//! this reason), and crun obeys some: `run.oci.seccomp_bpf_data` takes the place of the seccomp profile. Images carry
//! annotations for people too (`org.opencontainers.image.*`, vendors' own), so the families are named that programs obey.

use std::collections::BTreeMap;

/// What runtimes obey: what `crun features` and `runc features` call potentially unsafe, and what their sources read beyond
/// that. An entry that ends in a dot means all below it.
const RUNTIMES: &[&str] = &[
    // crun: the seccomp filter, hooks' output in files of the host, groups of the service, another handler, cgroups.
    "run.oci.",
    // crun with libkrun or a WebAssembly engine: how and whether it is a machine of its own.
    "krun.",
    "module.wasm.",
    // crun and runc under systemd: properties of the scope, MemoryMax and DeviceAllow among them.
    "org.systemd.property.",
    // crun and runc: a configuration file of CRIU's, which runs programs of the host.
    "org.criu.",
    // runc.
    "bundle",
    // gVisor and Kata: mounts, devices, the machine's own configuration.
    "dev.gvisor.",
    "io.katacontainers.",
    // crun and Kata: whether it is a container or what a pod's containers are in.
    "io.kubernetes.",
];

/// What Podman, its hooks (`io.containers.trace-syscall`) and `podman kube` give a meaning to.
const ENGINES: &[&str] = &["io.podman.", "io.container.", "io.containers."];

/// Of the runtimes', what Podman itself gives containers: for systemd inside, and under SELinux.
const PODMANS_OWN: &[&str] = &[
    "org.systemd.property.KillSignal",
    "org.systemd.property.TimeoutStopUSec",
    "run.oci.mount_context_type",
    "io.kubernetes.cri-o.",
];

/// Names and values, as Podman tells them of images and containers.
pub(super) type Annotations = BTreeMap<String, String>;

/// The family of an image's annotation that is an order.
pub(super) fn order_of_image(annotations: &Annotations) -> Option<&'static str> {
    annotations.keys().find_map(|name| family(RUNTIMES, name).or_else(|| family(ENGINES, name)))
}

/// The family of a container's annotation that is an order to its runtime and not Podman's.
pub(super) fn order_of_container(annotations: &Annotations) -> Option<&'static str> {
    let others = annotations.keys().filter(|name| family(PODMANS_OWN, name).is_none());
    others.filter_map(|name| family(RUNTIMES, name)).next()
}

fn family(families: &[&'static str], name: &str) -> Option<&'static str> {
    let is_of = |family: &str| if family.ends_with('.') { name.starts_with(family) } else { name == family };
    families.iter().copied().find(|family| is_of(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> Annotations {
        [(name.to_owned(), String::new())].into()
    }

    #[test]
    fn an_image_says_what_it_is_and_gives_no_orders() {
        let plain =
            ["org.opencontainers.image.title", "org.opencontainers.image.base.name", "com.example.run.oci.x", "runner"];
        for name in plain.into_iter().chain(["bundles", "run.ocean", "io.podgate"]) {
            assert_eq!(order_of_image(&one(name)), None, "{name}");
        }
        let orders =
            ["run.oci.seccomp_bpf_data", "org.systemd.property.MemoryMax", "bundle", "io.kubernetes.cri-o.Devices"];
        for name in orders.into_iter().chain(["module.wasm.image/variant", "io.podman.annotations.userns", "krun.cpus"])
        {
            assert!(order_of_image(&one(name)).is_some(), "{name}");
        }
        let mixed = [one("a"), one("run.oci.handler"), one("z")].into_iter().flatten().collect();
        assert_eq!(order_of_image(&mixed), Some("run.oci."));
    }

    #[test]
    fn podman_gives_a_container_orders_of_its_own() {
        for name in ["io.podman.annotations.privileged", "org.systemd.property.KillSignal", "io.container.manager"] {
            assert_eq!(order_of_container(&one(name)), None, "{name}");
        }
        for name in ["run.oci.seccomp_bpf_data", "org.systemd.property.MemoryMax", "org.criu.config"] {
            assert!(order_of_container(&one(name)).is_some(), "{name}");
        }
    }
}
