//! Commands, streams and terminals, whatever the image has: a large one, and one with a single program.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::processes::{alive, marker};
use crate::support::websocket::streams;
use crate::support::{Client, DEBIAN, Peer, STATIC, Story, eventually};

fn terminal(name: &str, words: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(words).finish();
    format!("/containers/{name}/terminal?{query}")
}

/// Everything that it says, and its last word.
async fn all(mut peer: Peer) -> (String, Value) {
    let mut said = String::new();
    loop {
        match peer.next().await {
            Some(Message::Binary(bytes)) => said += &String::from_utf8_lossy(&bytes[1..]),
            Some(Message::Text(word)) => {
                let word: Value = serde_json::from_str(&word).unwrap();
                if word["type"] == "exit" {
                    return (said, word);
                }
            }
            other => panic!("{other:?} after {said}"),
        }
    }
}

async fn execute(client: &Client, name: &str, body: Value) -> Value {
    client.post(&format!("/containers/{name}/exec"), body).await.ok()["execution"].clone()
}

#[tokio::test]
async fn debian_has_a_shell_with_all_that_belongs_to_it() {
    let Story { client, .. } = &Story::begin().await;
    client.create_with("c", json!({"image": DEBIAN})).await;
    let mut peer = client.websocket(&terminal("c", &[("rows", "40"), ("columns", "120"), ("user", "nobody")])).await;
    peer.next().await;
    peer.send("\0stty size; id -un; echo $0 $((6*7)); sleep 300 & jobs; echo do\"\"ne\r").await;
    let said = peer.hears(1, "done").await;
    for words in ["40 120", "nobody", "bash 42", "[1]+  Running"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Job control works: the terminal is its own.
    // What comes while the shell still reads the line would be the shell's.
    peer.send("\0echo re\"\"ady; cat\r").await;
    peer.hears(1, "ready").await;
    // The terminal says it, and then cat does.
    peer.send("\0again\r").await;
    peer.hears(1, "again\r\nagain").await;
    peer.send("\0\x1a").await;
    peer.hears(1, "Stopped").await;
    peer.send("\0exit\r").await;
    peer.send("\0exit\r").await;
    let (_, exit) = all(peer).await;
    assert!(exit["supervised"] == true && exit["killed"].as_u64() >= Some(1), "{exit}");

    // Bytes of every kind, on both outputs, in order.
    let script = "printf '\\377\\000\\303'; printf '\\251' ; printf 'e' >&2; printf '\\342\\202\\254'";
    let done = execute(client, "c", json!({"command": ["bash", "-c", script]})).await;
    assert_eq!((&done["stdout"], &done["stderr"]), (&json!("\u{fffd}\0é€"), &json!("e")));
    let mark = marker();
    let script = format!("trap '' TERM HUP; setsid -f sleep {mark}; (setsid sleep {mark} &); exec -a x sleep {mark}");
    let body = json!({"command": ["bash", "-c", script], "timeout": 1.5});
    let stream = client.post_events("/containers/c/exec/stream", body).await;
    let exit = stream.ok().unwrap().until("exit").await.pop().unwrap().data;
    assert_eq!((&exit["timed_out"], &exit["supervised"], alive(&mark)), (&json!(true), &json!(true), 0), "{exit}");
    streams(client, 0).await;
}

#[tokio::test]
async fn no_shell_is_needed() {
    let Story { client, .. } = &Story::begin().await;
    client.create_with("c", json!({"image": STATIC, "command": ["/app"]})).await;
    // A string without metacharacters is words where there is no shell.
    for tty in ["true", "false"] {
        let (said, exit) =
            all(client.websocket(&terminal("c", &[("command", "/app echo a b"), ("tty", tty)])).await).await;
        assert_eq!(
            (said.trim_end(), &exit["exit_code"], &exit["supervised"]),
            ("a b", &json!(0), &json!(true)),
            "{exit}"
        );
    }
    for command in ["/app echo a | cat", ""] {
        let words: &[(&str, &str)] = if command.is_empty() { &[] } else { &[("command", command)] };
        let refused = client.upgrade(&terminal("c", words), &[]).await.err().unwrap();
        let said = refused.refused(400, "ValidationError");
        assert!(said.to_string().contains("was not found"), "{said}");
    }
    let stream = async |body: Value| client.post_events("/containers/c/exec/stream", body).await;
    let mut events = stream(json!({"command": "/app exit 3"})).await.ok().unwrap().until("exit").await;
    assert_eq!(events.pop().unwrap().data["exit_code"], 3);
    stream(json!({"command": "cat /etc/passwd"})).await.err().unwrap().refused(400, "ValidationError");
    assert_eq!(execute(client, "c", json!({"command": "/app exit 9"})).await["exit_code"], 9);
    // Leaving ends it here as everywhere, without a program of the image's.
    let mark = marker();
    let peer = client.websocket(&terminal("c", &[("command", &format!("/app sleep {mark}"))])).await;
    let watched = stream(json!({"command": ["/app", "sleep", mark]})).await.ok().unwrap();
    eventually("that both run", || async { (alive(&mark) == 2).then_some(()) }).await;
    peer.leave().await;
    drop(watched);
    eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
    // Its files are as reachable as any.
    client.post("/containers/c/files", json!({"dest_path": "/made", "content": "x\n"})).await.ok();
    assert_eq!(execute(client, "c", json!({"command": "/app cat /made"})).await["output"], "x\n");
    streams(client, 0).await;
}
