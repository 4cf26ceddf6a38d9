//! Both ends of one connection in memory, and a clock that runs ahead when nothing else does.

use std::future::pending;

use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::*;

type Peer = WebSocketStream<DuplexStream>;

/// A WebSocket whose connection holds this many bytes, served by this handler.
async fn begin<F: Future<Output = Close> + Send + 'static>(
    bytes: usize,
    ended: impl Future<Output = Ending> + Send + 'static,
    handler: impl FnOnce(Socket) -> F + Send + 'static,
) -> (Peer, JoinHandle<Option<Close>>) {
    let (ours, theirs) = tokio::io::duplex(bytes);
    let served = tokio::spawn(serve(ours, ended, handler));
    (WebSocketStream::from_raw_socket(theirs, Role::Client, None).await, served)
}

/// Sends back what comes.
async fn echo(mut socket: Socket) -> Close {
    while let Some(message) = socket.receiver.next().await {
        if socket.sender.send(message).await.is_err() {
            break;
        }
    }
    Close::done("echoed")
}

/// The close frame that comes, whatever comes before it.
async fn closed(peer: &mut Peer) -> Option<(u16, String)> {
    while let Some(Ok(frame)) = peer.next().await {
        if let Frame::Close(frame) = frame {
            return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
        }
    }
    None
}

#[tokio::test]
async fn messages_come_back_and_a_close_is_answered() {
    let (mut peer, served) = begin(1024, pending(), echo).await;
    for message in [Frame::text("a"), Frame::binary(vec![0; 5000]), Frame::text("")] {
        peer.send(message.clone()).await.unwrap();
        assert_eq!(peer.next().await.unwrap().unwrap(), message);
    }
    peer.close(None).await.unwrap();
    assert!(closed(&mut peer).await.is_none(), "the answer has no code, as ours had none");
    assert_eq!(served.await.unwrap(), Some(Close::done("echoed")));
}

#[tokio::test]
async fn what_is_too_large_or_broken_is_told() {
    let (mut peer, _served) = begin(1 << 20, pending(), echo).await;
    peer.send(Frame::binary(vec![0; MAX_MESSAGE + 1])).await.unwrap();
    assert_eq!(closed(&mut peer).await.unwrap().0, 1009);
    let (mut peer, _served) = begin(1 << 20, pending(), echo).await;
    tokio::io::AsyncWriteExt::write_all(peer.get_mut(), &[0xff; 16]).await.unwrap();
    assert_eq!(closed(&mut peer).await.unwrap().0, 1002);
}

#[tokio::test]
async fn an_end_from_outside_says_why() {
    for (ending, code, word) in [(Ending::Revoked, 1008, "revoked"), (Ending::Draining, 1001, "draining")] {
        let (mut peer, served) = begin(1024, std::future::ready(ending), |_| pending()).await;
        let (told, reason) = closed(&mut peer).await.unwrap();
        assert!(told == code && reason.starts_with(word), "{told} {reason}");
        drop(peer);
        served.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays() {
    let (mut peer, served) = begin(1024, pending(), echo).await;
    let begun = Instant::now();
    let mut pings = 0;
    while begun.elapsed() < Duration::from_secs(300) {
        // Reading answers.
        if let Ok(frame) = timeout(Duration::from_secs(5), peer.next()).await {
            assert!(frame.unwrap().unwrap().is_ping());
            pings += 1;
        }
    }
    assert!((13..=16).contains(&pings) && !served.is_finished(), "{pings}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_is_given_up() {
    let begun = Instant::now();
    let (_peer, served) = begin(1024, pending(), echo).await;
    assert_eq!(served.await.unwrap(), None);
    assert!((60..=100).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_holds_the_sender_up_and_is_given_up() {
    let sent = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&sent);
    let flood = async move |socket: Socket| {
        while socket.sender.send(Message::Binary(vec![0; 1000].into())).await.is_ok() {
            *counted.lock().unwrap() += 1;
        }
        Close::done("")
    };
    let (_peer, served) = begin(10_000, pending(), flood).await;
    assert_eq!(served.await.unwrap(), None);
    assert!(*sent.lock().unwrap() <= 10, "no more than the connection holds");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_read_blames_nobody() {
    let slow = async |mut socket: Socket| {
        sleep(Duration::from_secs(300)).await;
        match socket.receiver.next().await {
            Some(Message::Text(text)) => Close::done(text),
            _ => Close::failed("nothing"),
        }
    };
    let (mut peer, served) = begin(1024, pending(), slow).await;
    peer.send(Frame::text("late")).await.unwrap();
    assert_eq!(closed(&mut peer).await, Some((1000, "late".to_owned())));
    assert!(served.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_shows_though_nobody_reads() {
    let begun = Instant::now();
    let (peer, served) = begin(1024, pending(), |_| pending()).await;
    drop(peer);
    assert_eq!(served.await.unwrap(), None);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
