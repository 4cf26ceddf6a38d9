//! Takes renewed certificates (certbot and the like) without a restart.

use std::{sync::Arc, time::Duration};

use std::os::unix::fs::MetadataExt;

use super::Certificate;

const EVERY: Duration = Duration::from_secs(10);

/// What changes when a file is written, replaced, or its symbolic link points elsewhere.
type Mark = Option<(u64, u64, i64, i64)>;

/// Looks at the files of every certificate each 10 seconds and reloads what changed. Never ends by itself.
pub(super) async fn watch(certificates: Vec<Arc<Certificate>>) {
    let mut watched = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        watched.push(Watched::new(certificate).await);
    }
    loop {
        tokio::time::sleep(EVERY).await;
        for certificate in &mut watched {
            certificate.look().await;
        }
    }
}

pub(super) struct Watched {
    certificate: Arc<Certificate>,
    seen: [Mark; 2],
    /// Why the last reload failed. Kept so that one failure is one log line, however long it lasts.
    failed: Option<String>,
}

impl Watched {
    pub(super) async fn new(certificate: Arc<Certificate>) -> Self {
        let seen = marks(&certificate).await;
        Self { certificate, seen, failed: None }
    }

    /// After a failure it tries each time, because what mends it (a permission) may change no mark.
    pub(super) async fn look(&mut self) {
        // Before reading: a change that comes in between is then seen the next time.
        let marks = marks(&self.certificate).await;
        if marks == self.seen && self.failed.is_none() {
            return;
        }
        self.seen = marks;
        let files = self.certificate.files();
        match self.certificate.reload().await {
            Ok(()) => {
                self.failed = None;
                tracing::info!(tls.files = ?files, "took the renewed certificate");
            }
            Err(error) => {
                let error = error.to_string();
                if self.failed.as_ref() != Some(&error) {
                    tracing::error!(tls.files = ?files, error, "the changed certificate is unusable; keeping the old one");
                    self.failed = Some(error);
                }
            }
        }
    }
}

async fn marks(certificate: &Certificate) -> [Mark; 2] {
    let [cert, key] = certificate.files();
    [mark(cert).await, mark(key).await]
}

async fn mark(file: &std::path::Path) -> Mark {
    let found = tokio::fs::metadata(file).await.ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
