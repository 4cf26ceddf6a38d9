//! The real Podman, asked directly: what the gateway says of it is held against this.

use std::path::PathBuf;

use hyper::Request;
use serde_json::Value;
use tokio::net::UnixStream;

use super::client::{Answer, exchange, whole};

pub struct Podman {
    pub socket: PathBuf,
}

impl Podman {
    /// The one that `make test` started.
    pub fn of_the_tests() -> Self {
        let url = std::env::var("PODGATE_TEST_PODMAN").unwrap_or_default();
        let socket = url.strip_prefix("unix://").unwrap_or_else(|| {
            panic!("PODGATE_TEST_PODMAN does not name a Podman socket (unix:///…); run these tests by `make test`")
        });
        Self { socket: socket.into() }
    }

    pub async fn call(&self, method: &str, path: &str) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.expect("the tests' Podman answers");
        let request = Request::builder().method(method).uri(format!("/v4.0.0/libpod{path}")).header("host", "podman");
        exchange(stream, request.body(whole("")).unwrap()).await
    }

    /// Full ids and names of a tenant's containers.
    pub async fn containers(&self, slug: &str) -> Vec<(String, String)> {
        let filter = serde_json::json!({"label": [format!("io.podgate.tenant={slug}")]}).to_string();
        let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let found = self.call("GET", &format!("/containers/json?all=true&filters={filter}")).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = found.as_array().into_iter().flatten();
        found.map(|one| (text(&one["Id"]), text(&one["Names"][0]))).collect()
    }

    /// Everything about one container.
    pub async fn inspect(&self, id: &str) -> Value {
        self.call("GET", &format!("/containers/{id}/json")).await.json()
    }

    /// The tenant's network, if there is one.
    pub async fn network(&self, slug: &str) -> Option<Value> {
        let answer = self.call("GET", &format!("/networks/podgate-{slug}/json")).await;
        (answer.status == 200).then(|| answer.json())
    }

    /// A page from a port of Podman's host; empty if nobody answers.
    pub async fn fetch(&self, port: u16) -> String {
        let url = format!("http://127.0.0.1:{port}/index.html");
        let done = on_its_host(&["curl", "--silent", "--max-time", "2", &url]).output().await.unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A program on Podman's host that has a port, until it is dropped.
    pub async fn occupy(&self, port: u16) -> tokio::process::Child {
        let address = format!("127.0.0.1:{port}");
        let child = on_its_host(&["busybox", "httpd", "-f", "-p", &address]).kill_on_drop(true).spawn().unwrap();
        super::eventually("the port is taken", || async {
            let url = format!("http://{address}/");
            let asked = on_its_host(&["curl", "--silent", "--max-time", "2", &url]).output().await.unwrap();
            asked.status.success().then_some(())
        })
        .await;
        child
    }

    /// Leaves nothing of a tenant.
    pub async fn clean(&self, slug: &str) {
        for (id, _) in self.containers(slug).await {
            self.call("DELETE", &format!("/containers/{id}?force=true&v=true&timeout=0")).await;
        }
        self.call("DELETE", &format!("/networks/podgate-{slug}?force=true")).await;
    }
}

/// A command where Podman's ports can be reached: `make test` gives it a network of its own.
fn on_its_host(words: &[&str]) -> tokio::process::Command {
    let prefix = std::env::var("PODGATE_TEST_NETNS").unwrap_or_default();
    let mut all = prefix.split_whitespace().chain(words.iter().copied());
    let mut command = tokio::process::Command::new(all.next().unwrap());
    command.args(all);
    command
}
