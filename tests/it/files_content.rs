//! Files as they are: read and written whatever their size, in running and in stopped containers.

use serde_json::{Value, json};

use crate::support::client::whole;
use crate::support::files::{BYTES, at, content};
use crate::support::{Client, Story, eventually};

/// A container `c` of each image, running and stopped.
async fn everywhere(client: &Client, story: impl AsyncFn(&str, bool)) {
    for (image, command) in [("alpine", json!("sleep 300")), ("debian", json!("sleep 300")), ("static", json!(null))] {
        for start in [true, false] {
            client.create(json!({"image": image, "name": "c", "command": command, "start": start})).await;
            story(image, start).await;
            client.delete("/containers/c?force=true").await.ok();
        }
    }
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_written() {
    let Story { client, .. } = &Story::begin().await;
    everywhere(client, async |image, start| {
        let what = format!("{image}, running: {start}");
        let path = "/ä file?&#%.bin";
        let bytes = content(3_000_000);
        let written = client.write_file(path, &[], bytes.clone()).await.ok()["file"].clone();
        assert_eq!((&written["path"], &written["created"]), (&json!(path), &json!(true)), "{what}");
        assert_eq!(written["size"], 3_000_000, "{what}");
        let back = client.read_file(path, &[]).await;
        assert_eq!((back.status, back.header("content-type")), (200, Some(BYTES)), "{what}: {:.300}", back.text());
        assert!(back.body == bytes, "{what}");
        assert_eq!(back.header("etag"), written["etag"].as_str());
        assert_eq!(back.header("content-length"), Some("3000000"));

        let info = client.file_info(path).await;
        let expected = json!({
            "name": &path[1..], "type": "file", "size": 3_000_000, "mode": "0644", "uid": 0, "gid": 0,
            "modified": info["modified"],
        });
        assert_eq!(info, expected, "{what}");
        // With mode and owner; the next one has them too.
        let with = format!("{}&mode=4751&owner=1000:50", at("/content", path));
        assert_eq!(client.put(&with, BYTES, "short").await.ok()["file"]["created"], false);
        client.write_file(path, &[], "shorter").await.ok();
        let info = client.file_info(path).await;
        assert_eq!((&info["mode"], &info["uid"], &info["gid"]), (&json!("4751"), &json!(1000), &json!(50)), "{what}");
        assert_eq!(client.read_file(path, &[]).await.text(), "shorter", "{what}");
        client.put(&format!("{}&owner=65535", at("/content", path)), BYTES, "").await.ok();
        let info = client.file_info(path).await;
        assert_eq!((&info["size"], &info["uid"], &info["gid"]), (&json!(0), &json!(65_535), &json!(65_535)), "{what}");
    })
    .await;
}

#[tokio::test]
async fn what_is_written_is_what_the_container_sees() {
    let Story { client, podman, site, tenant, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    client.write_file("/tmp/in", &[], "from outside\n").await.ok();
    assert_eq!(
        client.exec("c", json!("cat /tmp/in; echo from inside > /tmp/out; ln -s out /tmp/link")).await,
        "from outside\n"
    );
    assert_eq!(client.read_file("/tmp/link", &[]).await.text(), "from inside\n");
    client.write_file("/tmp/link", &[], "through a link\n").await.ok();
    assert_eq!(client.exec("c", json!("test -L /tmp/link && cat /tmp/out")).await, "through a link\n");
    // In memory, where no disk has it, and what Podman puts there.
    client.write_file("/dev/shm/x", &[], "in memory").await.ok();
    assert_eq!(client.exec("c", json!("cat /dev/shm/x")).await, "in memory");
    assert!(client.read_file("/etc/hosts", &[]).await.text().contains("localhost"));

    // Paused, it is frozen; its files are not.
    client.post("/containers/c/pause", json!(null)).await.ok();
    client.write_file("/tmp/in", &[], "while paused").await.ok();
    assert_eq!(client.read_file("/tmp/in", &[]).await.text(), "while paused");
    client.post("/containers/c/unpause", json!(null)).await.ok();
    assert_eq!(client.exec("c", json!("cat /tmp/in")).await, "while paused");

    // Stopped and started again.
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    client.write_file("/tmp/in", &[], "while stopped").await.ok();
    client.post("/containers/c/start", json!(null)).await.ok();
    assert_eq!(client.exec("c", json!("cat /tmp/in")).await, "while stopped");
    let installation = crate::support::Ledger::at(&site.database()).await.unwrap().installation().await.unwrap();
    eventually("visitors are gone", || async { podman.visitors(&installation).await.is_empty().then_some(()) }).await;
    let (id, _) = podman.containers(&tenant.slug).await.remove(0);
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    eventually("nothing is mounted", || async {
        podman.inspect(&id).await["GraphDriver"]["Data"]["MergedDir"].is_null().then_some(())
    })
    .await;
}

#[tokio::test]
async fn volumes_are_part_of_it() {
    let Story { client, .. } = &Story::begin().await;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    let body =
        json!({"image": "alpine", "name": "c", "command": "sleep 300", "volumes": {"data": "/data"}, "start": false});
    client.create(body).await;
    // Before it ever ran, while it runs, and after.
    client.write_file("/data/before", &[], "1").await.ok();
    client.post("/containers/c/start", json!(null)).await.ok();
    assert_eq!(client.exec("c", json!("cat /data/before; echo 2 > /data/inside")).await, "1");
    client.write_file("/data/while", &[], "3").await.ok();
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    assert_eq!(client.names("/data").await, ["before", "inside", "while"]);
    client.write_file("/data/after", &[], "4").await.ok();
    // A directory on another file system is copied, and seen when it is whole.
    client.post("/containers/c/files/directories", json!({"path": "/srv/a/b", "parents": true})).await.ok();
    client.write_file("/srv/a/b/file", &[], "moved").await.ok();
    let moved = json!({"source": "/srv/a", "destination": "/data/a"});
    client.post("/containers/c/files/move", moved).await.ok();
    assert_eq!(client.names("/srv").await, [""; 0]);
    assert_eq!(client.read_file("/data/a/b/file", &[]).await.text(), "moved");
    // What is mounted stays.
    client.delete(&format!("{}&recursive=true", at("", "/data"))).await.refused(409, "PodmanAPIError");
    assert_eq!(client.names("/data").await, ["a", "after", "before", "inside", "while"]);
    client.delete("/containers/c?force=true").await.ok();
    client.delete("/volumes/data").await.ok();
}

/// The first to mount a volume makes it as the image's directory there is, and who only looks is not the first.
#[tokio::test]
async fn who_looks_at_a_fresh_volume_leaves_it_fresh() {
    let Story { client, .. } = &Story::begin().await;
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.create_with("c", json!({"volumes": {"data": "/var/tmp"}, "start": false})).await;
    assert_eq!(client.names("/var/tmp").await, [""; 0]);
    client.post("/containers/c/start", json!(null)).await.ok();
    assert_eq!(client.exec("c", json!("stat -c %a /var/tmp")).await, "1777\n");
    client.delete("/containers/c?force=true").await.ok();
    client.delete("/volumes/data").await.ok();
}

#[tokio::test]
async fn a_part_is_read_and_what_is_known_is_not() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let bytes = content(100_000);
    let tag = client.write_file("/x", &[], bytes.clone()).await.ok()["file"]["etag"].as_str().unwrap().to_owned();
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=99990-", 99_990, 99_999),
        ("bytes=-7", 99_993, 99_999),
        ("bytes=5-999999", 5, 99_999),
    ] {
        let part = client.read_file("/x", &[("range", range)]).await;
        assert_eq!((part.status, part.header("content-range")), (206, Some(&*format!("bytes {from}-{to}/100000"))));
        assert!(part.body == bytes[from..=to], "{range}");
        assert_eq!((part.header("etag"), part.header("accept-ranges")), (Some(&*tag), Some("bytes")));
    }
    for whole in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-1", "x"] {
        assert_eq!(client.read_file("/x", &[("range", whole)]).await.status, 200, "{whole}");
    }
    let outside = client.read_file("/x", &[("range", "bytes=100000-")]).await;
    outside.refused(416, "ValidationError");
    assert_eq!(outside.header("content-range"), Some("bytes */100000"));

    let known = client.read_file("/x", &[("if-none-match", &format!("\"other\", W/{tag}"))]).await;
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, Some(&*tag), 0));
    assert_eq!(client.read_file("/x", &[("if-none-match", "\"other\"")]).await.status, 200);
    assert_eq!(client.read_file("/x", &[("if-match", &tag)]).await.status, 200);
    client.read_file("/x", &[("if-match", "\"other\"")]).await.refused(412, "PodmanAPIError");
    client.read_file("/x", &[("if-match", "other")]).await.blames(&["If-Match"]);
    let resumed = [("range", "bytes=5-"), ("if-range", &*tag)];
    assert_eq!(client.read_file("/x", &resumed).await.status, 206);
    client.exec("c", json!("echo changed >> /x")).await;
    assert_eq!(client.read_file("/x", &resumed).await.status, 200, "another file: all of it");
    assert_eq!(client.read_file("/x", &[("if-none-match", &tag)]).await.status, 200);
}

