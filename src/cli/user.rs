//! Who runs the command, as the operating system has it.

use std::os::unix::fs::MetadataExt;

/// The name of the user that this process runs as, or the number where there is no name.
pub(super) fn name() -> String {
    let Ok(process) = std::fs::metadata("/proc/self") else { return "unknown".into() };
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(process.uid(), &accounts)
}

fn named(uid: u32, accounts: &str) -> String {
    let number = uid.to_string();
    let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = fields.into_iter().find(|fields| fields.get(2) == Some(&number.as_str()));
    named.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn users_have_names_or_numbers() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!([0, 1000, 7].map(|uid| named(uid, accounts)), ["root", "alice", "7"]);
    }
}
