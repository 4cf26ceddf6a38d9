//! Terminals: what is typed, what is said, and what a lost connection costs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::gateway::PASSWORD;
use crate::support::processes::{alive, marker};
use crate::support::websocket::streams;
use crate::support::{Client, Ledger, Peer, Site, Story, eventually};

const PATH: &str = "/containers/web/terminal";

impl Peer {
    /// The next text message; bytes before it are left out.
    async fn word(&mut self) -> Value {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => return serde_json::from_str(text.as_str()).unwrap(),
                Some(Message::Binary(_)) => {}
                other => panic!("{other:?}, not a word"),
            }
        }
    }

    async fn say(&mut self, word: Value) {
        use futures_util::SinkExt;
        self.0.send(Message::text(word.to_string())).await.expect("it is open");
    }

    /// All bytes up to the next text message, and that.
    async fn until_word(&mut self) -> (Vec<u8>, Value) {
        let mut said = Vec::new();
        loop {
            match self.next().await {
                Some(Message::Binary(bytes)) => said.extend_from_slice(&bytes[1..]),
                Some(Message::Text(text)) => return (said, serde_json::from_str(text.as_str()).unwrap()),
                other => panic!("{other:?}, not a word"),
            }
        }
    }
}

fn query(words: &[(&str, &str)]) -> String {
    let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(words).finish();
    format!("{PATH}?{pairs}")
}

/// Opens one; and what to come back with.
async fn open(client: &Client, words: &[(&str, &str)]) -> (Peer, String) {
    let mut peer = client.websocket(&query(words)).await;
    let session = peer.word().await;
    assert_eq!((&session["type"], &session["resumable_seconds"]), (&json!("session"), &json!(30)), "{session}");
    (peer, session["session"].as_str().unwrap().to_owned())
}

async fn web(client: &Client) {
    client.create_sleeping("web").await;
}

#[tokio::test]
async fn a_shell_has_a_terminal() {
    let story = Story::begin().await;
    let client = &story.client;
    web(client).await;
    let (mut peer, _) = open(client, &[("rows", "30"), ("columns", "100"), ("workdir", "/tmp")]).await;
    peer.send("\0tty; stty size; pwd; echo don\"\"e\r").await;
    let said = peer.hears(1, "done").await;
    assert!(said.contains("/dev/pts/") && said.contains("30 100") && said.contains("/tmp"), "{said}");
    peer.say(json!({"type": "resize", "rows": 50, "columns": 132})).await;
    peer.send("\0stty size; echo don\"\"e\r").await;
    let said = peer.hears(1, "done").await;
    assert!(said.contains("50 132"), "{said}");
    // Signals from the keyboard, and by name.
    for interrupt in [true, false] {
        peer.send("\0echo sta\"\"rted; sleep 300; echo \"code $?\"\r").await;
        peer.hears(1, "started").await;
        eventually("the sleep", || async {
            let top = client.get("/containers/web/top").await.ok()["top"]["processes"].to_string();
            top.contains("\"sleep 300\"").then_some(())
        })
        .await;
        if interrupt {
            peer.send("\0\x03").await;
        } else {
            peer.say(json!({"type": "signal", "signal": "SIGINT"})).await;
        }
        peer.send("\0echo b\"\"ack\r").await;
        peer.hears(1, "back").await;
    }
    peer.say(json!({"type": "ping"})).await;
    assert_eq!(peer.word().await, json!({"type": "pong"}));
    peer.send("\0exit 7\r").await;
    let exit = peer.word().await;
    assert_eq!((&exit["type"], &exit["exit_code"], &exit["supervised"]), (&json!("exit"), &json!(7), &json!(true)));
    assert_eq!(peer.closed().await.0, 1000);
    streams(client, 0).await;
    let entries = Ledger::of(&story.site).await.audited(0).await;
    let login = story.tenant.login("operator");
    assert_eq!(entries.last().unwrap().brief(), [login.as_str(), "openTerminal", "web", "success"]);
}

