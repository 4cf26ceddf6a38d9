//! What a container's root may do.

/// The capabilities of a plain service, without NET_RAW, MKNOD and AUDIT_WRITE (SECURITY rule 6).
const LEAN: &[&str] = &[
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

/// All that there are, by their numbers (linux/capability.h).
const ALL: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The kernel that Podman's containers share with us.
const LAST: &str = "/proc/sys/kernel/cap_last_cap";

/// What is taken from Podman's own default, whatever that is set to, so that the lean ones stay and these.
///
/// `ALL` and adding the lean ones again would be the same for root alone: what is added in as many words, Podman gives to
/// main processes of other users too, where they have none (4.3.1 and 5.4.2).
pub(super) fn dropped(added: &[String]) -> Vec<&'static str> {
    let last = std::fs::read_to_string(LAST).ok().and_then(|text| text.trim().parse().ok());
    dropped_of(added, last.unwrap_or(usize::MAX))
}

/// Podman refuses the names of those that its kernel does not know.
fn dropped_of(added: &[String], last: usize) -> Vec<&'static str> {
    let stays = |name: &str| LEAN.contains(&name) || added.iter().any(|added| added == name);
    ALL.iter().take(last.saturating_add(1)).copied().filter(|name| !stays(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lean_ones_and_what_is_added_stay() {
        let dropped = dropped_of(&["NET_RAW".to_owned()], 40);
        assert_eq!(dropped.len(), ALL.len() - LEAN.len() - 1);
        assert!(!dropped.contains(&"NET_RAW") && !dropped.contains(&"CHOWN"));
        assert!(dropped.contains(&"CHECKPOINT_RESTORE") && dropped.contains(&"SYS_ADMIN"));
        assert!(!dropped_of(&[], 37).contains(&"PERFMON"), "an older kernel does not know it");
    }
}
