//! Users added inside a container.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sha_crypt::ShaCrypt;
use sha_crypt::password_hash::PasswordVerifier;

use crate::support::{Client, Site, Story};

#[tokio::test]
async fn a_user_is_added_once() {
    let Story { client, .. } = &Story::begin().await;
    for image in ["alpine", "debian", "busybox", "static"] {
        // An image's own command: where there is none of it, a shell would end at once.
        let command = if image == "static" { json!(null) } else { json!("sleep 300") };
        client.create(json!({"image": image, "name": image, "command": command})).await;
        let users = format!("/containers/{image}/users");
        client.post(&users, json!({"username": "student"})).await.ok();
        client.post(&users, json!({"username": "student", "password": "x"})).await.refused(409, "PodmanAPIError");
        // With a name and nothing else, and an empty password, which means none.
        client.post(&users, json!({"username": "second", "password": ""})).await.ok();
        // Reading takes what the image has.
        let cat = if image == "static" { json!(["/app", "cat", "/etc/passwd"]) } else { json!("cat /etc/passwd") };
        let accounts = client.exec(image, cat).await;
        let ids: Vec<&str> = accounts
            .lines()
            .filter(|line| line.starts_with("student:") || line.starts_with("second:"))
            .map(|line| line.split(':').nth(2).unwrap())
            .collect();
        assert_eq!(ids, ["1000", "1001"], "{image}: {accounts}");
    }
    assert_eq!(client.exec("busybox", json!("stat -c %U:%a /home/student")).await, "student:755\n");
}

#[tokio::test]
async fn a_user_needs_a_running_container() {
    let Story { client, .. } = &Story::begin().await;
    client.create(json!({"image": "alpine", "name": "c", "command": "sleep 300", "start": false})).await;
    client.post("/containers/c/users", json!({"username": "u"})).await.refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn names_shells_and_passwords_are_checked() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let before = client.exec("c", json!("cat /etc/passwd /etc/shadow")).await;
    for name in ["", "..", "0", "$(id)", "--help", "A", "a b", "a:b", "a\nb", "ü", &"a".repeat(33)] {
        client.post("/containers/c/users", json!({"username": name})).await.blames(&["username"]);
    }
    for shell in ["", "sh", "/bin/sh -c", "/bin/sh\n", "/bin/sh:x", "/"] {
        client.post("/containers/c/users", json!({"username": "u", "shell": shell})).await.blames(&["shell"]);
    }
    for password in ["x\nroot:PWNED", "x\r", "\u{0}", "\u{7f}", &"x".repeat(129)] {
        let answer = client.post("/containers/c/users", json!({"username": "u", "password": password})).await;
        answer.blames(&["password"]);
        assert!(!answer.text().contains("PWNED"));
    }
    let all = json!({"username": "..", "shell": "x", "password": "\n"});
    client.post("/containers/c/users", all).await.blames(&["username", "shell", "password"]);
    assert_eq!(client.exec("c", json!("cat /etc/passwd /etc/shadow")).await, before);
}

/// It reaches the container by standard input alone.
#[tokio::test]
async fn a_password_is_neither_run_nor_seen() {
    const MARK: &str = "s3cret-mark";
    let password = format!("{MARK}'\"; touch /tmp/pwned; $(touch /tmp/pwned) `id` \\ | & < > * ~ {{}} : ü €");
    let story = Story::at(Site::new().set("log.level", "trace")).await;
    let client = &story.client;
    for image in ["alpine", "busybox", "debian"] {
        client.create(json!({"image": image, "name": image, "command": "sleep 300"})).await;
        let watch = Watch::begin(MARK);
        let body = json!({"username": "student", "password": password});
        client.post(&format!("/containers/{image}/users"), body).await.ok();
        assert_eq!(watch.seen(), Vec::<String>::new(), "in a process list");
        let hash = shadow(client, image).await;
        // Debian's default is yescrypt, for which there is no check here.
        if image == "debian" {
            assert!(hash.starts_with("$y$"), "{hash}");
        } else {
            assert!(ShaCrypt::default().verify_password(password.as_bytes(), hash.as_str()).is_ok(), "{image}: {hash}");
        }
        assert_eq!(client.exec(image, json!("ls -a /tmp")).await, ".\n..\n");
    }
    assert!(!story.gateway.log().contains(MARK), "in the log");
}

async fn shadow(client: &Client, name: &str) -> String {
    let shadow = client.exec(name, json!("grep ^student: /etc/shadow")).await;
    shadow.split(':').nth(1).unwrap().to_owned()
}

/// Looks at every process's arguments, over and over.
struct Watch {
    over: Arc<AtomicBool>,
    watching: std::thread::JoinHandle<Vec<String>>,
}

impl Watch {
    fn begin(mark: &'static str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let watching = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !told.load(Ordering::SeqCst) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                    let arguments = String::from_utf8_lossy(&arguments).into_owned();
                    if arguments.contains(mark) {
                        seen.push(arguments);
                    }
                }
            }
            seen
        });
        Self { over, watching }
    }

    fn seen(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        self.watching.join().unwrap()
    }
}
