//! A way to the tests' PostgreSQL that can be cut, or fall silent.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes connections on until it is dropped, which cuts them all.
pub struct Between {
    /// The database through it.
    pub url: String,
    frozen: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Between {
    /// In front of the database of that URL.
    pub async fn start(url: &str) -> Self {
        let server = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = url.replace(&server, &listener.local_addr().unwrap().to_string());
        let (frozen, told) = watch::channel(());
        Self { url: through, frozen, task: tokio::spawn(accept(listener, server, told)) }
    }

    /// What stands now stands for ever, and nothing comes through it any more; new connections are passed on.
    pub fn freeze_what_stands(&self) {
        self.frozen.send_replace(());
    }

    /// Cuts all.
    pub async fn cut(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, frozen: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let (server, mut frozen) = (server.clone(), frozen.clone());
        frozen.mark_unchanged();
        connections.spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = frozen.changed() => std::future::pending().await,
            }
        });
    }
}
