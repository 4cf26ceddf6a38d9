//! Directories: listed, made, moved, removed, and as archives; in running and in stopped containers.

use serde_json::{Value, json};

use crate::support::files::{TarEntry, at, tar};
use crate::support::{Client, Site, Story};

/// A story for a running and a stopped container of alpine.
async fn both(client: &Client, story: impl AsyncFn(&Client, bool)) {
    for start in [true, false] {
        client.create(json!({"image": "alpine", "name": "c", "command": "sleep 300", "start": start})).await;
        mkdir(client, "/srv", json!({})).await.ok();
        story(client, start).await;
        client.delete("/containers/c?force=true").await.ok();
    }
}

async fn mkdir(client: &Client, path: &str, more: Value) -> crate::support::Answer {
    let mut body = json!({"path": path});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("/containers/c/files/directories", body).await
}

async fn rename(client: &Client, source: &str, destination: &str, overwrite: bool) -> crate::support::Answer {
    let body = json!({"source": source, "destination": destination, "overwrite": overwrite});
    client.post("/containers/c/files/move", body).await
}

async fn remove(client: &Client, path: &str, recursive: bool) -> crate::support::Answer {
    client.delete(&format!("{}&recursive={recursive}", at("", path))).await
}

#[tokio::test]
async fn directories_are_made_listed_moved_and_removed() {
    let Story { client, .. } = &Story::begin().await;
    both(client, async |client, _| {
        mkdir(client, "/srv/a/b", json!({})).await.refused(404, "PodmanAPIError");
        let made = mkdir(client, "/srv/a/b", json!({"parents": true, "mode": "1777", "owner": "1000"})).await.ok();
        assert_eq!(made["directory"], json!({"path": "/srv/a/b", "created": true}));
        assert_eq!(mkdir(client, "/srv/a/b", json!({"parents": true})).await.ok()["directory"]["created"], false);
        mkdir(client, "/srv/a/b", json!({})).await.refused(409, "PodmanAPIError");
        let info = client.file_info("/srv/a/b").await;
        assert_eq!((&info["type"], &info["mode"], &info["uid"]), (&json!("directory"), &json!("1777"), &json!(1000)));

        for name in ["x", "y", "z"] {
            client.write_file(&format!("/srv/a/{name}"), &[], name).await.ok();
        }
        client.unpack("/srv/a", tar(&[(b'2', "link", "/nowhere", b"")])).await.ok();
        assert_eq!(client.names("/srv/a").await, ["b", "link", "x", "y", "z"]);
        let first = client.get(&format!("{}&limit=2", at("", "/srv/a"))).await.ok();
        assert_eq!(first["files"][1]["target"], "/nowhere");
        let cursor = first["next_cursor"].as_str().unwrap();
        let rest = client.get(&format!("{}&limit=3&cursor={cursor}", at("", "/srv/a"))).await.ok();
        assert_eq!((rest["files"].as_array().unwrap().len(), rest.get("next_cursor")), (3, None));
        client.get(&format!("{}&cursor=*", at("", "/srv/a"))).await.blames(&["cursor"]);
        client.get(&format!("{}&limit=1001", at("", "/srv/a"))).await.blames(&["limit"]);
        client.get(&at("", "/srv/a/x")).await.refused(404, "PodmanAPIError");
        client.get(&at("/info", "/srv/a/link")).await.ok();
        client.get(&format!("{}&follow=1", at("/info", "/srv/a/link"))).await.refused(404, "PodmanAPIError");
        assert_eq!(client.file_info("/").await["type"], "directory");

        rename(client, "/srv/a/x", "/srv/a/y", false).await.refused(409, "PodmanAPIError");
        rename(client, "/srv/a/x", "/srv/a/b", true).await.refused(409, "PodmanAPIError");
        rename(client, "/srv/a/b", "/srv/a/y", true).await.refused(409, "PodmanAPIError");
        rename(client, "/srv/a", "/srv/a/b/c", false).await.refused(409, "PodmanAPIError");
        rename(client, "/srv/none", "/srv/a/n", false).await.refused(404, "PodmanAPIError");
        rename(client, "/srv/a/x", "/srv/none/n", false).await.refused(404, "PodmanAPIError");
        rename(client, "/srv/a/x", "/srv/a/y", true).await.ok();
        assert_eq!(client.read_file("/srv/a/y", &[]).await.text(), "x");
        rename(client, "/srv/a", "/srv/d", false).await.ok();
        assert_eq!(client.names("/srv/d").await, ["b", "link", "y", "z"]);
        // One that the image has, which an overlay does not move by itself.
        rename(client, "/var", "/srv/var", false).await.ok();
        client.get(&at("/info", "/var")).await.refused(404, "PodmanAPIError");
        assert!(!client.names("/srv/var").await.is_empty());

        remove(client, "/srv/d", false).await.refused(409, "PodmanAPIError");
        remove(client, "/srv/d/link", false).await.ok();
        remove(client, "/srv/d", true).await.ok();
        assert_eq!(client.names("/srv").await, ["var"]);
        remove(client, "/srv/d", true).await.refused(404, "PodmanAPIError");
        for path in ["/", "", "srv", "/srv/..", "/srv/", "/a\nb"] {
            remove(client, path, true).await.blames(&["path"]);
            mkdir(client, path, json!({})).await.blames(&["path"]);
            rename(client, path, "/x", false).await.blames(&["source"]);
            rename(client, "/x", path, false).await.blames(&["destination"]);
        }
        mkdir(client, "/x", json!({"mode": "999", "owner": "root"})).await.blames(&["mode", "owner"]);
    })
    .await;
}

