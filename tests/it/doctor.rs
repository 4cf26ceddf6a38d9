//! `podgate doctor`: says what is wrong with a host, and what to do.

use serde_json::{Value, json};

use crate::support::podman::on_its_host;
use crate::support::{Ledger, Site, Story, eventually};

/// What it found: each check's worst level, and what it said.
struct Findings(Vec<Value>, i32);

impl Findings {
    fn of(site: &Site) -> Self {
        let done = site.run(&["doctor", "--json"], "");
        Self::parse(&done.stdout, done.code)
    }

    fn parse(stdout: &str, code: i32) -> Self {
        let found: Value = serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"));
        let checks = found["checks"].as_array().unwrap().clone();
        let failed = checks.iter().filter(|check| check["level"] == "fail").count();
        assert_eq!(found["failed"], failed);
        assert_eq!(code, i32::from(failed > 0), "{found}");
        for check in checks.iter().filter(|check| check["level"] != "ok") {
            assert!(check["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{check}");
        }
        Self(checks, code)
    }

    /// The level of a check, and the words of all its findings.
    fn check(&self, name: &str) -> (&str, String) {
        let found: Vec<&Value> = self.0.iter().filter(|check| check["check"] == name).collect();
        let levels = ["fail", "warn", "ok"];
        let level = levels.into_iter().find(|level| found.iter().any(|check| check["level"] == *level));
        let words: Vec<String> = found.iter().map(|check| check.to_string()).collect();
        (level.unwrap_or("absent"), words.join("\n"))
    }

    #[track_caller]
    fn is(&self, name: &str, level: &str, words: &str) {
        let (found, said) = self.check(name);
        assert!(found == level && said.contains(words), "{name} is {found}: {said}");
    }
}

#[tokio::test]
async fn a_host_that_is_fit_is_said_to_be() {
    let story = Story::begin().await;
    story.client.create_sleeping("web").await;
    // On Podman's host, where the firewall is.
    let config = story.site.dir.join("podgate.toml");
    let program = env!("CARGO_BIN_EXE_podgate");
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    let words = ["env", "-i", path, program, "doctor", "--json", "--config", config.to_str().unwrap()];
    let look = async || {
        let done = on_its_host(&words).output().await.unwrap();
        Findings::parse(&String::from_utf8_lossy(&done.stdout), done.status.code().unwrap())
    };
    let fit = [
        ("configuration", "is fine"),
        ("data directory", "owner's alone"),
        ("store", "up to date"),
        ("podman", "answers"),
        ("podman version", "Podman "),
        ("networks", "netavark"),
        ("seccomp", "Podman reads"),
        ("devices of images", "without devices"),
        ("containers", "answers for all 1 of the ledger"),
        ("user namespaces", "65,536 ids"),
        ("ports", "the gateway's own"),
    ];
    // A Podman that others keep busy is late with its answers, and said to be: this is about the host, not its load.
    let mut found = look().await;
    for _ in 0..3 {
        if fit.iter().any(|(check, _)| found.check(check).0 != "ok") {
            found = look().await;
        }
    }
    for (check, words) in fit {
        found.is(check, "ok", words);
    }
    let firewall = if rustix::process::geteuid().is_root() || !words_of_netns().is_empty() { "ok" } else { "warn" };
    found.is("firewall", firewall, "");
    found.is("certificate", "warn", "this host only");
    // What these are depends on the machine; that they are told does not.
    for check in [
        "clock",
        "cgroups",
        "fair shares",
        "disk of data",
        "disk of Podman",
        "disk quota",
        "write-back",
        "podman memory",
    ] {
        assert_ne!(found.check(check).0, "absent", "{check}");
    }
    // What it tried to make, it tells by its command: others make containers, too.
    eventually("that nothing of the doctor's is there", || async {
        let all = story.podman.call("GET", "/containers/json?all=true").await.json();
        all.as_array().unwrap().iter().all(|one| one["Command"] != json!(["/probe"])).then_some(())
    })
    .await;
    let text = story.site.run(&["doctor"], "");
    assert!(text.stdout.lines().any(|line| line.starts_with("OK    podman version    Podman ")), "{}", text.stdout);
    assert!(text.stdout.contains("                        -> "), "{}", text.stdout);
}

fn words_of_netns() -> String {
    std::env::var("PODGATE_TEST_NETNS").unwrap_or_default()
}

#[test]
fn a_podman_that_is_away_is_found() {
    let mut site = Site::new().set("engine.url", "unix:///nowhere/podman.sock");
    Findings::of(&site).is("podman", "fail", "is not there");
    let file = site.dir.join("no-socket");
    std::fs::write(&file, "").unwrap();
    site.put("engine.url", format!("unix://{}", file.display()));
    Findings::of(&site).is("podman", "fail", "is no socket");
    let deserted = crate::engine_down::socket();
    drop(std::os::unix::net::UnixListener::bind(&deserted).unwrap());
    site.put("engine.url", format!("unix://{}", deserted.display()));
    let found = Findings::of(&site);
    std::fs::remove_file(&deserted).unwrap();
    found.is("podman", "fail", "nobody answers");
    found.is("store", "warn", "not there yet");
    assert!(!site.data("podgate.db").exists(), "looking made nothing");
}

#[test]
fn a_wrong_configuration_is_told_whole() {
    let found = Findings::of(&Site::new().set("log.format", "xml").set("engine.max_workers", 0));
    found.is("configuration", "fail", "log.format: ");
    found.is("configuration", "fail", "engine.max_workers: ");
    assert_eq!((found.0.len(), found.1), (2, 1), "nothing else can be said");
}

#[test]
fn what_hurts_the_store_is_found() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.run(&["migrate"], "").succeeded();
    Findings::of(&site).is("store", "ok", "up to date");
    std::fs::set_permissions(site.data(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    Findings::of(&site).is("data directory", "fail", "open to others");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let change = |statement: &'static str| {
        runtime.block_on(async { Ledger::of(&site).await.execute(statement).await });
    };
    change("UPDATE _sqlx_migrations SET version = version + 1000000 WHERE version = 1");
    Findings::of(&site).is("store", "fail", "newer Podgate");
    change("DELETE FROM _sqlx_migrations WHERE version > 1000000");
    Findings::of(&site).is("store", "warn", "1 step(s) behind");
    std::fs::write(site.data("podgate.db"), "no database at all, but long enough to be looked at").unwrap();
    Findings::of(&site).is("store", "fail", "cannot be written");
}

/// Made by an authority and an intermediate, to be put together in any order.
struct Made {
    root: String,
    intermediate: String,
    leaf: String,
    key: String,
}

fn made(days_left: i64) -> Made {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    #[allow(clippy::disallowed_methods)]
    let now = time::OffsetDateTime::now_utc();
    let named = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, middle_key, key) =
        (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root_params = named("root of the tests");
    let root = root_params.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root_params, root_key);
    let middle_params = named("intermediate of the tests");
    let middle = middle_params.signed_by(&middle_key, &issuer).unwrap();
    let issuer = Issuer::new(middle_params, middle_key);
    let mut params = CertificateParams::new(["podgate.example.org".to_owned()]).unwrap();
    params.not_before = now - time::Duration::days(100);
    params.not_after = now + time::Duration::days(days_left) + time::Duration::hours(1);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Made { root: root.pem(), intermediate: middle.pem(), leaf: leaf.pem(), key: key.serialize_pem() }
}

