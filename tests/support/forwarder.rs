//! A unix socket in front of Podman's that can fall silent or lead elsewhere: the faults that a real Podman won't give
//! on demand.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a request's first line has, and what becomes of it.
type Faults = Arc<Mutex<Vec<(String, Fault)>>>;

#[derive(Clone)]
enum Fault {
    /// Podman fails for this cause.
    Fails(String),
    /// Nothing comes.
    Held,
    /// It waits until it is passed.
    Late,
}

pub struct Forwarder {
    path: PathBuf,
    target: watch::Sender<PathBuf>,
    silent: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    faults: Faults,
    asked: Arc<Mutex<Vec<String>>>,
    late: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Listens at `path` and passes everything on to `target`.
    pub fn start(path: &Path, target: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (target, leads_to) = watch::channel(target.to_owned());
        let (silent, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (faults, asked) = (Faults::default(), Arc::<Mutex<Vec<String>>>::default());
        let late = Arc::new(AtomicUsize::new(0));
        let heard = (Arc::clone(&faults), Arc::clone(&asked), Arc::clone(&late));
        let task = tokio::spawn(accept(listener, leads_to, Arc::clone(&silent), Arc::clone(&taken), heard));
        Self { path: path.to_owned(), target, silent, taken, faults, asked, late, task }
    }

    /// From now on connections are taken and never answered, or again passed on.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Requests whose first line has these words fail in Podman's manner.
    pub fn fail(&self, words: &str, cause: &str) {
        self.faults.lock().unwrap().push((words.to_owned(), Fault::Fails(cause.to_owned())));
    }

    /// Those get no answer.
    pub fn hold(&self, words: &str) {
        self.faults.lock().unwrap().push((words.to_owned(), Fault::Held));
    }

    /// Those wait until they are passed.
    pub fn delay(&self, words: &str) {
        self.faults.lock().unwrap().push((words.to_owned(), Fault::Late));
    }

    /// How many wait.
    pub fn delayed(&self) -> usize {
        self.late.load(Ordering::SeqCst)
    }

    /// Those are passed on again.
    pub fn pass(&self, words: &str) {
        self.faults.lock().unwrap().retain(|(known, _)| known != words);
    }

    /// Cuts every connection; new ones go to `target`.
    pub fn turn_to(&self, target: &Path) {
        self.target.send_replace(target.to_owned());
    }

    /// How many requests of that method were passed on whose first line has these words.
    pub fn asked(&self, method: &str, words: &str) -> usize {
        let lines = self.asked.lock().unwrap();
        lines.iter().filter(|line| line.starts_with(method) && line.contains(words)).count()
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
    (faults, asked, late): (Faults, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>),
) {
    let mut held = Vec::new();
    while let Ok((mut client, _)) = listener.accept().await {
        taken.fetch_add(1, Ordering::SeqCst);
        if silent.load(Ordering::SeqCst) {
            held.push(client);
            continue;
        }
        let (mut target, faults, asked) = (target.clone(), Arc::clone(&faults), Arc::clone(&asked));
        let late = Arc::clone(&late);
        tokio::spawn(async move {
            let mut head = [0; 1024];
            let Ok(length) = client.read(&mut head).await else { return };
            let first_line = String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned();
            let fault = || faults.lock().unwrap().iter().find(|(words, _)| first_line.contains(words)).cloned();
            if matches!(fault(), Some((_, Fault::Late))) {
                late.fetch_add(1, Ordering::SeqCst);
                super::eventually("that it may pass", async || fault().is_none().then_some(())).await;
                late.fetch_sub(1, Ordering::SeqCst);
            }
            if let Some((_, fault)) = fault() {
                let Fault::Fails(cause) = fault else { return std::future::pending().await };
                let body = serde_json::json!({"cause": cause, "message": cause, "response": 500}).to_string();
                let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close";
                let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = client.write_all(answer.as_bytes()).await;
                return;
            }
            asked.lock().unwrap().push(first_line);
            let leads_to = target.borrow_and_update().clone();
            // Where nobody listens, the connection is cut.
            let Ok(mut podman) = UnixStream::connect(&leads_to).await else { return };
            if podman.write_all(&head[..length]).await.is_err() {
                return;
            }
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