#[tokio::test]
async fn a_command_is_talked_to_over_pipes() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    let command = "cat; echo err >&2; exit 2";
    let (mut peer, _) = open(client, &[("command", command), ("tty", "false")]).await;
    peer.send(b"\0a\xff\x03b".to_vec()).await;
    assert_eq!(peer.next().await, Some(Message::binary(b"\x01a\xff\x03b".to_vec())));
    peer.say(json!({"type": "end"})).await;
    assert_eq!(peer.hears(2, "\n").await, "err\n");
    assert_eq!(peer.word().await["exit_code"], 2);
    assert_eq!(peer.closed().await, (1000, "the command ended".into()));

    for (words, field) in [
        ([("rows", "0")].as_slice(), "rows"),
        (&[("columns", "5000")], "columns"),
        (&[("tty", "maybe")], "tty"),
        (&[("workdir", "tmp")], "workdir"),
        (&[("user", "a b")], "user"),
        (&[("command", "")], "command"),
        (&[("seen", "1")], "seen"),
        (&[("x", "1")], "x"),
    ] {
        client.upgrade(&query(words), &[]).await.err().unwrap().blames(&[field]);
    }
    let missing = client.upgrade(&query(&[("command", "/no/such/program")]), &[]).await;
    match missing {
        // Through a shell, which is there.
        Ok(mut peer) => {
            peer.word().await;
            assert_eq!(peer.word().await["exit_code"], 127);
        }
        Err(answer) => panic!("{}", answer.text()),
    }
    client.upgrade(&query(&[("workdir", "/no/such")]), &[]).await.err().unwrap().refused(400, "ValidationError");
    client.upgrade(&query(&[("user", "nobody-here")]), &[]).await.err().unwrap().refused(400, "ValidationError");
    for wrong in
        ["{}", "x", "{\"type\": \"resize\", \"rows\": 0, \"columns\": 1}", "{\"type\": \"signal\", \"signal\": \"X\"}"]
    {
        let (mut peer, _) = open(client, &[]).await;
        use futures_util::SinkExt;
        peer.0.send(Message::text(wrong)).await.unwrap();
        assert_eq!(peer.closed().await.0, 1008, "{wrong}");
    }
    let (mut peer, _) = open(client, &[]).await;
    peer.send("\x01x").await;
    assert_eq!(peer.closed().await.0, 1008);
    client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    client.upgrade(PATH, &[]).await.err().unwrap().refused(409, "PodmanAPIError");
}

/// Cut at whatever moment, it goes on where it was.
#[tokio::test]
async fn a_lost_connection_loses_nothing() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    let command = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i of what is said; done; read x; echo got $x";
    let (mut peer, session) = open(client, &[("command", command), ("tty", "false")]).await;
    let mut said: Vec<u8> = Vec::new();
    let mut connections = 1;
    let expected: String = (1..=3000).map(|number| format!("line {number} of what is said\n")).collect();
    while said.len() < expected.len() {
        for _ in 0..1 + connections % 3 {
            match peer.next().await {
                Some(Message::Binary(bytes)) => said.extend_from_slice(&bytes[1..]),
                other => panic!("{other:?}"),
            }
            if said.len() >= expected.len() {
                break;
            }
        }
        drop(peer);
        peer = client.websocket(&query(&[("session", &session), ("seen", &said.len().to_string())])).await;
        let word = peer.word().await;
        assert_eq!((&word["session"], &word["offset"]), (&json!(session), &json!(said.len())));
        connections += 1;
    }
    println!("{connections} connections");
    assert!(connections > 3 && said == expected.as_bytes());
    streams(client, 1).await;
    // What is said while nobody is there comes as well, and the end of it.
    drop(peer);
    let mut peer = client.websocket(&query(&[("session", &session), ("seen", &said.len().to_string())])).await;
    peer.word().await;
    peer.send("\0more\n").await;
    assert_eq!(peer.hears(1, "\n").await, "got more\n");
    assert_eq!(peer.word().await["exit_code"], 0);
}

