//! The real Podman, asked directly: what the gateway says of it is held against this.

use std::path::PathBuf;

use hyper::Request;
use serde_json::Value;
use tokio::io::AsyncReadExt;
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
        self.send(method, path, "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &body.to_string()).await
    }

    /// Makes an image of a tar.
    pub async fn import(&self, reference: &str, tar: Vec<u8>) {
        let reference = reference.replace('/', "%2F").replace(':', "%3A");
        let path = format!("/v4.0.0/libpod/images/import?reference={reference}");
        let answer = self.send_tar("POST", &path, tar).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Loads images of an archive as `podman save` writes it.
    pub async fn load(&self, archive: Vec<u8>) {
        let answer = self.send_tar("POST", "/v4.0.0/libpod/images/load", archive).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub async fn remove_image(&self, reference: &str) {
        let reference = reference.replace('/', "%2F").replace(':', "%3A");
        self.call("DELETE", &format!("/images/{reference}?force=true")).await;
    }

    /// Puts one file into a container's directory.
    pub async fn put(&self, id: &str, directory: &str, name: &str, content: &[u8]) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
        self.put_tar(id, directory, tar.into_inner().unwrap()).await;
    }

    /// Unpacks an archive into a container's directory, whatever is in it.
    pub async fn put_tar(&self, id: &str, directory: &str, tar: Vec<u8>) {
        let path = format!("/v1.40/containers/{id}/archive?path={}", directory.replace('/', "%2F"));
        let answer = self.send_tar("PUT", &path, tar).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Names of the containers that are there for others' files.
    pub async fn visitors(&self, installation: &str) -> Vec<String> {
        let filter = labelled(&format!("io.podgate.installation={installation}"));
        let found = self.call("GET", &format!("/containers/json?all=true&filters={filter}")).await.json();
        let names = found.as_array().into_iter().flatten().map(|one| one["Names"][0].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with("podgate-files-")).collect()
    }

    async fn send_tar(&self, method: &str, uri: &str, tar: Vec<u8>) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.expect("the tests' Podman answers");
        let request = Request::builder().method(method).uri(uri).header("host", "podman");
        let request = request.header("content-type", "application/x-tar");
        exchange(stream, request.body(whole(tar)).unwrap()).await
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.expect("the tests' Podman answers");
        let request = Request::builder().method(method).uri(format!("/v4.0.0/libpod{path}")).header("host", "podman");
        exchange(stream, request.body(whole(body.to_owned())).unwrap()).await
    }

    /// Full ids and names of a tenant's containers.
    pub async fn containers(&self, slug: &str) -> Vec<(String, String)> {
        let filter = labelled(&format!("io.podgate.tenant={slug}"));
        let found = self.call("GET", &format!("/containers/json?all=true&filters={filter}")).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = found.as_array().into_iter().flatten();
        found.map(|one| (text(&one["Id"]), text(&one["Names"][0]))).collect()
    }

    /// Everything about one container.
    pub async fn inspect(&self, id: &str) -> Value {
        self.call("GET", &format!("/containers/{id}/json")).await.json()
    }

    /// Names of the tenant's networks. Podman tells them beside a container that hangs, too, and no more.
    pub async fn networks(&self, slug: &str) -> Vec<String> {
        let found = self.call("GET", "/networks/json").await.json();
        let names = found.as_array().into_iter().flatten().map(|one| one["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with(&format!("podgate-{slug}."))).collect()
    }

    /// The tenant's network with a way out, if there is one.
    pub async fn network(&self, slug: &str) -> Option<Value> {
        let name = self.networks(slug).await.into_iter().find(|name| !name.ends_with(".internal"))?;
        let answer = self.call("GET", &format!("/networks/{name}/json")).await;
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

    /// A port of Podman's host that takes connections and says nothing, until this is dropped.
    pub async fn occupy_silently(&self, port: u16) -> tokio::process::Child {
        let program = format!(
            "import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\nprint('listens', flush=True)\ntime.sleep(600)"
        );
        let mut command = on_its_host(&["python3", "-c", &program]);
        let mut child = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut said = [0; 7];
        child.stdout.as_mut().unwrap().read_exact(&mut said).await.unwrap();
        child
    }

    /// Names of the volumes that an installation's tenants made, in order.
    pub async fn volumes(&self, installation: &str) -> Vec<String> {
        let all = self.all_volumes(installation).await;
        all.into_iter().filter(|name| !name.starts_with("podgate.agent.")).collect()
    }

    /// Names of all that an installation made, its own too.
    pub async fn all_volumes(&self, installation: &str) -> Vec<String> {
        let filter = labelled(&format!("io.podgate.installation={installation}"));
        let found = self.call("GET", &format!("/volumes/json?filters={filter}")).await.json();
        let volumes = found.as_array().into_iter().flatten();
        let mut names: Vec<String> = volumes.map(|one| one["Name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Whether anything of a tenant is left: containers or networks.
    pub async fn has_anything_of(&self, slug: &str) -> bool {
        !self.containers(slug).await.is_empty() || !self.networks(slug).await.is_empty()
    }

    /// Leaves nothing of a tenant but its volumes.
    pub async fn clean(&self, slug: &str) {
        for (id, _) in self.containers(slug).await {
            self.call("DELETE", &format!("/containers/{id}?force=true&v=true&timeout=0")).await;
        }
        for network in self.networks(slug).await {
            self.call("DELETE", &format!("/networks/{network}?force=true")).await;
        }
    }

    /// Leaves no volume of an installation.
    pub async fn clean_volumes(&self, installation: &str) {
        for name in self.all_volumes(installation).await {
            self.call("DELETE", &format!("/volumes/{name}?force=true")).await;
        }
    }
}

/// A filter for what carries this label, as part of a URL.
fn labelled(label: &str) -> String {
    let filter = serde_json::json!({"label": [label]}).to_string();
    form_urlencoded::byte_serialize(filter.as_bytes()).collect()
}

/// A command where Podman's ports can be reached: `make test` gives it a network of its own.
pub fn on_its_host(words: &[&str]) -> tokio::process::Command {
    let prefix = std::env::var("PODGATE_TEST_NETNS").unwrap_or_default();
    let mut all = prefix.split_whitespace().chain(words.iter().copied());
    let mut command = tokio::process::Command::new(all.next().unwrap());
    command.args(all);
    command
}
