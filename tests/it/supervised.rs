//! A command ends, and with it all that it started, whatever it does and whoever goes away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine_down::{site_at, socket};
use crate::support::private::PrivatePodman;
use crate::support::processes::{alive, fork_bomb, marker, open_files, resident, with_word};
use crate::support::{ALPINE, Client, DEBIAN, Forwarder, Podman, STATIC, Site, Story, eventually};

/// Ways to have descendants who do not want to end. MARK is the time they sleep, and each has at least so many
/// processes with it.
const TREES: &[(&str, usize)] = &[
    ("sleep MARK", 1),
    ("trap '' TERM INT HUP; sleep MARK & sleep MARK", 2),
    ("setsid sleep MARK & (setsid sh -c 'trap \"\" TERM HUP; sleep MARK & sleep MARK' &) ; sleep MARK", 4),
    ("setsid sh -c '(setsid sh -c \"(setsid sleep MARK &)\" &)' >/dev/null 2>&1 </dev/null & sleep MARK", 2),
    ("sleep MARK & sleep MARK & kill -STOP $$; sleep MARK", 2),
];

async fn gone(marker: &str) {
    eventually("that nothing is left", || async { (alive(marker) == 0).then_some(()) }).await;
}

async fn there(marker: &str, count: usize) {
    eventually("that it runs", || async { (alive(marker) >= count).then_some(()) }).await;
}

async fn execute(client: &Client, container: &str, body: Value) -> Value {
    client.post(&format!("/containers/{container}/exec"), body).await.ok()["execution"].clone()
}

/// Runs a script with a marker, and gives that once so many processes have it.
async fn begin(client: &Client, container: &str, script: &str, count: usize) -> (tokio::net::TcpStream, String) {
    let marker = marker();
    let body = json!({"command": script.replace("MARK", &marker), "timeout": 300});
    let connection = client.send_only(&format!("/containers/{container}/exec"), &body).await;
    there(&marker, count).await;
    (connection, marker)
}

#[tokio::test]
async fn the_deadline_ends_all_of_it() {
    let Story { client, .. } = &Story::begin().await;
    for (name, image) in [("alpine", ALPINE), ("debian", DEBIAN)] {
        client.create_with(name, json!({"image": image})).await;
        for (script, count) in TREES {
            let marker = marker();
            let script = format!("echo begun; {}", script.replace("MARK", &marker));
            let done = execute(client, name, json!({"command": script, "timeout": 3})).await;
            assert_eq!(alive(&marker), 0, "{script}");
            assert_eq!((&done["timed_out"], &done["supervised"]), (&json!(true), &json!(true)), "{script}: {done}");
            assert_eq!((&done["output"], &done["exit_code"]), (&json!("begun\n"), &json!(-1)));
            assert!(done["killed"].as_u64().unwrap() >= *count as u64, "{script}: {done}");
        }
    }
    client.create_with("static", json!({"image": STATIC, "command": ["/app"]})).await;
    let marker = marker();
    let done = execute(client, "static", json!({"command": ["/app", "sleep", marker], "timeout": 0.5})).await;
    assert_eq!((&done["timed_out"], &done["supervised"], alive(&marker)), (&json!(true), &json!(true), 0));
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let marker = marker();
    let script = format!("setsid sleep {marker} & (setsid sleep {marker} &); echo done; exit 5");
    let done = execute(client, "c", json!({"command": script})).await;
    assert_eq!((&done["output"], &done["exit_code"]), (&json!("done\n"), &json!(5)));
    assert_eq!((&done["supervised"], &done["killed"], alive(&marker)), (&json!(true), &json!(2), 0));
    let done = execute(client, "c", json!({"command": "kill -SEGV $$"})).await;
    assert_eq!((&done["exit_code"], &done["killed"]), (&json!(139), &json!(0)));
}

#[tokio::test]
async fn a_caller_who_leaves_ends_all_of_it() {
    let Story { client, gateway, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    execute(client, "c", json!({"command": "true"})).await;
    let files = open_files(gateway.pid());
    for (script, count) in TREES {
        let (connection, marker) = begin(client, "c", script, *count).await;
        drop(connection);
        gone(&marker).await;
    }
    eventually("that no file is left open", || async { (open_files(gateway.pid()) <= files).then_some(()) }).await;
    assert_eq!(client.used().await["execs"], 0);
}

#[tokio::test]
async fn a_gateway_that_is_killed_ends_all_of_it() {
    let Story { client, gateway, site, .. } = Story::begin().await;
    client.create_sleeping("c").await;
    let mut running = Vec::new();
    for (script, count) in TREES {
        running.push(begin(&client, "c", script, *count).await);
    }
    // With SIGKILL.
    drop(gateway);
    for (_, marker) in &running {
        gone(marker).await;
    }
    drop(site);
}

#[tokio::test]
async fn a_connection_to_podman_that_is_cut_ends_all_of_it() {
    let (between, podman) = (socket(), Podman::of_the_tests());
    let forwarder = Forwarder::start(&between, &podman.socket);
    let Story { client, .. } = &Story::at(site_at(&between)).await;
    client.create_sleeping("c").await;
    for (script, count) in TREES {
        let (mut connection, marker) = begin(client, "c", script, *count).await;
        forwarder.turn_to(&podman.socket);
        gone(&marker).await;
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut connection, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer:?} is an answer");
    }
}