#[tokio::test]
async fn a_tree_goes_through_an_archive() {
    let Story { client, .. } = &Story::begin().await;
    both(client, async |client, _| {
        let entries: &[TarEntry<'_>] = &[
            (b'5', "./", "", b""),
            (b'5', "./app/", "", b""),
            (b'0', "./app/main.py", "", b"print('hello')\n"),
            (b'0', "app/data/deep/file", "", &[7; 5000]),
            (b'2', "app/link", "main.py", b""),
            (b'1', "app/hard", "app/main.py", b""),
        ];
        let unpacked = client.unpack("/srv", tar(entries)).await.ok()["archive"].clone();
        assert_eq!(unpacked, json!({"path": "/srv", "files": 2, "directories": 1, "links": 2, "bytes": 5015}));
        let info = client.file_info("/srv/app/main.py").await;
        let expected = json!({
            "name": "main.py", "type": "file", "size": 15, "mode": "0640", "uid": 1000, "gid": 1000,
            "modified": "2020-09-13T12:26:40.000000Z",
        });
        assert_eq!(info, expected);
        assert_eq!(client.names("/srv/app").await, ["data", "hard", "link", "main.py"]);

        let packed = client.get(&at("/archive", "/srv/app")).await;
        assert_eq!((packed.status, packed.header("content-type")), (200, Some("application/x-tar")));
        let mut found = tar::Archive::new(&packed.body[..]);
        let mut names: Vec<String> =
            found.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        names.sort();
        assert_eq!(
            names,
            ["app/", "app/data/", "app/data/deep/", "app/data/deep/file", "app/hard", "app/link", "app/main.py"]
        );
        // What went out comes in, with another owner.
        mkdir(client, "/srv/copy", json!({})).await.ok();
        client.put(&format!("{}&owner=7:8", at("/archive", "/srv/copy")), "application/x-tar", packed.body).await.ok();
        let info = client.file_info("/srv/copy/app/hard").await;
        assert_eq!((&info["uid"], &info["gid"], &info["size"]), (&json!(7), &json!(8), &json!(15)));
        // All of it, and one file.
        let all = client.get(&at("/archive", "/")).await;
        let mut all = tar::Archive::new(&all.body[..]);
        let names: Vec<String> =
            all.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert!(names.contains(&"srv/app/main.py".to_owned()) && names.contains(&"etc/passwd".to_owned()));
        assert!(!names.iter().any(|name| name.starts_with("proc/s") || name.contains("podgate")), "{names:?}");
        let one = client.get(&at("/archive", "/srv/app/main.py")).await;
        assert_eq!(tar::Archive::new(&one.body[..]).entries().unwrap().count(), 1);
        client.get(&at("/archive", "/none")).await.refused(404, "PodmanAPIError");
        client.unpack("/none", tar(&[])).await.refused(404, "PodmanAPIError");
        client.unpack("/srv/app/main.py", tar(&[])).await.refused(404, "PodmanAPIError");
    })
    .await;
}