#[test]
fn certificates_are_looked_at() {
    let mut site = Site::new();
    let (cert, key) = (site.dir.join("cert.pem"), site.dir.join("key.pem"));
    let tls = format!("{{ cert_file = {cert:?}, key_file = {key:?} }}");
    site.put("listen", format!("[{{ address = \"127.0.0.1:0\", tls = {tls} }}]"));
    let find = |chain: &[&str], key_pem: &str| {
        std::fs::write(&cert, chain.concat()).unwrap();
        std::fs::write(&key, key_pem).unwrap();
        Findings::of(&site)
    };
    let Made { root, intermediate, leaf, key: leaf_key } = made(60);
    let found = find(&[&leaf, &intermediate, &root], &leaf_key);
    found.is("certificate", "ok", "(podgate.example.org) is good for 60 days");
    found.is("chain of trust", "warn", "root of the tests, which this system does not trust");
    find(&[&leaf, &intermediate], &leaf_key).is("chain of trust", "warn", "root of the tests, which is not there");
    find(&[&leaf], &leaf_key).is("chain of trust", "warn", "add the intermediate certificates");
    find(&[&leaf, &root, &intermediate], &leaf_key).is("chain of trust", "fail", "was not signed by");
    find(&[&leaf, &intermediate], &made(60).key).is("certificate", "fail", "do not belong together");
    find(&["nonsense"], &leaf_key).is("certificate", "fail", "no PEM certificate");
    let soon = made(5);
    find(&[&soon.leaf, &soon.intermediate], &soon.key).is("certificate", "warn", "ends in 5 day(s)");
    let over = made(-2);
    find(&[&over.leaf, &over.intermediate], &over.key).is("certificate", "fail", "is over");
}
