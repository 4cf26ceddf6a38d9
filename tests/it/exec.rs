//! Commands run inside a container.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Site, Story};

#[tokio::test]
async fn exec_tells_how_a_command_went() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let exec = async |body: Value| client.post("/containers/c/exec", body).await.ok()["execution"].clone();

    let failed = exec(json!({"command": "echo out; sleep 0.3; echo err >&2; exit 7"})).await;
    assert_eq!((&failed["exit_code"], &failed["success"]), (&json!(7), &json!(false)));
    assert_eq!((&failed["stdout"], &failed["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!(failed["output"], "out\nerr\n");
    assert_eq!((&failed["truncated"], &failed["timed_out"]), (&json!(false), &json!(false)));
    assert!(failed["duration_ms"].as_u64().is_some_and(|ms| ms >= 300), "{failed}");

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

    let refused = [
        json!({"command": ["/no/such/program"]}),
        json!({"command": "true", "user": "nobodyhere"}),
        json!({"command": "true", "user": "root:nogrouphere"}),
        json!({"command": "true", "user": "--help"}),
        json!({"command": ""}),
        json!({"command": ["true", "a\u{0}b"]}),
    ];
    for body in refused {
        let answer = client.post("/containers/c/exec", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.refused(400, answer.json()["error"]["type"].as_str().unwrap());
    }
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    client.post("/containers/c/exec", json!({"command": "true"})).await.refused(409, "PodmanAPIError");
}

#[tokio::test]
async fn output_past_the_bound_is_cut() {
    let Story { client, .. } = &Story::at(Site::new().set("output.exec_bytes", 2000)).await;
    client.create_sleeping("c").await;
    let begun = Instant::now();
    let done = client.post("/containers/c/exec", json!({"command": "yes"})).await.ok()["execution"].clone();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!((&done["truncated"], &done["timed_out"]), (&json!(true), &json!(false)));
    assert_eq!((&done["success"], &done["exit_code"]), (&json!(false), &json!(-1)));
    assert_eq!(done["output"].as_str().unwrap(), "y\n".repeat(1000));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_answered_for() {
    let Story { client, .. } = &Story::at(Site::new().variable("REQUEST_TIMEOUT", "2")).await;
    client.create_sleeping("c").await;
    let begun = Instant::now();
    let body = json!({"command": "echo begun; sleep 60; echo never"});
    let done = client.post("/containers/c/exec", body).await.ok()["execution"].clone();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((&done["timed_out"], &done["output"]), (&json!(true), &json!("begun\n")));
    assert_eq!((&done["success"], &done["exit_code"]), (&json!(false), &json!(-1)));
    // The container is as good as before.
    assert_eq!(client.exec("c", json!("echo still here")).await, "still here\n");
}
