//! A Podman of one test's own: for what would spoil the one that all others share.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::gateway::unique;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/podman-service");

/// Made by `scripts/podman-service`, which needs root; gone when it is dropped.
pub struct PrivatePodman {
    dir: PathBuf,
    /// The socket, as `engine.url` wants it.
    pub url: String,
    /// Bytes of memory that the service may have, where that is bounded.
    memory: Option<u64>,
}

impl PrivatePodman {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// One for what would make the service take all of the host's memory.
    pub fn start_within(bytes: u64) -> Self {
        Self::start_with(Some(bytes))
    }

    fn start_with(memory: Option<u64>) -> Self {
        // What Podman can't do where a path is long, these find out on every machine.
        let name = format!("{}-in-a-directory-with-a-name-as-long-as-somebody-may-have-it-somewhere", unique());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut podman = Self { dir, url: String::new(), memory };
        podman.url = podman.serve();
        podman
    }

    /// Starts the service if it does not answer; its socket.
    pub fn serve(&self) -> String {
        let mut words = vec!["start".to_owned(), "--own-network".to_owned()];
        if std::env::var("PODGATE_TEST_PODMAN_VERSION").is_ok_and(|version| version == "5") {
            words.extend([
                "--system".to_owned(),
                concat!(env!("CARGO_MANIFEST_DIR"), "/target/podman5-root").to_owned(),
            ]);
        }
        words.push(self.dir.display().to_string());
        let mut script = match self.memory {
            Some(bytes) => {
                let mut command = as_root("prlimit");
                command.arg(format!("--as={bytes}")).arg(SCRIPT);
                command
            }
            None => self.script(),
        };
        run(script.args(words)).trim_end().to_owned()
    }

    /// Makes `docker.io/library/alpine` of what the tests' other Podman has under that name.
    pub fn import_alpine(&self) {
        let tar = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-images/busybox.tar");
        self.import(tar.as_ref(), "docker.io/library/alpine:latest");
    }

    /// Makes an image of a tar.
    pub fn import(&self, tar: &Path, reference: &str) {
        let words = ["import", "--quiet", "--change", "CMD [\"/bin/sh\"]"];
        run(self.script().arg("podman").arg(&self.dir).args(words).arg(tar).arg(reference));
    }

    /// The network devices of its host, loopback aside.
    pub fn links(&self) -> Vec<String> {
        let enter = run(self.script().arg("network").arg(&self.dir));
        let mut words = enter.split_whitespace();
        let program = words.next().expect("a network of its own");
        let listed = run(as_root(program).args(words).args(["ip", "-brief", "link"]));
        let names = listed.lines().filter_map(|line| line.split([' ', '@']).next());
        names.filter(|name| *name != "lo").map(str::to_owned).collect()
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        Path::new(self.url.strip_prefix("unix://").expect("a socket's URL"))
    }

    /// kill -9 for the service, and nothing else of it.
    pub fn kill_service(&self) {
        let pid = std::fs::read_to_string(self.dir.join("service.pid")).expect("a service");
        run(as_root("kill").args(["-KILL", pid.trim()]));
    }

    /// What a service leaves that is killed while it makes a container of that name: its storage, and no container.
    pub fn die_while_making(&mut self, name: &str) {
        let podman = |words: &[&str]| run(self.script().arg("podman").arg(&self.dir).args(words));
        podman(&["create", "--name", name, "docker.io/library/alpine:latest", "true"]);
        let storage = |script: &str| run(as_root("sh").args(["-ec", script, "sh"]).arg(self.dir.join("root")));
        storage("mkdir \"$1.kept\"; cp -a \"$1/overlay\" \"$1/overlay-containers\" \"$1/overlay-layers\" \"$1.kept\"");
        podman(&["rm", name]);
        run(self.script().arg("stop").arg(&self.dir));
        storage("cd \"$1\"; rm -r overlay overlay-containers overlay-layers; mv \"$1.kept\"/* .");
        self.url = self.serve();
    }

    fn script(&self) -> Command {
        as_root(SCRIPT)
    }
}

impl Drop for PrivatePodman {
    fn drop(&mut self) {
        let stopped = self.script().arg("stop").arg(&self.dir).output().expect("a script");
        let _ = as_root("rm").arg("-rf").arg(&self.dir).output();
        // A failure beside another one would only hide it.
        if !std::thread::panicking() {
            assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        }
    }
}

fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

fn run(command: &mut Command) -> String {
    let done = command.output().expect("a program");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
