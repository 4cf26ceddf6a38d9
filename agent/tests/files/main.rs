//! The agent's own tests of files: the program in a directory that it takes for the root, and its conversation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod measure;

use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use podgate_agent::protocol::files::{
    Ask, Entry, Expect, FILES_CHUNK, FILES_VERSION, Info, Kind, Owner, Reason, Refusal, Tell, Time, Version, Write,
};
use podgate_agent::protocol::{Decoder, Frame};

/// A directory of its own, and the agent in it.
struct Scene {
    root: PathBuf,
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    heard: Decoder<Tell>,
}

impl Scene {
    fn begin(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_agent"))
            .arg("files")
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut scene = Self { root, child, input, output, heard: Decoder::default() };
        assert_eq!(scene.hear(), Tell::Ready(FILES_VERSION));
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn say(&mut self, ask: &Ask) {
        let mut bytes = Vec::new();
        ask.encode(&mut bytes);
        self.input.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    fn hear(&mut self) -> Tell {
        loop {
            if let Some(tell) = self.heard.next().unwrap() {
                if tell != Tell::Busy {
                    return tell;
                }
                continue;
            }
            let mut bytes = vec![0; FILES_CHUNK];
            let count = self.output.read(&mut bytes).unwrap();
            assert!(count > 0, "the agent ended");
            self.heard.push(&bytes[..count]);
        }
    }

    fn ask(&mut self, ask: &Ask) -> Tell {
        self.say(ask);
        self.hear()
    }

    #[track_caller]
    fn refused(&mut self, ask: &Ask) -> Reason {
        match self.ask(ask) {
            Tell::Refused(Refusal { reason, .. }) => reason,
            other => panic!("{ask:?}: {other:?}"),
        }
    }

    #[track_caller]
    fn info(&mut self, ask: &Ask) -> Info {
        match self.ask(ask) {
            Tell::Info(info, _) => info,
            other => panic!("{ask:?}: {other:?}"),
        }
    }

    fn listed(&mut self, path: &str, after: Option<&str>, limit: u32) -> (Vec<String>, bool) {
        let after = after.map(|name| name.as_bytes().to_vec());
        self.say(&Ask::List { path: path.into(), after, limit });
        let mut names = Vec::new();
        loop {
            match self.hear() {
                Tell::Entry(entry) => names.push(String::from_utf8_lossy(&entry.name).into_owned()),
                Tell::Done(more) => return (names, more == 1),
                other => panic!("{other:?}"),
            }
        }
    }

    /// All data up to the end of the answer.
    fn data(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.hear() {
                Tell::Data(bytes) => all.extend(bytes),
                Tell::Done(_) => return all,
                other => panic!("{other:?}"),
            }
        }
    }

    fn write(&mut self, ask: Write, content: &[u8]) -> Tell {
        match self.ask(&Ask::Write(ask)) {
            Tell::Done(0) => {}
            other => return other,
        }
        for chunk in content.chunks(FILES_CHUNK) {
            self.say(&Ask::Data(chunk.to_vec()));
        }
        self.ask(&Ask::Finish)
    }

    fn unpack(&mut self, path: &str, entries: &[(Entry, &[u8])]) -> Tell {
        match self.ask(&Ask::Unpack { path: path.into(), token: 9 }) {
            Tell::Done(0) => {}
            other => return other,
        }
        for (entry, content) in entries {
            self.say(&Ask::Entry(entry.clone()));
            if !content.is_empty() {
                self.say(&Ask::Data(content.to_vec()));
            }
        }
        self.ask(&Ask::Finish)
    }

    /// Every name below the root, in order.
    fn names(&self) -> Vec<String> {
        fn walk(at: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if path.symlink_metadata().unwrap().is_dir() {
                    walk(&path, root, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.root, &self.root, &mut found);
        found.sort();
        found
    }

    fn ended(mut self) -> (bool, Vec<String>) {
        self.input = None;
        let ended = self.child.wait().unwrap().success();
        (ended, self.names())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn plain(path: &str) -> Write {
    Write { path: path.into(), mode: None, owner: None, expect: Expect::Anything, token: 7 }
}

fn entry(kind: Kind, name: &str, target: &str) -> Entry {
    let time = Time { seconds: 1_000_000_000, nanoseconds: 5 };
    let version = Version { inode: 0, size: 0, modified: time, changed: time };
    let owner = Owner { user: 3, group: 4 };
    Entry { name: name.into(), info: Info { kind, mode: 0o640, owner, version, target: target.into() } }
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let mut scene = Scene::begin("write");
    let content: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
    let Tell::Info(info, true) = scene.write(plain("/new"), &content) else { panic!("not made") };
    assert_eq!((info.kind, info.mode, info.version.size), (Kind::File, 0o644, 200_000));
    assert_eq!(fs::read(scene.path("/new")).unwrap(), content);

    // The mode and owner of what it replaces stay, unless told otherwise.
    let owned = Write { mode: Some(0o4751), owner: Some(Owner { user: 5, group: 6 }), ..plain("/new") };
    let Tell::Info(info, false) = scene.write(owned, b"short") else { panic!("made anew") };
    assert_eq!((info.mode, info.owner), (0o4751, Owner { user: 5, group: 6 }));
    let Tell::Info(info, false) = scene.write(plain("/new"), b"shorter") else { panic!("made anew") };
    assert_eq!((info.mode, info.owner), (0o4751, Owner { user: 5, group: 6 }));

    // Taken back in the middle, and cut in the middle.
    assert_eq!(scene.ask(&Ask::Write(plain("/new"))), Tell::Done(0));
    scene.say(&Ask::Data(b"half".to_vec()));
    assert_eq!(scene.ask(&Ask::Forget), Tell::Done(0));
    assert_eq!(fs::read(scene.path("/new")).unwrap(), b"shorter");
    assert_eq!(scene.ask(&Ask::Write(plain("/new"))), Tell::Done(0));
    scene.say(&Ask::Data(b"half".to_vec()));
    let path = scene.path("/new");
    scene.input = None;
    scene.child.wait().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"shorter");
    assert_eq!(scene.ended(), (true, vec!["new".to_owned()]));
}

/// Before it has its name, whoever waited may have given up.
#[test]
fn what_is_taken_back_at_the_last_moment_is_not_there() {
    let mut scene = Scene::begin("late");
    assert_eq!(scene.ask(&Ask::Write(plain("/x"))), Tell::Done(0));
    let mut bytes = Vec::new();
    [Ask::Data(b"late".to_vec()), Ask::Finish, Ask::Forget].iter().for_each(|ask| ask.encode(&mut bytes));
    scene.input.as_mut().unwrap().write_all(&bytes).unwrap();
    assert_eq!(scene.hear(), Tell::Done(0));
    assert!(!scene.path("/x").exists());
    // More than waits for the disk at once.
    let content = vec![7; 70 << 20];
    assert!(matches!(scene.write(plain("/x"), &content), Tell::Info(info, true) if info.version.size == 70 << 20));
    assert_eq!(scene.ended(), (true, vec!["x".to_owned()]));
}

#[test]
fn what_must_stand_there_is_looked_at() {
    let mut scene = Scene::begin("expect");
    let new = |expect| Write { expect, ..plain("/x") };
    let Tell::Info(first, _) = scene.write(new(Expect::Nothing), b"1") else { panic!("not made") };
    assert!(matches!(scene.write(new(Expect::Nothing), b"2"), Tell::Refused(found) if found.reason == Reason::Changed));
    let Tell::Info(second, _) = scene.write(new(Expect::Version(first.version)), b"3") else { panic!("refused") };
    let late = scene.write(new(Expect::Version(first.version)), b"4");
    assert!(matches!(late, Tell::Refused(found) if found.reason == Reason::Changed));
    // It changes while the new one is on its way.
    assert_eq!(scene.ask(&Ask::Write(new(Expect::Version(second.version)))), Tell::Done(0));
    fs::write(scene.path("/x"), "meanwhile").unwrap();
    assert_eq!(scene.refused(&Ask::Finish), Reason::Changed);
    let another = Write { path: b"/y".into(), ..new(Expect::Nothing) };
    assert_eq!(scene.ask(&Ask::Write(another)), Tell::Done(0));
    fs::write(scene.path("/y"), "meanwhile").unwrap();
    assert_eq!(scene.refused(&Ask::Finish), Reason::Changed);
    assert_eq!(scene.ended(), (true, vec!["x".to_owned(), "y".to_owned()]));
}

#[test]
fn only_files_are_written_and_links_are_followed() {
    let mut scene = Scene::begin("links");
    fs::create_dir(scene.path("/dir")).unwrap();
    symlink("/dir/file", scene.path("/absolute")).unwrap();
    symlink("../absolute", scene.path("/dir/chain")).unwrap();
    symlink("dir", scene.path("/to-dir")).unwrap();
    symlink("dir/..", scene.path("/dots")).unwrap();
    symlink("circle", scene.path("/circle")).unwrap();
    symlink("../../../../../../outside", scene.path("/out")).unwrap();
    assert!(Command::new("mkfifo").arg(scene.path("/pipe")).status().unwrap().success());

    for path in ["/absolute", "/dir/chain", "/to-dir/chain"] {
        assert!(matches!(scene.write(plain(path), path.as_bytes()), Tell::Info(..)));
        assert_eq!(fs::read(scene.path("/dir/file")).unwrap(), path.as_bytes());
        assert!(scene.path(path).is_symlink());
    }
    assert!(matches!(scene.write(plain("/out"), b"x"), Tell::Info(..)));
    assert_eq!(fs::read(scene.path("/outside")).unwrap(), b"x", "no link leads out of the root");

    let refusals = [
        ("/dir", Reason::Directory),
        ("/to-dir", Reason::Directory),
        ("/dots", Reason::Directory),
        ("/", Reason::Directory),
        ("/circle", Reason::Circle),
        ("/pipe", Reason::Special),
        ("/none/x", Reason::Absent),
        ("/dir/file/x", Reason::NoDirectory),
    ];
    for (path, reason) in refusals {
        assert_eq!(scene.refused(&Ask::Write(plain(path))), reason, "{path}");
        if path != "/none/x" {
            assert_eq!(scene.refused(&Ask::Open { path: path.into() }), reason, "{path}");
        }
    }
    // What was on its way when it was refused is passed over.
    scene.say(&Ask::Write(plain("/dir")));
    scene.say(&Ask::Data(b"x".to_vec()));
    scene.say(&Ask::Finish);
    assert!(matches!(scene.hear(), Tell::Refused(_)));
    assert_eq!(scene.ask(&Ask::Forget), Tell::Done(0));
}

#[test]
fn a_file_is_read_in_parts() {
    let mut scene = Scene::begin("read");
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at / 7) as u8).collect();
    fs::write(scene.path("/x"), &content).unwrap();
    symlink("x", scene.path("/link")).unwrap();
    let info = scene.info(&Ask::Open { path: b"/link".into() });
    assert_eq!(info.version.size, 300_000);
    for (from, length) in [(0, 300_000), (1, 10), (299_999, 1), (65_530, 100), (0, 0)] {
        scene.say(&Ask::Read { from, length });
        assert_eq!(scene.data(), content[from as usize..(from + length) as usize]);
    }
    scene.say(&Ask::Read { from: 299_990, length: 11 });
    assert!(matches!(scene.hear(), Tell::Data(bytes) if bytes.len() == 10));
    assert!(matches!(scene.hear(), Tell::Refused(found) if found.reason == Reason::Shrunk));
    // One that is not read on.
    fs::File::create(scene.path("/large")).unwrap().set_len(1 << 40).unwrap();
    scene.info(&Ask::Open { path: b"/large".into() });
    scene.say(&Ask::Read { from: 0, length: 1 << 40 });
    scene.say(&Ask::Forget);
    while scene.hear() != Tell::Done(0) {}
    assert!(scene.ended().0);
}

#[test]
fn directories_are_listed_some_at_a_time() {
    let mut scene = Scene::begin("list");
    fs::create_dir_all(scene.path("/d/.podgate")).unwrap();
    fs::create_dir_all(scene.path("/.podgate/x")).unwrap();
    for number in 0..10 {
        fs::write(scene.path(&format!("/d/{number}")), "").unwrap();
    }
    assert_eq!(scene.listed("/", None, 10), (vec!["d".to_owned()], false), "the agent's own is not shown");
    assert_eq!(scene.listed("/d", None, 3), ([".podgate", "0", "1"].map(str::to_owned).to_vec(), true));
    assert_eq!(scene.listed("/d", Some("1"), 7), (("2345678").chars().map(String::from).collect(), true));
    assert_eq!(scene.listed("/d", Some("8"), 7), (vec!["9".to_owned()], false));
    assert_eq!(scene.listed("/d", Some("9"), 7), (vec![], false));
    assert_eq!(scene.refused(&Ask::List { path: b"/d/1".into(), after: None, limit: 1 }), Reason::NoDirectory);
    assert_eq!(scene.refused(&Ask::List { path: b"/none".into(), after: None, limit: 1 }), Reason::Absent);
}

#[test]
fn things_are_made_moved_and_taken_away() {
    let mut scene = Scene::begin("move");
    let make = |path: &str, parents| Ask::MakeDirectory {
        path: path.into(),
        parents,
        mode: 0o1777,
        owner: Owner { user: 1, group: 2 },
    };
    assert_eq!(scene.refused(&make("/a/b/c", false)), Reason::Absent);
    assert!(matches!(scene.ask(&make("/a/b/c", true)), Tell::Info(info, true) if info.mode == 0o1777));
    assert!(matches!(scene.ask(&make("/a/b/c", true)), Tell::Info(_, false)));
    assert_eq!(scene.refused(&make("/a/b/c", false)), Reason::Exists);
    assert_eq!(fs::metadata(scene.path("/a/b")).unwrap().uid(), 1);
    fs::write(scene.path("/a/file"), "1").unwrap();
    assert_eq!(scene.refused(&make("/a/file", true)), Reason::Exists);
    assert_eq!(scene.refused(&make("/a/file/x", true)), Reason::NoDirectory);

    let put = |from: &str, to: &str, replace| Ask::Move { from: from.into(), to: to.into(), replace, token: 3 };
    fs::write(scene.path("/a/other"), "2").unwrap();
    assert_eq!(scene.refused(&put("/a/none", "/a/x", true)), Reason::Absent);
    assert_eq!(scene.refused(&put("/a/file", "/none/x", true)), Reason::Absent);
    assert_eq!(scene.refused(&put("/a/file", "/a/other", false)), Reason::Exists);
    assert_eq!(scene.refused(&put("/a/file", "/a/b", true)), Reason::Directory);
    assert_eq!(scene.refused(&put("/a/b", "/a/file", true)), Reason::Exists);
    assert_eq!(scene.refused(&put("/a", "/a/b/x", false)), Reason::Within);
    scene.info(&put("/a/file", "/a/other", true));
    assert_eq!(fs::read(scene.path("/a/other")).unwrap(), b"1");
    // Two names of one file: the move leaves one. Onto itself, it leaves that.
    fs::hard_link(scene.path("/a/other"), scene.path("/a/same")).unwrap();
    assert_eq!(scene.refused(&put("/a/same", "/a/other", false)), Reason::Exists);
    scene.info(&put("/a/same", "/a/other", true));
    scene.info(&put("/a/other", "/a/../a/other", true));
    assert_eq!(scene.names(), ["a", "a/b", "a/b/c", "a/other"]);
    scene.info(&put("/a/b", "/moved", false));
    assert_eq!(scene.names(), ["a", "a/other", "moved", "moved/c"]);

    let remove = |path: &str, recursive| Ask::Remove { path: path.into(), recursive };
    assert_eq!(scene.refused(&remove("/moved", false)), Reason::NotEmpty);
    assert_eq!(scene.refused(&remove("/none", true)), Reason::Absent);
    symlink("/a", scene.path("/moved/link")).unwrap();
    assert_eq!(scene.ask(&remove("/moved", true)), Tell::Done(0));
    assert_eq!(scene.names(), ["a", "a/other"], "a link is taken away, not what it leads to");
    assert_eq!(scene.ask(&remove("/a/other", false)), Tell::Done(0));
    assert_eq!(scene.ask(&remove("/a", false)), Tell::Done(0));
    assert!(matches!(scene.ask(&remove("/", true)), Tell::Refused(_)));
}

#[test]
fn whatever_was_made_can_be_taken_away() {
    let mut scene = Scene::begin("deep");
    let deep = "/d".repeat(700);
    fs::create_dir_all(scene.path(&format!("/top{deep}"))).unwrap();
    fs::write(scene.path(&format!("/top{deep}/file")), "1").unwrap();
    fs::create_dir_all(scene.path(&format!("/top/other{}", "/e".repeat(450)))).unwrap();
    fs::create_dir(scene.path("/stays")).unwrap();
    assert_eq!(scene.ask(&Ask::Remove { path: b"/top".into(), recursive: true }), Tell::Done(0));
    assert_eq!(scene.names(), ["stays"]);
}

#[test]
fn a_tree_is_packed_and_unpacked() {
    let mut scene = Scene::begin("tree");
    fs::create_dir_all(scene.path("/from/sub")).unwrap();
    fs::write(scene.path("/from/a"), "content").unwrap();
    fs::hard_link(scene.path("/from/a"), scene.path("/from/sub/b")).unwrap();
    symlink("/from/a", scene.path("/from/link")).unwrap();
    assert!(Command::new("mkfifo").arg(scene.path("/from/pipe")).status().unwrap().success());
    fs::create_dir(scene.path("/to")).unwrap();

    scene.say(&Ask::Pack { path: b"/from".into() });
    let mut found: Vec<(Entry, Vec<u8>)> = Vec::new();
    loop {
        match scene.hear() {
            Tell::Entry(entry) => found.push((entry, Vec::new())),
            Tell::Data(bytes) => found.last_mut().unwrap().1.extend(bytes),
            Tell::Done(_) => break,
            other => panic!("{other:?}"),
        }
    }
    let entries: Vec<(Entry, &[u8])> = found.iter().map(|(entry, content)| (entry.clone(), &content[..])).collect();
    assert_eq!(entries.len(), 5, "{entries:?}");
    assert_eq!(scene.unpack("/to", &entries), Tell::Done(0));
    assert_eq!(
        scene.names().iter().filter(|name| name.starts_with("to")).collect::<Vec<_>>(),
        ["to", "to/from", "to/from/a", "to/from/link", "to/from/sub", "to/from/sub/b"]
    );
    let [a, b] = ["/to/from/a", "/to/from/sub/b"].map(|path| fs::metadata(scene.path(path)).unwrap());
    assert_eq!((a.ino(), a.len()), (b.ino(), 7));
    assert_eq!(a.modified().unwrap(), fs::metadata(scene.path("/from/a")).unwrap().modified().unwrap());
}

#[test]
fn a_tree_that_does_not_fit_changes_nothing() {
    let mut scene = Scene::begin("conflict");
    fs::create_dir_all(scene.path("/to/dir")).unwrap();
    fs::create_dir_all(scene.path("/to/usr/lib")).unwrap();
    fs::write(scene.path("/to/file"), "old").unwrap();
    symlink("usr/lib", scene.path("/to/lib")).unwrap();
    symlink("/etc", scene.path("/to/out")).unwrap();
    symlink("../..", scene.path("/to/up")).unwrap();
    let before = scene.names();
    let file = |name: &str| (entry(Kind::File, name, ""), &b"new"[..]);
    let some = |kind, name: &str, target: &str| (entry(kind, name, target), &b""[..]);

    let refusals = [
        (vec![file("file"), file("dir")], Reason::Directory),
        (vec![file("file"), some(Kind::Directory, "file", "")], Reason::Amiss),
        (vec![some(Kind::Directory, "file", "")], Reason::Exists),
        (vec![file("file"), file("file/x")], Reason::Amiss),
        (vec![file("file"), file("out/x")], Reason::Outside),
        (vec![file("file"), file("up/x")], Reason::Outside),
        (vec![file("file"), file("../x")], Reason::Amiss),
        (vec![file("file"), file("a/../../x")], Reason::Amiss),
        (vec![file("file"), file("a/..")], Reason::Amiss),
        (vec![file("new"), some(Kind::HardLink, "hard", "file")], Reason::Amiss),
        (vec![file("new"), some(Kind::HardLink, "hard", "../to/file")], Reason::Amiss),
        (vec![file("file"), some(Kind::Fifo, "pipe", "")], Reason::Special),
        (vec![file("file"), some(Kind::Link, "l", "/"), file("l/x")], Reason::Amiss),
    ];
    for (entries, reason) in refusals {
        let told = scene.unpack("/to", &entries);
        assert!(matches!(told, Tell::Refused(found) if found.reason == reason), "{told:?} {reason:?} {entries:?}");
        assert_eq!(scene.ask(&Ask::Forget), Tell::Done(0));
        assert_eq!((scene.names(), fs::read(scene.path("/to/file")).unwrap()), (before.clone(), b"old".to_vec()));
    }
    let into_file = scene.ask(&Ask::Unpack { path: b"/to/file".into(), token: 1 });
    assert!(matches!(into_file, Tell::Refused(found) if found.reason == Reason::NoDirectory));

    // Links that stay below are followed, what is there keeps what it is, the last of a name counts.
    fs::set_permissions(scene.path("/to/dir"), fs::Permissions::from_mode(0o1777)).unwrap();
    let fits = [
        file("lib/deep/new"),
        file("dir/x"),
        some(Kind::Directory, "dir", ""),
        (entry(Kind::File, "file", ""), &b"first"[..]),
        file("file"),
        some(Kind::Link, "link", "/nowhere"),
        some(Kind::Link, "lib2", "dir"),
    ];
    assert_eq!(scene.unpack("/to", &fits), Tell::Done(0));
    assert_eq!(fs::read(scene.path("/to/usr/lib/deep/new")).unwrap(), b"new");
    assert_eq!(fs::read(scene.path("/to/file")).unwrap(), b"new");
    let [dir, file] = ["/to/dir", "/to/dir/x"].map(|path| fs::metadata(scene.path(path)).unwrap());
    assert_eq!((dir.mode() & 0o7777, file.mode() & 0o7777, file.uid(), file.gid()), (0o1777, 0o640, 3, 4));
    assert_eq!(file.mtime(), 1_000_000_000);

    // Cut in the middle.
    let before = scene.names();
    assert_eq!(scene.ask(&Ask::Unpack { path: b"/to".into(), token: 2 }), Tell::Done(0));
    scene.say(&Ask::Entry(entry(Kind::File, "half", "")));
    scene.say(&Ask::Data(b"ha".to_vec()));
    assert_eq!(scene.ended(), (true, before));
}