/// As `curl -C` has it: taken for the whole, the rest of a file would take its place.
#[tokio::test]
async fn a_part_of_a_file_is_not_taken_for_it() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    client.write_file("/x", &[], "0123456789").await.ok();
    let rest = [("content-range", "bytes 4-9/10")];
    client.write_file("/x", &rest, "456789").await.blames(&["Content-Range"]);
    assert_eq!(client.read_file("/x", &[]).await.text(), "0123456789");
    let archive = client.request("PUT", &at("/archive", "/tmp")).header("content-type", "application/x-tar");
    let archive = archive.header("content-range", "bytes 512-1023/1024");
    client.send(archive.body(whole(vec![0; 512])).unwrap()).await.blames(&["Content-Range"]);
    let json = client.request("POST", "/containers/c/exec").header("content-type", "application/json");
    let json = json.header("content-range", "bytes 0-1/2").body(whole("{}")).unwrap();
    client.send(json).await.blames(&["Content-Range"]);
}

/// Who makes a change depend on something relies on it: where that is not heard, nothing is changed.
#[tokio::test]
async fn a_condition_is_heard_or_refused() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let add = async |content: &str, name: &str, value: &str| {
        let request = client.request("POST", "/containers/c/files").header("content-type", "application/json");
        let body = json!({"dest_path": "/x", "content": content}).to_string();
        client.send(request.header(name, value).body(whole(body)).unwrap()).await
    };
    add("none", "if-match", "*").await.refused(412, "PodmanAPIError");
    add("1", "if-none-match", "*").await.ok();
    let there = add("2", "if-none-match", "*").await.refused(412, "PodmanAPIError");
    assert_eq!(there["message"], "there is a file already");
    add("2", "if-match", "\"other\"").await.refused(412, "PodmanAPIError");
    add("2", "if-match", "other").await.blames(&["If-Match"]);
    let tag = client.get(&at("/info", "/x")).await.ok()["file"]["etag"].as_str().unwrap().to_owned();
    add("3", "if-match", &tag).await.ok();
    add("4", "if-match", &tag).await.refused(412, "PodmanAPIError");
    assert_eq!(client.read_file("/x", &[]).await.text(), "3");

    let moved = json!({"source": "/x", "destination": "/y"});
    for (method, path, body) in [
        ("DELETE", at("", "/x"), None),
        ("POST", "/containers/c/files/move".into(), Some(moved)),
        ("POST", "/containers/c/stop".into(), None),
        ("DELETE", "/containers/c?force=true".into(), None),
    ] {
        for name in ["If-Match", "If-None-Match", "If-Unmodified-Since"] {
            let request = client.request(method, &path).header("content-type", "application/json").header(name, "*");
            let body = body.as_ref().map(ToString::to_string).unwrap_or_default();
            let answer = client.send(request.body(whole(body)).unwrap()).await;
            answer.blames(&[name]);
        }
    }
    let since = [("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT")];
    client.write_file("/x", &since, "5").await.blames(&["If-Unmodified-Since"]);
    assert_eq!(client.read_file("/x", &[]).await.text(), "3");
    assert_eq!(client.status("c").await, "running");
}

