//! What the stories stand on: gateways as child processes, a client, and the real Podman beside them.

pub mod between;
pub mod client;
pub mod files;
pub mod forwarder;
pub mod gateway;
pub mod ledger;
pub mod podman;
pub mod private;
pub mod processes;
pub mod provider;
pub mod registry;
pub mod sse;
pub mod websocket;

use std::time::Duration;

pub use client::{Answer, Client};
pub use forwarder::Forwarder;
pub use gateway::{Gateway, Site, Story, Tenant};
pub use ledger::{Audited, Ledger};
pub use podman::Podman;
pub use websocket::Peer;

/// The images of `scripts/test-images`.
pub const ALPINE: &str = "docker.io/library/alpine:latest";
pub const DEBIAN: &str = "docker.io/library/debian:latest";
/// A shell, but nothing that adds a user.
pub const BUSYBOX: &str = "localhost/podgate-busybox:latest";
/// One static binary, `/app`.
pub const STATIC: &str = "localhost/podgate-static:latest";

/// Long enough for anything that will come at all, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
