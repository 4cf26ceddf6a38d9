//! What a directory takes on the disk.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use podgate_agent::protocol::files::{Ask, Tell};
use rustix::fs::{Mode, OFlags};

use super::Scene;

const MIB: u64 = 1 << 20;

impl Scene {
    fn measured(&mut self, within_ms: u64) -> (u64, bool) {
        match self.ask(&Ask::Measure { path: b"/".into(), within_ms }) {
            Tell::Measured(bytes, is_whole) => (bytes, is_whole),
            other => panic!("{other:?}"),
        }
    }
}

/// Deeper than a path can be long, sparse one way and the other, under two names.
#[test]
fn what_is_on_the_disk_is_measured_wherever_it_is() {
    let mut scene = Scene::begin("measure");
    let (empty, is_whole) = scene.measured(60_000);
    assert!(empty == 0 && is_whole, "{empty}");
    let name = "d".repeat(250);
    let mut dir = rustix::fs::open(&scene.root, OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..40 {
        rustix::fs::mkdirat(&dir, &name, Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, &name, OFlags::PATH, Mode::empty()).unwrap();
    }
    let deep = rustix::fs::openat(&dir, "f", OFlags::WRONLY | OFlags::CREATE, Mode::RWXU).unwrap();
    fs::File::from(deep).write_all(&vec![1; 3 << 20]).unwrap();
    fs::write(scene.path("/b"), vec![1; 1 << 20]).unwrap();
    fs::hard_link(scene.path("/b"), scene.path("/again")).unwrap();
    fs::File::create(scene.path("/sparse")).unwrap().set_len(1 << 40).unwrap();
    symlink("/", scene.path("/up")).unwrap();
    let (bytes, is_whole) = scene.measured(60_000);
    assert!(is_whole && (4 << 20..5 << 20).contains(&bytes), "{bytes}");
    assert!(!scene.measured(0).1, "no time");
    // Takes the deep ones away, which nothing else here could.
    let away = Command::new("rm").arg("-rf").arg(&scene.root).status().unwrap();
    assert!(away.success());
}

/// Somebody moves directories to and fro, so that the way down is no way back: what stays where it is is found.
#[test]
fn what_is_moved_hides_nothing_but_itself() {
    let mut scene = Scene::begin("moved");
    for number in 0..16 {
        fs::create_dir_all(scene.path(&format!("/data{number}/x/y"))).unwrap();
        fs::write(scene.path(&format!("/data{number}/x/y/f")), vec![1; MIB as usize]).unwrap();
        for below in 0..100 {
            fs::create_dir_all(scene.path(&format!("/move{number}/a/t/{below}"))).unwrap();
        }
        fs::create_dir(scene.path(&format!("/move{number}/b"))).unwrap();
    }
    // Deeper than as many directories as are held open, and moved from high above.
    let (deep, elsewhere) = (scene.path("/deep/a"), scene.path("/deep/b"));
    fs::create_dir_all(&elsewhere).unwrap();
    fs::create_dir_all(deep.join("t").join(vec!["d"; 1000].join("/"))).unwrap();
    fs::write(scene.path("/deep/f"), vec![1; MIB as usize]).unwrap();

    let (stop, root) = (AtomicBool::new(false), scene.root.clone());
    let moving = |number: usize| {
        let dir = if number == 16 { root.join("deep") } else { root.join(format!("move{number}")) };
        move || (dir.join("a/t"), dir.join("b/t"))
    };
    std::thread::scope(|threads| {
        for numbers in [0..9, 9..17] {
            let ways: Vec<_> = numbers.map(|number| moving(number)()).collect();
            let stop = &stop;
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for (here, there) in &ways {
                        fs::rename(here, there).unwrap();
                    }
                    for (here, there) in &ways {
                        fs::rename(there, here).unwrap();
                    }
                }
            });
        }
        for _ in 0..8 {
            let (bytes, _) = scene.measured(60_000);
            if bytes < 17 * MIB {
                stop.store(true, Ordering::Relaxed);
                panic!("{bytes}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (bytes, is_whole) = scene.measured(60_000);
    assert!(is_whole && (17 * MIB..40 * MIB).contains(&bytes), "{bytes}");
}
