//! What a container wrote to its standard output and error.

use futures_util::StreamExt;
use podman_api::opts::ContainerLogsOpts;

use super::{Deadline, Engine, failure};
use crate::domain::Result;
use crate::policy::grant::ContainerGrant;

/// Which lines.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// The last so many, at most 10,000 (SECURITY rule 3: a large number kills the Podman service).
    pub tail: u32,
    /// Only from then on, seconds since 1970.
    pub since: Option<i64>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

/// The lines, in the order they came.
#[derive(Debug, Clone)]
pub struct Logs {
    /// UTF-8; what was not is replaced.
    pub text: String,
    /// Older lines that were asked for are missing, to keep within the bound.
    pub truncated: bool,
}

impl Engine {
    /// Reads the log, both streams together, keeping the newest bytes of the bound.
    pub async fn logs(&self, grant: &ContainerGrant, request: &LogRequest, deadline: Deadline) -> Result<Logs> {
        let _lane = self.long.enter(grant.tenant(), deadline).await?;
        let mut opts = ContainerLogsOpts::builder()
            .stdout(true)
            .stderr(true)
            .tail(request.tail.to_string())
            .timestamps(request.timestamps);
        if let Some(since) = request.since {
            opts = opts.since(since.to_string());
        }
        let opts = opts.build();
        let container = self.podman.containers().get(grant.engine_id().as_str());
        let read = async {
            let mut kept = Vec::new();
            let mut truncated = false;
            let mut chunks = container.logs(&opts);
            while let Some(chunk) = chunks.next().await {
                kept.extend_from_slice(&chunk.map_err(failure::of_client)?);
                if kept.len() > 2 * self.logs_bytes {
                    truncated = true;
                    kept.drain(..kept.len() - self.logs_bytes);
                }
            }
            if kept.len() > self.logs_bytes {
                truncated = true;
                kept.drain(..kept.len() - self.logs_bytes);
            }
            if truncated && let Some(end_of_line) = kept.iter().position(|byte| *byte == b'\n') {
                kept.drain(..=end_of_line);
            }
            Ok(Logs { text: String::from_utf8_lossy(&kept).into_owned(), truncated })
        };
        deadline.bound(read).await
    }
}
