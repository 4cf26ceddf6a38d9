//! A real registry on the host of the tests' Podman, each story's on a port of its own (scripts/podman-service lets
//! Podman speak plain HTTP to these).

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Child;

use super::podman::{Podman, on_its_host};
use super::{eventually, gateway::unique};

pub struct Registry {
    port: u16,
    child: Child,
    dir: std::path::PathBuf,
}

impl Registry {
    pub async fn start(port: u16) -> Self {
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique());
        std::fs::create_dir(&dir).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \
             127.0.0.1:{port}}}\n",
            dir.display()
        );
        std::fs::write(dir.join("config.yml"), config).unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/registry/usr/bin/docker-registry");
        let mut command = on_its_host(&[program, "serve", dir.join("config.yml").to_str().unwrap()]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let registry = Self { port, child, dir };
        let url = format!("http://127.0.0.1:{port}/v2/");
        eventually("the registry", || async {
            let asked = on_its_host(&["curl", "--silent", "--fail", "--max-time", "2", &url]).output().await.unwrap();
            asked.status.success().then_some(())
        })
        .await;
        registry
    }

    /// What an image of that name is called here.
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Puts an image of the tests' Podman here.
    pub async fn push(&self, podman: &Podman, image: &str, name: &str) {
        let image = image.replace('/', "%2F").replace(':', "%3A");
        let path = format!("/images/{image}/push?tlsVerify=false&quiet=true&destination={}", self.reference(name));
        let pushed = podman.call("POST", &path).await;
        assert!(pushed.status == 200 && !pushed.text().contains("\"error\""), "{}", pushed.text());
    }

    /// Ends it; what it was asked for, a line each.
    pub async fn end(mut self) -> String {
        let mut output = self.child.stdout.take().unwrap();
        self.child.start_kill().unwrap();
        let mut asked = String::new();
        output.read_to_string(&mut asked).await.unwrap();
        asked
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
