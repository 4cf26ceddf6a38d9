//! Open files: each connection is one, and so is each call to Podman, and what the store has open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Http;

/// How many the process may have open at the most; none: any number.
pub fn most_open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// How many connections there may be where so many files may be open: half as many, for each may have work that needs a
/// connection to Podman. Else whoever opens enough of them, without any token, has Podman and the store out of reach.
pub fn connections_within(files: Option<u64>) -> usize {
    files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX)).max(1)
}

/// Raises what the process may have open to what it may raise that to, and gives the caps on connections that fit.
pub fn fitted(http: &Http) -> Http {
    let maximum = most_open_files();
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let files = getrlimit(Resource::Nofile).current;
    let max_connections = http.max_connections.min(connections_within(files));
    if max_connections < http.max_connections {
        tracing::warn!(
            max_connections,
            "fewer connections than http.max_connections: half of the {} files that may be open; raise LimitNOFILE",
            files.unwrap_or_default()
        );
    }
    Http { max_connections, ..http.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_for_connections() {
        assert_eq!(connections_within(Some(1024)), 512);
        assert_eq!(connections_within(Some(1)), 1);
        assert_eq!(connections_within(None), usize::MAX);
    }
}
