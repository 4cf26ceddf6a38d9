//! Commands run inside a container.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{ALPINE, BUSYBOX, DEBIAN, STATIC, Site, Story};

#[tokio::test]
async fn exec_tells_how_a_command_went() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let exec = async |body: Value| client.post("/containers/c/exec", body).await.ok()["execution"].clone();

    let failed = exec(json!({"command": "echo out; sleep 0.5; echo err >&2; exit 7"})).await;
    assert_eq!((&failed["exit_code"], &failed["success"]), (&json!(7), &json!(false)));
    assert_eq!((&failed["stdout"], &failed["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!(failed["output"], "out\nerr\n");
    assert_eq!((&failed["truncated"], &failed["timed_out"]), (&json!(false), &json!(false)));
    assert!(failed["duration_ms"].as_u64().is_some_and(|ms| ms >= 500), "{failed}");

    assert_eq!(exec(json!({"command": "printf 'a\\377b\\000c'"})).await["output"], "a\u{fffd}b\0c");
    // Standard input is closed, so this ends.
    assert_eq!(exec(json!({"command": "cat; echo ended"})).await["output"], "ended\n");
    assert_eq!(exec(json!({"command": ["echo", "$HOME;", "x  y"]})).await["output"], "$HOME; x  y\n");
    assert_eq!(exec(json!({"command": "id -u", "user": "12:34"})).await["output"], "12\n");
    assert_eq!(exec(json!({"command": "nosuchprogram"})).await["exit_code"], 127, "the shell's own verdict");
    assert_eq!(exec(json!({"command": "exit 126"})).await["exit_code"], 126, "a code of one's own choice");
    // A megabyte less one byte is within the bound.
    let long = exec(json!({"command": "head -c 1048575 /dev/zero | tr '\\0' x"})).await;
    assert_eq!((long["output"].as_str().unwrap().len(), &long["truncated"]), (1_048_575, &json!(false)));

    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    client.post("/containers/c/exec", json!({"command": "true"})).await.refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn output_past_the_bound_is_cut() {
    let Story { client, .. } = &Story::at(Site::new().set("output.exec_bytes", 2000)).await;
    client.create_sleeping("c").await;
    let begun = Instant::now();
    let done = client.post("/containers/c/exec", json!({"command": "yes"})).await.ok()["execution"].clone();
    assert!(begun.elapsed() < Duration::from_secs(25));
    assert_eq!((&done["truncated"], &done["timed_out"]), (&json!(true), &json!(false)));
    assert_eq!((&done["success"], &done["exit_code"]), (&json!(false), &json!(-1)));
    assert_eq!(done["output"].as_str().unwrap(), "y\n".repeat(1000));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_answered_for() {
    // As long as a busy machine may take to begin it.
    let Story { client, .. } = &Story::at(Site::new().variable("REQUEST_TIMEOUT", "15")).await;
    client.create_sleeping("c").await;
    let begun = Instant::now();
    let body = json!({"command": "echo begun; sleep 60; echo never"});
    let done = client.post("/containers/c/exec", body).await.ok()["execution"].clone();
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert_eq!((&done["timed_out"], &done["output"]), (&json!(true), &json!("begun\n")));
    assert_eq!((&done["success"], &done["exit_code"]), (&json!(false), &json!(-1)));
    // The container is as good as before.
    assert_eq!(client.exec("c", json!("echo still here")).await, "still here\n");
}

/// Images with a shell.
const IMAGES: &[(&str, &str)] = &[("alpine", ALPINE), ("debian", DEBIAN), ("busybox", BUSYBOX)];

#[tokio::test]
async fn environment_directory_input_and_user_are_the_requests() {
    let Story { client, .. } = &Story::begin().await;
    for (name, image) in IMAGES {
        client
            .create_with(name, json!({"image": image, "environment": {"OURS": "container", "BOTH": "container"}}))
            .await;
        let body = json!({
            "command": "echo \"$OURS $BOTH $NEW\"; pwd; id -u; id -g; cat",
            "environment": {"BOTH": "exec", "NEW": "a=b  c\n"},
            "workdir": "/usr/bin",
            "user": "12:34",
            "stdin": "first\nzw\u{e4}i",
        });
        let done = client.post(&format!("/containers/{name}/exec"), body).await.ok()["execution"].clone();
        assert_eq!(done["output"], "container exec a=b  c\n\n/usr/bin\n12\n34\nfirst\nzw\u{e4}i", "{name}: {done}");
        assert_eq!((&done["supervised"], &done["exit_code"], &done["killed"]), (&json!(true), &json!(0), &json!(0)));
        // Input that nobody reads is no failure, and a lot of it is read as fast as the command likes.
        let long = "x".repeat(900_000);
        let body = json!({"command": "sleep 0.3; wc -c", "stdin": long});
        let done = client.post(&format!("/containers/{name}/exec"), body).await.ok()["execution"].clone();
        assert_eq!(done["output"].as_str().unwrap().trim(), "900000");
        let body = json!({"command": "exec <&-; echo done", "stdin": long});
        assert_eq!(client.post(&format!("/containers/{name}/exec"), body).await.ok()["execution"]["output"], "done\n");
    }
    client.create_with("static", json!({"image": STATIC, "command": ["/app"]})).await;
    // No shell is there, and none is needed.
    assert_eq!(client.exec("static", json!("/app echo a  b")).await, "a b\n");
    assert_eq!(client.exec("static", json!(["/app", "echo", "a  b"])).await, "a  b\n");
    client.post("/containers/static/exec", json!({"command": "/app echo $HOME"})).await.refused(400, "ValidationError");
}

#[tokio::test]
async fn what_cannot_be_started_is_told_with_its_reason() {
    let Story { client, .. } = &Story::begin().await;
    let message = async |container: &str, body: Value| {
        let answer = client.post(&format!("/containers/{container}/exec"), body).await;
        answer.refused(400, "ValidationError")["message"].as_str().unwrap().to_owned()
    };
    for (name, image) in IMAGES {
        client.create_with(name, json!({"image": image})).await;
        client.exec(name, json!("echo x > /tmp/text; chmod 755 /tmp/text; mkdir -m 700 /tmp/private")).await;
        for (body, words) in [
            (json!({"command": ["/no/such/program"]}), "was not found"),
            (json!({"command": ["nosuchprogram", "x"]}), "was not found"),
            (json!({"command": ["/etc/passwd/x"]}), "was not found"),
            (json!({"command": ["/etc/passwd"]}), "may not be executed"),
            (json!({"command": ["/tmp"]}), "may not be executed"),
            (json!({"command": ["/tmp/text"]}), "neither a program nor a script"),
            (json!({"command": "true", "workdir": "/no/such/directory"}), "no such working directory"),
            (json!({"command": "true", "workdir": "/etc/passwd"}), "no such working directory"),
            (json!({"command": "true", "workdir": "/tmp/private", "user": "1000"}), "may not be entered"),
            (json!({"command": "true", "user": "nobodyhere"}), "no such user"),
            (json!({"command": "true", "user": "root:nogrouphere"}), "no such group"),
            (json!({"command": "true", "user": "nobodyhere", "workdir": "/tmp"}), "no such user"),
        ] {
            let message = message(name, body.clone()).await;
            assert!(message.contains(words), "{name}: {body}: {message}");
        }
    }
    client.create_with("static", json!({"image": STATIC, "command": ["/app"]})).await;
    for command in [json!("ls"), json!("ls | wc"), json!(["/bin/sh"]), json!(["app"])] {
        let message = message("static", json!({"command": command})).await;
        assert!(message.contains("was not found"), "{command}: {message}");
    }
}

#[tokio::test]
async fn wrong_requests_are_told_all_that_is_wrong() {
    let story = &Story::at(Site::new().set("profiles.default.max_exec_seconds", 100)).await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let marker = crate::support::processes::marker();
    let run = format!("sleep {marker}");
    for (body, fields) in [
        (json!({"command": ""}), &["command"][..]),
        (json!({"command": ["true", "a\u{0}b"]}), &["command"]),
        (json!({"command": []}), &["command"]),
        (json!({"command": run, "user": "--help"}), &["user"]),
        (json!({"command": run, "timeout": 0}), &["timeout"]),
        (json!({"command": run, "timeout": -1}), &["timeout"]),
        (json!({"command": run, "timeout": 1e300}), &["timeout"]),
        (json!({"command": run, "timeout": "5"}), &["timeout"]),
        (json!({"command": run, "timeout": 100.5}), &["timeout"]),
        (json!({"command": run, "max_output": 0}), &["max_output"]),
        (json!({"command": run, "max_output": -1}), &["max_output"]),
        (json!({"command": run, "max_output": 1.5}), &["max_output"]),
        (json!({"command": run, "max_output": 100_000_000}), &["max_output"]),
        (json!({"command": run, "stdin": 5}), &["stdin"]),
        (
            json!({"command": run, "environment": {"A=B": "x", "*": "", "OK": "a\u{0}"}}),
            &["environment.A=B", "environment.*", "environment.OK"],
        ),
        (json!({"command": run, "environment": {"A": 1}}), &["environment.A"]),
        (json!({"command": run, "privileged": true}), &["privileged"]),
        (json!({"command": run, "workdir": "tmp", "user": "a b", "timeout": 0}), &["workdir", "user", "timeout"]),
    ] {
        client.post("/containers/c/exec", body.clone()).await.blames(fields);
    }
    for path in ["", ".", "tmp", "/tmp/", "/tmp/../etc", "//", "/a//b", "/\u{0}"] {
        client.post("/containers/c/exec", json!({"command": run, "workdir": path})).await.blames(&["workdir"]);
    }
    // The form is the same to everybody; the profile's bound is for whoever has the container.
    client.post("/containers/other/exec", json!({"command": run, "timeout": 0})).await.blames(&["timeout"]);
    client
        .post("/containers/other/exec", json!({"command": run, "timeout": 5000}))
        .await
        .refused(404, "PodmanAPIError");
    assert_eq!(crate::support::processes::alive(&marker), 0, "nothing of it was run");
}

#[tokio::test]
async fn a_command_has_its_own_time() {
    let site = Site::new().variable("REQUEST_TIMEOUT", "12").set("profiles.default.exec_seconds", 1);
    let Story { client, .. } = &Story::at(site).await;
    client.create_sleeping("c").await;
    let done = async |body: Value| client.post("/containers/c/exec", body).await.ok()["execution"].clone();
    // Longer than any operation may take, where it was asked for.
    let long = done(json!({"command": "sleep 15; echo done", "timeout": 60})).await;
    assert_eq!((&long["output"], &long["timed_out"]), (&json!("done\n"), &json!(false)));
    // Without, the profile's default, which is less.
    let short = done(json!({"command": "sleep 60"})).await;
    assert_eq!(short["timed_out"], true);
    assert!(short["duration_ms"].as_u64().unwrap() < 12_000, "not REQUEST_TIMEOUT: {short}");
}

#[tokio::test]
async fn a_tenant_has_its_own_time() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    let limits = ["--limit", "exec_seconds=1", "--limit", "max_exec_seconds=5"];
    story.site.run(&[&["tenant", "allow", &story.tenant.slug][..], &limits].concat(), "").succeeded();
    let exec = async |body: Value| client.post("/containers/c/exec", body).await;
    let short = exec(json!({"command": "sleep 60"})).await;
    assert_eq!(short.ok()["execution"]["timed_out"], true);
    let refused = exec(json!({"command": "true", "timeout": 6})).await;
    let refused = refused.refused(400, "ValidationError");
    assert!(refused["details"].to_string().contains("timeout"), "{refused}");
}
