//! Processes of this machine, containers' too: the kernel shows them all.

use std::collections::BTreeSet;

/// A word that no other process has among its arguments, and that `sleep` takes for a long time.
pub fn marker() -> String {
    format!("3{:08}", rand::random::<u32>() % 100_000_000)
}

/// For a shell: each starts two more, for ever, and has the marker; the container's bound is the only one.
pub fn fork_bomb(marker: &str) -> String {
    format!("b() {{ b & b & sleep {marker}; }}; b & exec sleep {marker}")
}

/// How many processes have it.
pub fn alive(marker: &str) -> usize {
    with_word(marker).len()
}

/// The processes that have this word among their arguments.
pub fn with_word(word: &str) -> BTreeSet<u32> {
    all().filter(|pid| words(*pid).iter().any(|found| found == word)).collect()
}

/// Those of a container, by its full id.
pub fn with_word_in(word: &str, id: &str) -> BTreeSet<u32> {
    let within = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(id));
    with_word(word).into_iter().filter(within).collect()
}

/// How many files a process has open, but for those of its database, whose connections come as they are needed and
/// stay.
pub fn open_files(pid: u32) -> usize {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").flatten();
    let names = all.filter_map(|file| std::fs::read_link(file.path()).ok());
    names.filter(|name| !name.to_string_lossy().contains("/podgate.db")).count()
}

/// The bytes of memory that a process has.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// One that ended meanwhile has none.
fn words(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
