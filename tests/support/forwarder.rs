//! A unix socket in front of Podman's that can fall silent or lead elsewhere: the faults that a real Podman won't give
//! on demand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Forwarder {
    path: PathBuf,
    target: watch::Sender<PathBuf>,
    silent: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Listens at `path` and passes everything on to `target`.
    pub fn start(path: &Path, target: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (target, leads_to) = watch::channel(target.to_owned());
        let (silent, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(accept(listener, leads_to, Arc::clone(&silent), Arc::clone(&taken)));
        Self { path: path.to_owned(), target, silent, taken, task }
    }

    /// From now on connections are taken and never answered, or again passed on.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Cuts every connection; new ones go to `target`.
    pub fn turn_to(&self, target: &Path) {
        self.target.send_replace(target.to_owned());
    }

    /// How many connections were taken so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: UnixListener,
    target: watch::Receiver<PathBuf>,
    silent: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
) {
    let mut held = Vec::new();
    while let Ok((mut client, _)) = listener.accept().await {
        taken.fetch_add(1, Ordering::SeqCst);
        if silent.load(Ordering::SeqCst) {
            held.push(client);
            continue;
        }
        let mut target = target.clone();
        tokio::spawn(async move {
            let leads_to = target.borrow_and_update().clone();
            // Where nobody listens, the connection is cut.
            let Ok(mut podman) = UnixStream::connect(&leads_to).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut podman) => {}
                _ = target.changed() => {}
            }
        });
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