#[tokio::test]
async fn a_podman_that_is_killed_ends_all_of_it() {
    let podman = PrivatePodman::start();
    podman.import_alpine();
    let Story { client, .. } = &Story::at(Site::new().set("engine.url", &podman.url)).await;
    client.create_sleeping("c").await;
    let (script, count) = TREES[2];
    let (_connection, marker) = begin(client, "c", script, count).await;
    podman.kill_service();
    gone(&marker).await;
}

#[tokio::test]
async fn a_container_that_stops_ends_the_command() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let marker = marker();
    let running = tokio::spawn({
        let (client, command) = (client.clone(), format!("echo begun; sleep {marker}"));
        async move { client.post("/containers/c/exec", json!({"command": command, "timeout": 60})).await }
    });
    there(&marker, 1).await;
    client.post("/containers/c/stop?timeout=0", json!(null)).await.ok();
    let done = running.await.unwrap().ok()["execution"].clone();
    assert_eq!((&done["success"], &done["timed_out"]), (&json!(false), &json!(false)), "{done}");
    assert_eq!((&done["supervised"], &done["output"], alive(&marker)), (&json!(true), &json!("begun\n"), 0), "{done}");
}

#[tokio::test]
async fn a_fork_bomb_is_caught() {
    let Story { client, .. } = &Story::begin().await;
    for (name, image) in [("alpine", ALPINE), ("debian", DEBIAN)] {
        client.create_with(name, json!({"image": image, "limits": {"pids": 100, "cpus": 0.5}})).await;
        let marker = marker();
        let bomb = fork_bomb(&marker);
        let done = execute(client, name, json!({"command": bomb, "timeout": 2})).await;
        assert_eq!((&done["timed_out"], &done["supervised"]), (&json!(true), &json!(true)), "{done}");
        assert_eq!(alive(&marker), 0);
        // As good as new.
        assert_eq!(client.exec(name, json!("echo fine")).await, "fine\n");
        let (connection, marker) = begin(client, name, &bomb.replace(&marker, "MARK"), 10).await;
        drop(connection);
        gone(&marker).await;
        assert_eq!(client.exec(name, json!("echo fine")).await, "fine\n");
    }
}