#[tokio::test]
async fn who_forgot_what_came_gets_what_is_kept_and_the_end_waits() {
    let story = Story::begin().await;
    let client = &story.client;
    web(client).await;
    let (mut peer, session) =
        open(client, &[("command", "echo early; read x; echo late; exit 5"), ("tty", "false")]).await;
    peer.hears(1, "early\n").await;
    peer.send("\0\n").await;
    drop(peer);
    streams(client, 0).await;
    let mut peer = client.websocket(&query(&[("session", &session)])).await;
    let word = peer.word().await;
    assert_eq!(word["offset"], 0);
    let (said, exit) = peer.until_word().await;
    assert_eq!((said.as_slice(), &exit["exit_code"]), (b"early\nlate\n".as_slice(), &json!(5)));
    peer.closed().await;
    // Nobody else's, and not twice as large as it is.
    let (mut peer, session) = open(client, &[]).await;
    let again = query(&[("session", &session)]);
    let far = query(&[("session", &session), ("seen", "1000000")]);
    client.upgrade(&far, &[]).await.err().unwrap().blames(&["seen"]);
    client.upgrade(&query(&[("session", "nonsense")]), &[]).await.err().unwrap().refused(404, "PodmanAPIError");
    story.site.account(&story.tenant.login("second"), "operator");
    let second = story.gateway.client(&story.site.token(&story.tenant.login("second")));
    second.upgrade(&again, &[]).await.err().unwrap().refused(404, "PodmanAPIError");
    client.create_sleeping("other").await;
    let other = again.replace("/web/", "/other/");
    client.upgrade(&other, &[]).await.err().unwrap().refused(404, "PodmanAPIError");
    let (_, stranger) = story.another();
    stranger.upgrade(&again, &[]).await.err().unwrap().refused(404, "PodmanAPIError");
    // Its own: the old connection ends.
    let mut taken = client.websocket(&again).await;
    taken.word().await;
    assert!(peer.closed().await.1.contains("took"));
    taken.send("\0echo he\"\"re\r").await;
    taken.hears(1, "here").await;
}

#[tokio::test]
async fn a_terminal_in_which_nobody_speaks_ends() {
    let Story { client, .. } = &Story::at(Site::new().set("terminals.idle_seconds", 5)).await;
    web(client).await;
    let mark = marker();
    let (mut peer, _) = open(client, &[("command", &format!("trap '' HUP TERM; sleep {mark}"))]).await;
    eventually("that it runs", || async { (alive(&mark) > 0).then_some(()) }).await;
    let (code, reason) = peer.closed().await;
    assert!(code == 1000 && reason.starts_with("idle"), "{code} {reason}");
    eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
}

#[tokio::test]
async fn whatever_ends_a_terminal_nothing_is_left() {
    let mut story = Story::begin().await;
    let client = &story.client;
    web(client).await;
    let endless = |mark: &str| format!("(setsid sleep {mark} &); trap '' HUP TERM; echo up; sleep {mark}");
    let begin = async |client: &Client, mark: &str| {
        let (mut peer, session) = open(client, &[("command", &endless(mark))]).await;
        peer.hears(1, "up").await;
        eventually("that it runs", || async { (alive(mark) > 0).then_some(()) }).await;
        (peer, session)
    };
    let nothing = async |mark: &str, within: u64| {
        let begun = Instant::now();
        eventually("nothing of it", || async { (alive(mark) == 0).then_some(()) }).await;
        assert!(begun.elapsed() < Duration::from_secs(within), "{:?}", begun.elapsed());
    };
    // It is closed.
    let mark = marker();
    let (peer, session) = begin(client, &mark).await;
    peer.leave().await;
    nothing(&mark, 20).await;
    client.upgrade(&query(&[("session", &session)]), &[]).await.err().unwrap().refused(404, "PodmanAPIError");
    // Who opened it is out, while connected or not.
    let login = story.tenant.login("operator");
    for connected in [true, false] {
        let signed = client.sign_in(&login, PASSWORD).await.ok();
        let theirs = client.with_token(signed["access_token"].as_str().unwrap());
        let mark = marker();
        let (mut peer, _) = begin(&theirs, &mark).await;
        theirs.post("/auth/logout", json!(null)).await.ok();
        if connected {
            assert_eq!(peer.closed().await.0, 1008);
        } else {
            drop(peer);
        }
        nothing(&mark, 20).await;
    }
    // The container stops under it.
    let mark = marker();
    let (mut peer, _) = begin(client, &mark).await;
    client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    assert_eq!(peer.word().await["type"], "exit");
    nothing(&mark, 20).await;
    client.post("/containers/web/start", json!(null)).await.ok();
    // The gateway ends.
    let mark = marker();
    let (mut peer, _) = begin(client, &mark).await;
    story.gateway.terminate();
    assert_eq!(peer.closed().await.0, 1001);
    assert!(story.gateway.ended().await.success());
    nothing(&mark, 20).await;
}

/// A connection that breaks without a word holds the terminal for half a minute, and no longer.
#[tokio::test]
async fn nobody_comes_back() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    let mark = marker();
    let (mut peer, _) = open(client, &[("command", &format!("echo up; sleep {mark}"))]).await;
    peer.hears(1, "up").await;
    let begun = Instant::now();
    drop(peer);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(alive(&mark) > 0, "it waits");
    eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
    assert!(begun.elapsed() >= Duration::from_secs(29), "{:?}", begun.elapsed());
    streams(client, 0).await;
}

