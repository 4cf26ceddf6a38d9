//! A unix socket in front of Podman's that can also fall silent: the fault that a real Podman won't give on demand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

pub struct Forwarder {
    path: PathBuf,
    silent: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Listens at `path` and passes everything on to `target`.
    pub fn start(path: &Path, target: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (target, silent) = (target.to_owned(), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(accept(listener, target, Arc::clone(&silent)));
        Self { path: path.to_owned(), silent, task }
    }

    /// From now on connections are taken and never answered, or again passed on.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }
}

async fn accept(listener: UnixListener, target: PathBuf, silent: Arc<AtomicBool>) {
    let mut held = Vec::new();
    while let Ok((mut client, _)) = listener.accept().await {
        if silent.load(Ordering::SeqCst) {
            held.push(client);
            continue;
        }
        let target = target.clone();
        tokio::spawn(async move {
            let mut podman = UnixStream::connect(&target).await.expect("Podman listens");
            let _ = tokio::io::copy_bidirectional(&mut client, &mut podman).await;
        });
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