#[tokio::test]
async fn a_file_is_replaced_only_if_it_is_the_one() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let etag = |answer: &Value| answer["file"]["etag"].as_str().unwrap().to_owned();
    let written = client.write_file("/x", &[("if-none-match", "*")], "1").await;
    let first = etag(&written.ok());
    assert_eq!(written.header("etag"), Some(&*first));
    let there = client.write_file("/x", &[("if-none-match", "*")], "2").await.refused(412, "PodmanAPIError");
    assert_eq!(there["message"], "there is a file already");
    let second = etag(&client.write_file("/x", &[("if-match", &first)], "3").await.ok());
    client.write_file("/x", &[("if-match", &first)], "4").await.refused(412, "PodmanAPIError");
    client.write_file("/none", &[("if-match", "*")], "5").await.refused(412, "PodmanAPIError");
    client.write_file("/x", &[("if-none-match", &second)], "6").await.refused(412, "PodmanAPIError");
    // A condition that is not understood is not none, and one in two lines is one.
    client.write_file("/x", &[("if-match", "\u{84}")], "6").await.blames(&["If-Match"]);
    client.write_file("/x", &[("if-match", "")], "6").await.refused(412, "PodmanAPIError");
    let two = [("if-none-match", "\"other\""), ("if-none-match", &*second)];
    client.write_file("/x", &two, "6").await.refused(412, "PodmanAPIError");
    client.write_file("/x", &[("if-match", "*"), ("if-none-match", &first)], "7").await.ok();
    assert_eq!(client.read_file("/x", &[]).await.text(), "7");
    // Of two who both know the same, one is first.
    let known = client.get(&at("/info", "/x")).await.ok()["file"]["etag"].as_str().unwrap().to_owned();
    let conditions = [("if-match", &*known)];
    let put = |text: &'static str| client.write_file("/x", &conditions, text);
    let (one, other) = tokio::join!(put("one"), put("other"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    assert_eq!(client.read_file("/x", &[]).await.text(), if one.status == 200 { "one" } else { "other" });
}