#[tokio::test]
async fn endless_output_costs_no_memory() {
    let Story { client, gateway, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let said = |done: &Value| done["stdout"].as_str().unwrap().len() + done["stderr"].as_str().unwrap().len();
    // Each thread of the gateway keeps what it once needed, so what all of them need is there after some rounds.
    let mut before = 0;
    for _ in 0..3 {
        before = before.max(resident(gateway.pid()));
        for script in ["yes", "yes >&2", "yes & yes >&2", "cat /dev/zero | tr '\\0' x", "head -c 10737418240 /dev/zero"]
        {
            let marker = marker();
            let body = json!({"command": format!("sleep {marker} & {script}"), "max_output": 100_000});
            let done = execute(client, "c", body).await;
            assert_eq!((&done["truncated"], &done["timed_out"]), (&json!(true), &json!(false)), "{script}");
            assert_eq!((said(&done), &done["supervised"], alive(&marker)), (100_000, &json!(true), 0), "{script}");
        }
    }
    let grown = resident(gateway.pid()).saturating_sub(before);
    println!("the last round: {grown} bytes more");
    assert!(grown < 16 << 20, "{grown} bytes more");
    // Exactly as much as may be is not too much.
    let done = execute(client, "c", json!({"command": "printf abc; printf de >&2", "max_output": 5})).await;
    assert_eq!((&done["truncated"], &done["exit_code"], said(&done)), (&json!(false), &json!(0), 5));
    let done = execute(client, "c", json!({"command": "printf abcdef", "max_output": 5})).await;
    assert_eq!((&done["truncated"], &done["output"]), (&json!(true), &json!("abcde")));
}

/// Twenty run, eighty wait.
#[tokio::test]
async fn many_at_once_keep_to_themselves() {
    // Whoever waits for a place waits as long as the machine takes.
    let Story { client, .. } = &Story::at(Site::new().set("engine.request_timeout_seconds", 600)).await;
    client.create_sleeping("c").await;
    let all = (0..100).map(|number| {
        let client = client.clone();
        let body = json!({"command": format!("read line; echo $line; exit {}", number % 50), "stdin": format!("{number}\n"), "timeout": 60});
        tokio::spawn(async move { (number, client.post("/containers/c/exec", body).await) })
    });
    for one in all.collect::<Vec<_>>() {
        let (number, answer) = one.await.unwrap();
        let done = answer.ok()["execution"].clone();
        assert_eq!((&done["output"], &done["exit_code"]), (&json!(format!("{number}\n")), &json!(number % 50)));
    }
}

/// Timeouts, disconnects and plain ends, in batches: nothing of them is left.
#[tokio::test]
async fn many_rounds_leave_nothing() {
    let story = &Story::begin().await;
    let client = &story.client;
    client.create_sleeping("c").await;
    execute(client, "c", json!({"command": "true"})).await;
    let id = story.podman.containers(&story.tenant.slug).await[0].0.clone();
    let (files, marker) = (open_files(story.gateway.pid()), marker());
    for _ in 0..4 {
        let (script, _) = TREES[2];
        let script = script.replace("MARK", &marker);
        let mut ends = tokio::task::JoinSet::new();
        for number in 0..15 {
            let (client, script) = (client.clone(), script.clone());
            ends.spawn(async move {
                match number % 3 {
                    0 => drop(execute(&client, "c", json!({"command": script, "timeout": 0.3})).await),
                    1 => drop(execute(&client, "c", json!({"command": script + " & exit 1"})).await),
                    _ => {
                        let body = json!({"command": script, "timeout": 60});
                        let connection = client.send_only("/containers/c/exec", &body).await;
                        tokio::time::sleep(Duration::from_millis(rand::random::<u64>() % 400)).await;
                        drop(connection);
                    }
                }
            });
        }
        ends.join_all().await;
    }
    gone(&marker).await;
    // One conmon is the container's; those of commands stay for `exit_command_delay`, two seconds here.
    eventually("that Podman's monitors are gone", || async { (with_word(&id).len() <= 1).then_some(()) }).await;
    eventually("that no file is left open", || async { (open_files(story.gateway.pid()) <= files).then_some(()) })
        .await;
    let top = execute(client, "c", json!({"command": "ls -d /proc/[0-9]* | wc -l"})).await;
    assert!(top["output"].as_str().unwrap().trim().parse::<u32>().unwrap() <= 6, "{top}");
}

/// The agent is frozen with everything else: nothing is sure, and nobody waits for ever.
#[tokio::test]
async fn a_paused_container_does_not_hold_the_caller() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    let marker = marker();
    let running = tokio::spawn({
        let (client, command) = (client.clone(), format!("echo begun; sleep {marker}"));
        async move { client.post("/containers/c/exec", json!({"command": command, "timeout": 6})).await }
    });
    there(&marker, 1).await;
    client.post("/containers/c/pause", json!(null)).await.ok();
    let begun = Instant::now();
    let done = running.await.unwrap().ok()["execution"].clone();
    assert!(begun.elapsed() < Duration::from_secs(25));
    assert_eq!((&done["timed_out"], &done["supervised"]), (&json!(true), &json!(false)), "{done}");
    client.post("/containers/c/unpause", json!(null)).await.ok();
    gone(&marker).await;
}

/// Whoever is root in a container can kill its own agent: it learns that nothing was sure.
#[tokio::test]
async fn who_kills_the_agent_hurts_itself() {
    let Story { client, .. } = &Story::begin().await;
    client.create_sleeping("c").await;
    // Its last words may be lost with it.
    let answer = client.post("/containers/c/exec", json!({"command": "kill -9 $PPID; sleep 300", "timeout": 60})).await;
    if answer.status == 200 {
        let done = answer.ok()["execution"].clone();
        assert_eq!((&done["supervised"], &done["success"]), (&json!(false), &json!(false)), "{done}");
    } else {
        answer.refused(400, "ValidationError");
    }
    // Signals that can be ignored are.
    let done = execute(client, "c", json!({"command": "kill $PPID; kill -HUP $PPID; kill -INT $PPID; echo on"})).await;
    assert_eq!((&done["output"], &done["supervised"], &done["exit_code"]), (&json!("on\n"), &json!(true), &json!(0)));
    assert_eq!(client.exec("c", json!("echo fine")).await, "fine\n");
}