/// A command that does not read holds up its input, and nothing else.
#[tokio::test]
async fn what_is_no_input_passes_input_that_waits() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    for end in ["SIGTERM", ""] {
        let mark = marker();
        let (mut peer, _) = open(client, &[("command", &format!("exec sleep {mark}")), ("tty", "false")]).await;
        eventually("that it runs", || async { (alive(&mark) > 0).then_some(()) }).await;
        // The pipe, the agent and the gateway take some; more than they did when orders stood behind it.
        for _ in 0..5 {
            peer.send([b"\0".as_slice(), &[b'x'; 50_000]].concat()).await;
        }
        peer.say(json!({"type": "ping"})).await;
        assert_eq!(peer.word().await, json!({"type": "pong"}));
        if end.is_empty() {
            peer.leave().await;
        } else {
            peer.say(json!({"type": "signal", "signal": end})).await;
            assert_eq!(peer.word().await["exit_code"], 128 + 15);
        }
        eventually("nothing of it", || async { (alive(&mark) == 0).then_some(()) }).await;
    }
    streams(client, 0).await;
}

/// On a terminal the end is a character, and the shell reads on behind it; a pipe is closed.
#[tokio::test]
async fn what_follows_the_end() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    let (mut peer, _) = open(client, &[]).await;
    peer.send("\0echo sta\"\"rted; cat; echo c\"\"at ended\r").await;
    peer.hears(1, "started").await;
    peer.send("\0line\r").await;
    peer.hears(1, "line\r\nline").await;
    peer.say(json!({"type": "end"})).await;
    peer.hears(1, "cat ended").await;
    peer.send("\0echo go\"\"es on\r").await;
    peer.hears(1, "goes on").await;
    peer.leave().await;
    let (mut peer, session) = open(client, &[("command", "cat; echo ended; sleep 300"), ("tty", "false")]).await;
    peer.say(json!({"type": "end"})).await;
    peer.hears(1, "ended").await;
    peer.say(json!({"type": "end"})).await;
    peer.send("\0more").await;
    assert_eq!(peer.closed().await, (1008, "nothing follows the end".into()));
    // The command is not ended by that.
    let mut peer = client.websocket(&query(&[("session", &session)])).await;
    peer.word().await;
    peer.hears(1, "ended").await;
    peer.send("\0more").await;
    assert_eq!(peer.closed().await.0, 1008);
    let peer = client.websocket(&query(&[("session", &session)])).await;
    peer.leave().await;
    streams(client, 0).await;
}

/// Word by word and from both sides in turn, so that none of it comes with the next.
#[tokio::test]
async fn many_short_pieces_come_through() {
    let Story { client, .. } = &Story::begin().await;
    web(client).await;
    let command = "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); printf .; usleep 500; printf , >&2; usleep 500; done";
    let (mut peer, _) = open(client, &[("command", command), ("tty", "false")]).await;
    let (said, exit) = peer.until_word().await;
    let of = |byte| said.iter().filter(|said| **said == byte).count();
    assert_eq!((of(b'.'), of(b','), &exit["exit_code"]), (1500, 1500, &json!(0)));
}

/// Much is pasted at once into something that says it all again.
#[tokio::test]
async fn much_goes_both_ways_in_little_memory() {
    let story = Story::begin().await;
    let client = &story.client;
    web(client).await;
    let before = story.gateway.resident_bytes();
    let (peer, _) = open(client, &[("command", "cat"), ("tty", "false")]).await;
    let pieces = 400;
    let piece = vec![b'x'; 50_000];
    use futures_util::{SinkExt, StreamExt};
    let (mut there, mut back) = peer.0.split();
    let talk = async {
        for _ in 0..pieces {
            there.send(Message::binary([b"\0".as_slice(), &piece].concat())).await.unwrap();
        }
    };
    let listen = async {
        // Late, and then as fast as it comes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (mut heard, mut most) = (0, 0);
        while heard < pieces * piece.len() {
            if let Message::Binary(bytes) = back.next().await.unwrap().unwrap() {
                heard += bytes.len() - 1;
            }
            most = most.max(story.gateway.resident_bytes());
        }
        most
    };
    let ((), most) = tokio::join!(talk, listen);
    let grown = most.saturating_sub(before);
    println!("20 MB both ways: {grown} bytes");
    assert!(grown < 16 << 20, "{grown} bytes");
}
