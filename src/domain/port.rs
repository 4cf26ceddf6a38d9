//! TCP ports that containers publish.

/// A port that a container is to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPort {
    /// On the host; none: one of those that are chosen from.
    pub host: Option<u16>,
    /// Inside.
    pub container: u16,
}

/// A port of a container on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// On the host.
    pub host: u16,
    /// Inside.
    pub container: u16,
}