#[tokio::test]
async fn an_archive_that_may_not_be_changes_nothing() {
    let Story { client, .. } = &Story::begin().await;
    both(client, async |client, start| {
        client
            .unpack("/srv", tar(&[(b'5', "dir", "", b""), (b'0', "file", "", b"old"), (b'2', "out", "/etc", b"")]))
            .await
            .ok();
        let before = client.names("/").await;
        let first: TarEntry<'_> = (b'0', "file", "", b"new");
        let bad: &[(u8, &[TarEntry<'_>])] = &[
            (0, &[(b'6', "pipe", "", b"")]),
            (0, &[(b'3', "null", "", b"")]),
            (0, &[(b'4', "disk", "", b"")]),
            (0, &[(b'S', "sparse", "", b"")]),
            (0, &[(b'7', "odd", "", b"")]),
            (0, &[(b'0', "/etc/passwd", "", b"x")]),
            (0, &[(b'0', "../etc/passwd", "", b"x")]),
            (0, &[(b'0', "dir/../../etc/passwd", "", b"x")]),
            (0, &[(b'1', "hard", "/etc/passwd", b"")]),
            (0, &[(b'1', "hard", "../etc/passwd", b"")]),
            (0, &[(b'2', "link", "", b"")]),
            (0, &[(b'1', "hard", "never/was", b"")]),
            (1, &[(b'0', "dir", "", b"x")]),
            (0, &[(b'5', "file", "", b"")]),
            (0, &[(b'0', "file/x", "", b"x")]),
            (1, &[(b'0', "out/x", "", b"x")]),
            (0, &[(b'2', "l", "dir", b""), (b'0', "l/x", "", b"x")]),
        ];
        // What goes into a stopped one costs a visit each: some will do.
        for (conflict, entries) in bad.iter().step_by(if start { 1 } else { 4 }) {
            let refused = client.unpack("/srv", tar(&[&[first], *entries].concat())).await;
            let (status, kind) = if *conflict == 1 { (409, "PodmanAPIError") } else { (400, "ValidationError") };
            // A name that stands in the archive and nowhere else is as good as none.
            assert!(refused.status == status || refused.status == 404, "{entries:?}: {}", refused.text());
            if refused.status == status {
                refused.refused(status, kind);
            }
            assert_eq!(client.names("/srv").await, ["dir", "file", "out"], "{entries:?}");
            assert_eq!(client.read_file("/srv/file", &[]).await.text(), "old", "{entries:?}");
        }
        let good = tar(&[first, (b'0', "more", "", &[1; 3000])]);
        let cuts = [0, 100, 511, 700, 1024, 2000, good.len() - 1024];
        for cut in cuts.into_iter().skip(if start { 0 } else { 5 }) {
            client.unpack("/srv", good[..cut].to_vec()).await.refused(400, "ValidationError");
        }
        client.unpack("/srv", b"\x1f\x8b\x08".repeat(500)).await.refused(400, "ValidationError");
        client.unpack("/srv", "no archive at all".repeat(100)).await.refused(400, "ValidationError");
        assert_eq!((client.names("/").await, client.names("/srv").await.len()), (before, 3));
        assert_eq!(client.read_file("/srv/file", &[]).await.text(), "old");
        // In place of a link comes a file; the link's target stays.
        client.unpack("/srv", tar(&[(b'0', "out", "", b"file now")])).await.ok();
        assert_eq!(client.file_info("/srv/out").await["type"], "file");
        assert_eq!(client.file_info("/etc").await["type"], "directory");
    })
    .await;
}

/// What is mounted in a container cannot be replaced, nor what is read-only there written: nothing of the rest is, either.
#[tokio::test]
async fn an_archive_that_meets_a_mount_changes_nothing() {
    let site = Site::new();
    let shared = site.dir.join("fixed");
    std::fs::create_dir_all(shared.join("sub")).unwrap();
    let tenant = site.tenant();
    let site = site.with(&format!("[shares.fixed]\npath = {shared:?}\ntenants = [{:?}]", tenant.slug));
    let gateway = site.start().await;
    let client = &gateway.client(&site.token(&tenant.login("operator")));
    client.create_with("c", json!({"volumes": {"fixed": "/mnt/fixed"}})).await;
    let hosts = client.read_file("/etc/hosts", &[]).await.text();
    let etc = client.names("/etc").await;
    let others: Vec<String> = (0..20).map(|number| format!("etc/new-{number}")).collect();
    let others: Vec<TarEntry<'_>> = others.iter().map(|name| (b'0', name.as_str(), "", b"new".as_slice())).collect();
    for (last, words) in [
        ((b'0', "etc/hosts", "", b"mine".as_slice()), "mounted"),
        ((b'0', "mnt/fixed/x", "", b""), "read-only"),
        ((b'5', "mnt/fixed/dir", "", b""), "read-only"),
        ((b'0', "mnt/fixed/sub/x", "", b""), "read-only"),
    ] {
        let refused = client.unpack("/", tar(&[&others[..], &[last]].concat())).await;
        let said = refused.refused(409, "PodmanAPIError").to_string();
        assert!(said.contains(words), "{said}");
        assert_eq!(client.names("/etc").await, etc, "{}", last.1);
    }
    assert_eq!(client.read_file("/etc/hosts", &[]).await.text(), hosts);
    client.unpack("/", tar(&others)).await.ok();
}

/// Their size says nothing of what is in them.
#[tokio::test]
async fn what_the_kernel_makes_up_is_no_file() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    for path in ["/proc/version", "/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"] {
        client.read_file(path, &[]).await.refused(409, "PodmanAPIError");
        client.get(&at("/archive", path)).await.refused(409, "PodmanAPIError");
        assert_eq!(client.file_info(path).await["type"], "file");
    }
    let moved = rename(client, "/proc/version", "/tmp/version", false).await;
    assert!(moved.status >= 400, "{}", moved.text());
    assert!(client.names("/tmp").await.is_empty());
}

#[tokio::test]
async fn nothing_but_a_file_is_read_or_replaced() {
    let story = Story::begin().await;
    let client = &story.client;
    both(client, async |client, _| {
        let (id, _) = story.podman.containers(&story.tenant.slug).await.remove(0);
        let hostile = tar(&[
            (b'6', "pipe", "", b""),
            (b'2', "to-pipe", "pipe", b""),
            (b'2', "circle", "circle", b""),
            (b'2', "up", "../../../../../../../../../../etc/shadow-of-the-host", b""),
            (b'2', "proc", "/proc/1/root/etc", b""),
            (b'0', "\u{1}bad", "", b""),
        ]);
        story.podman.put_tar(&id, "/srv", hostile).await;
        for path in ["/srv/pipe", "/srv/to-pipe", "/srv", "/srv/circle"] {
            client.read_file(path, &[]).await.refused(409, "PodmanAPIError");
            client.write_file(path, &[], "x").await.refused(409, "PodmanAPIError");
        }
        client.read_file("/srv/up", &[]).await.refused(404, "PodmanAPIError");
        client.write_file("/srv/up", &[], "inside").await.ok();
        assert_eq!(client.read_file("/etc/shadow-of-the-host", &[]).await.text(), "inside");
        assert!(!std::path::Path::new("/etc/shadow-of-the-host").exists());
        for path in ["/srv/proc/passwd", "/proc/1/root/etc/passwd", "/proc/self/fd/0", "/proc/self/root/etc/passwd"] {
            let refused = client.read_file(path, &[]).await;
            assert!(matches!(refused.status, 404 | 409), "{path}: {}", refused.text());
        }
        assert_eq!(client.file_info("/srv/pipe").await["type"], "fifo");
        let packed = client.get(&at("/archive", "/srv")).await;
        let names = tar::Archive::new(&packed.body[..]).entries().unwrap().count();
        assert_eq!(names, 6, "all but the pipe");
        for path in ["/srv/pipe", "/srv/to-pipe", "/srv/proc"] {
            remove(client, path, true).await.ok();
        }
        assert_eq!(client.file_info("/etc/passwd").await["type"], "file");
        client.read_file("/none/x", &[]).await.refused(404, "PodmanAPIError");
        client.write_file("/none/x", &[], "x").await.refused(404, "PodmanAPIError");
        client.write_file("/etc/passwd/x", &[], "x").await.refused(404, "PodmanAPIError");
        for path in ["", "/", "x", "/x/", "/x/..", "//x", "/./x", "/a\0b"] {
            client.read_file(path, &[]).await.blames(&["path"]);
            client.write_file(path, &[], "x").await.blames(&["path"]);
        }
        for (more, field) in
            [("mode=888", "mode"), ("mode=", "mode"), ("owner=root", "owner"), ("owner=65536", "owner")]
        {
            let path = format!("{}&{more}", at("/content", "/x"));
            client.put(&path, "application/octet-stream", "x").await.blames(&[field]);
        }
        client.put(&at("/content", "/x"), "text/plain", "x").await.refused(415, "ValidationError");
        client.put(&at("/archive", "/srv"), "application/gzip", "x").await.refused(415, "ValidationError");
        client.put("/containers/c/files/content", "application/octet-stream", "x").await.blames(&["path"]);
    })
    .await;
}
