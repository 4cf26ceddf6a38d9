use super::*;
use crate::protocol::{Decoder, Frame};
use proptest::prelude::*;

fn info(kind: Kind) -> Info {
    let time = Time { seconds: -1, nanoseconds: 999_999_999 };
    let version = Version { inode: 1, size: u64::MAX, modified: time, changed: time };
    Info { kind, mode: 0o7777, owner: Owner { user: 1, group: 2 }, version, target: vec![0xff, b'/'] }
}

fn asks() -> Vec<Ask> {
    let write = |expect| Ask::Write(Write { path: b"/a".into(), mode: Some(0o600), owner: None, expect, token: 7 });
    vec![
        Ask::Look { path: b"/".into(), follow: true },
        Ask::List { path: b"/".into(), after: Some(vec![0xfe]), limit: 3 },
        Ask::List { path: b"/".into(), after: None, limit: 3 },
        Ask::Open { path: b"/a".into() },
        Ask::Read { from: 1, length: u64::MAX },
        write(Expect::Anything),
        write(Expect::Nothing),
        write(Expect::Version(info(Kind::File).version)),
        Ask::Remove { path: b"/a".into(), recursive: false },
        Ask::MakeDirectory { path: b"/a".into(), parents: true, mode: 0o755, owner: Owner::ROOT },
        Ask::Move { from: b"/a".into(), to: b"/b".into(), replace: true, token: 1 },
        Ask::Pack { path: b"/".into() },
        Ask::Unpack { path: b"/".into(), token: 1 },
        Ask::Entry(Entry { name: b"a/b".into(), info: info(Kind::HardLink) }),
        Ask::Data(vec![0; FILES_CHUNK]),
        Ask::Finish,
        Ask::Forget,
        Ask::Heard,
        Ask::Measure { path: b"/".into(), within_ms: 1 },
    ]
}

fn tells() -> Vec<Tell> {
    let mut all = vec![
        Tell::Ready(FILES_VERSION),
        Tell::Info(info(Kind::Directory), true),
        Tell::Entry(Entry { name: vec![0xff], info: info(Kind::Link) }),
        Tell::Data(vec![1]),
        Tell::Done(9),
        Tell::Busy,
        Tell::Measured(9, false),
    ];
    all.extend(Reason::ALL.map(|reason| Tell::Refused(Refusal { reason, errno: 5 })));
    all
}

fn round<F: Frame + Clone + PartialEq + std::fmt::Debug>(said: Vec<F>) {
    let mut bytes = Vec::new();
    said.iter().for_each(|frame| frame.encode(&mut bytes));
    for piece in [1, 1000, bytes.len()] {
        let mut decoder = Decoder::<F>::default();
        let mut heard = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            while let Some(frame) = decoder.next().unwrap() {
                heard.push(frame);
            }
        }
        assert_eq!(heard, said);
    }
}

#[test]
fn what_is_said_is_heard_however_it_is_cut() {
    round(asks());
    round(tells());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes: Vec<u8>, kind: u8) {
        let frame = [&[kind, 0, 0, 0, u8::try_from(bytes.len()).unwrap_or(255)], bytes.as_slice()].concat();
        let mut asks = Decoder::<Ask>::default();
        asks.push(&frame);
        while let Ok(Some(_)) = asks.next() {}
        let mut tells = Decoder::<Tell>::default();
        tells.push(&frame);
        while let Ok(Some(_)) = tells.next() {}
    }
}
