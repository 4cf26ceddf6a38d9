//! The audit log as a log: verified, read, copied, cut short.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use podgate::config;
use podgate::domain::World;
use podgate::store::{Deed, Object, Outcome, Store};
use serde_json::{Value, json};

use crate::support::client::whole;
use crate::support::gateway::{PASSWORD, unique};
use crate::support::{Client, Ledger, Site, Story, eventually};

/// What `audit verify` found, without where; nothing if it is whole.
fn findings(site: &Site, arguments: &[&str]) -> Vec<String> {
    let done = site.run(&[&["audit", "verify"], arguments].concat(), "");
    let found: Vec<String> = done
        .stdout
        .lines()
        .filter_map(|line| line.split_once(": chain "))
        .map(|(_, rest)| rest.split_once(": ").unwrap().1.to_owned())
        .collect();
    assert_eq!(done.code, i32::from(!found.is_empty()), "{}{}", done.stdout, done.stderr);
    found
}

/// Where the only chain ends, as `--head` takes it.
fn head(site: &Site) -> String {
    site.run(&["audit", "verify"], "").succeeded().lines().last().unwrap().to_owned()
}

#[test]
fn a_check_is_json_where_asked() {
    let site = Site::new();
    site.run(&["tenant", "create", "acme"], "").succeeded();
    let end = head(&site);
    let run = |arguments: &[&str]| {
        let done = site.run(&[&["audit"], arguments].concat(), "");
        (done.code, done.stdout)
    };
    let (code, said) = run(&["verify", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["heads"]), (0, &json!([end])));
    assert_eq!(said["checked"][0]["place"], "the database");
    assert!(said["checked"][0]["rows"].as_u64() > Some(0) && said["checked"][0]["findings"] == json!([]), "{said}");
    let (code, said) = run(&["verify", "--json", "--head", "absent:1:00"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["checked"][0]["findings"][0]["chain"]), (1, &json!("absent")), "{said}");
    assert_eq!(run(&["list", "--json"]), run(&["list"]));
}

async fn tampered(site: Site) {
    for number in 0..6 {
        site.run(&["tenant", "create", &format!("t{number}")], "").succeeded();
    }
    let ledger = Ledger::of(&site).await;
    assert_eq!(ledger.audited(0).await.len(), 6);
    assert_eq!(findings(&site, &[]), [] as [&str; 0]);
    let noted = head(&site);
    let copy = site.dir.join("export.jsonl");
    std::fs::write(&copy, site.run(&["audit", "export"], "").succeeded()).unwrap();
    let copy = copy.to_str().unwrap();
    assert_eq!(findings(&site, &["--copy", copy, "--head", &noted]), [] as [&str; 0]);

    for statement in
        ["CREATE TABLE log_saved AS SELECT * FROM audit_log", "CREATE TABLE chains_saved AS SELECT * FROM audit_chains"]
    {
        ledger.execute(statement).await;
    }
    let cases: &[(&[&'static str], &[&str])] = &[
        (&["UPDATE audit_log SET actor = 'mallory' WHERE sequence = 5"], &["row 5: was changed"]),
        (&["UPDATE audit_log SET time_ms = time_ms - 1 WHERE sequence = 5"], &["row 5: was changed"]),
        (&["UPDATE audit_log SET outcome = NULL WHERE sequence = 6"], &["row 6: was changed"]),
        (&["UPDATE audit_log SET argv = 'no json' WHERE sequence = 5"], &["row 5: was changed"]),
        (&["UPDATE audit_log SET hash = previous WHERE sequence = 5"], &["row 5: was changed"]),
        (&["DELETE FROM audit_log WHERE sequence = 5"], &["row 5: is missing"]),
        (&["DELETE FROM audit_log WHERE sequence IN (4, 5, 6)"], &["row 4: rows 4 to 6 are missing"]),
        (&["DELETE FROM audit_log WHERE sequence = 1"], &["row 1: is missing, and no checkpoint says so"]),
        (&["DELETE FROM audit_log WHERE sequence > 9"], &["row 10: rows 10 to 12 are missing at the end"]),
        (&["DELETE FROM audit_log"], &["row 1: rows 1 to 12 are missing at the end"]),
        (
            &[
                "UPDATE audit_log SET sequence = -1 WHERE sequence = 5",
                "UPDATE audit_log SET sequence = 5 WHERE sequence = 8",
                "UPDATE audit_log SET sequence = 8 WHERE sequence = -1",
            ],
            &["row 5: is row 8, moved here", "row 8: is row 5, moved here"],
        ),
        // One more, as good as a copy can be.
        (
            &["INSERT INTO audit_log SELECT chain, 13, time_ms, phase, actor, actor_id, key_id, tenant, tenant_id, verb,
               object_kind, object, object_id, source, request_id, argv, detail, reason, intent, outcome, status,
               duration_ms, previous, hash FROM audit_log WHERE sequence = 11"],
            &["row 13: is beyond the end of the chain, which is row 12"],
        ),
        (&["DELETE FROM audit_chains"], &["nothing says where it ends"]),
        (&["UPDATE audit_chains SET hash = 'other'"], &["row 12: is not the one that the chain ends with"]),
    ];
    for (statements, found) in cases {
        for statement in *statements {
            ledger.execute(statement).await;
        }
        let told = findings(&site, &[]);
        let is_told = |wanted: &&str| told.iter().any(|one| one == wanted);
        assert!(found.iter().all(is_told), "{statements:?}: {told:?}");
        assert!(told.len() <= found.len() + 1, "no more is blamed than that and the end: {statements:?}: {told:?}");
        for statement in [
            "DELETE FROM audit_log",
            "DELETE FROM audit_chains",
            "INSERT INTO audit_log SELECT * FROM log_saved",
            "INSERT INTO audit_chains SELECT * FROM chains_saved",
        ] {
            ledger.execute(statement).await;
        }
    }
    // Another installation's chain, whole as it is.
    ledger.execute("UPDATE installation SET id = 'other'").await;
    assert_eq!(findings(&site, &[]), ["row 1: does not begin this chain"]);
}

#[tokio::test]
async fn what_was_tampered_with_is_named() {
    tampered(Site::new()).await;
}

#[tokio::test]
async fn what_was_tampered_with_is_named_on_postgresql() {
    tampered(Site::on_postgres().await).await;
}

/// Who can write the database can make a chain that holds together; what was noted elsewhere tells.
#[tokio::test]
async fn a_head_noted_elsewhere_tells_of_a_cut() {
    let site = Site::new();
    for number in 0..3 {
        site.run(&["tenant", "create", &format!("t{number}")], "").succeeded();
    }
    let noted = head(&site);
    let copy = site.dir.join("export.jsonl");
    std::fs::write(&copy, site.run(&["audit", "export"], "").succeeded()).unwrap();
    let ledger = Ledger::of(&site).await;
    ledger.execute("DELETE FROM audit_log WHERE sequence > 4").await;
    ledger
        .execute("UPDATE audit_chains SET sequence = 4, hash = (SELECT hash FROM audit_log WHERE sequence = 4)")
        .await;
    assert_eq!(findings(&site, &[]), [] as [&str; 0], "a chain alone does not tell");
    assert_eq!(findings(&site, &["--head", &noted]), ["row 6: was noted elsewhere and is missing"]);
    let copied = ["row 5: was noted elsewhere and is missing", "row 6: was noted elsewhere and is missing"];
    assert_eq!(findings(&site, &["--copy", copy.to_str().unwrap()]), copied);
    // It goes on from there, and the difference stays.
    site.run(&["tenant", "create", "other"], "").succeeded();
    assert_eq!(findings(&site, &[]), [] as [&str; 0]);
    assert_eq!(findings(&site, &["--head", &noted]), ["row 6: is not the one that was noted elsewhere"]);
    let wrong = site.run(&["audit", "verify", "--head", "nonsense"], "");
    assert_eq!(wrong.code, 2);
}

/// A log that goes on is whole at each moment.
async fn whole_while_it_is_written(site: Site) {
    let story = Story::at(site).await;
    let ledger = Ledger::of(&story.site).await;
    let writing: Vec<_> = (0..4)
        .map(|_| {
            let client = story.client.clone();
            tokio::spawn(async move {
                loop {
                    client.get("/accounts").await.refused(403, "PermissionError");
                }
            })
        })
        .collect();
    // Enough that rows come while it is read.
    eventually("a long log", || async { (ledger.count("audit_log").await > 1200).then_some(()) }).await;
    for _ in 0..6 {
        assert_eq!(findings(&story.site, &[]), [] as [&str; 0]);
    }
    writing.iter().for_each(|task| task.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_whole_while_it_is_written() {
    whole_while_it_is_written(Site::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_whole_while_it_is_written_on_postgresql() {
    whole_while_it_is_written(Site::on_postgres().await).await;
}

/// Anybody can check a line without this program: cut the hash out, and digest what is left.
#[tokio::test]
async fn a_line_of_the_export_is_checked_by_anybody() {
    let site = Site::new();
    site.run(&["tenant", "create", "acme", "--alias", "ä=docker.io/library/alpine:latest"], "");
    site.run(&["tenant", "create", "acme2"], "").succeeded();
    let export = site.dir.join("export.jsonl");
    std::fs::write(&export, site.run(&["audit", "export"], "").succeeded()).unwrap();
    let script = "import hashlib, re, sys
before = None
for line in open(sys.argv[1], encoding='utf-8'):
    text, hash = re.fullmatch(r'(.*),\"hash\":\"([0-9a-f]{64})\"}\\n', line).groups()
    assert hashlib.sha256((text + '}').encode()).hexdigest() == hash, line
    assert before is None or '\"previous\":\"%s\"' % before in text, line
    before = hash
print(before)";
    let done = std::process::Command::new("python3").args(["-c", script]).arg(&export).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(head(&site).ends_with(said.trim()));
}

async fn listed(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/audit{query}")).await.ok()["entries"].as_array().unwrap().clone()
}

fn verbs(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_reads_what_concerns_them() {
    for site in [Site::new(), Site::on_postgres().await] {
        let story = Story::at(site).await;
        let (neighbour, theirs) = story.another();
        let client = &story.client;
        for login in [story.tenant.login("admin"), neighbour.login("admin")] {
            story.site.account(&login, "admin");
        }
        story.site.account("root", "platform");
        let admin = story.gateway.client(&story.site.token(&story.tenant.login("admin")));
        let their_admin = story.gateway.client(&story.site.token(&neighbour.login("admin")));
        let platform = story.gateway.client(&story.site.token("root"));
        client.create_sleeping("web").await;
        client.exec("web", json!(["echo", "hello"])).await;
        theirs.create_with("web", json!({"start": false})).await;
        platform
            .call("PATCH", &format!("/tenants/{}", story.tenant.slug), Some(json!({"quotas": {"volumes": 0}})))
            .await
            .ok();
        client.post("/volumes", json!({"name": "data"})).await.refused(403, "QuotaError");
        client.get("/audit").await.refused(403, "PermissionError");
        client.anonymous().get("/audit").await.refused(401, "AuthenticationError");
        Ledger::of(&story.site).await.audited(0).await;

        let mine = listed(&admin, "").await;
        assert_eq!(
            verbs(&mine)[..6],
            ["listAuditEntries", "createVolume", "changeTenant", "execInContainer", "createContainer", "createToken"]
        );
        assert!(mine.iter().all(|entry| entry["tenant"] == *story.tenant.slug), "{mine:?}");
        assert!(
            mine.iter().all(|entry| entry["chain"].is_null() && entry["sequence"].is_null()),
            "others' number is theirs"
        );
        let (refused, quota, change, exec) = (&mine[0], &mine[1], &mine[2], &mine[3]);
        assert_eq!(
            (&refused["outcome"], &refused["error"], &refused["status"]),
            (&json!("refused"), &json!("PermissionError"), &json!(403))
        );
        assert_eq!((&quota["outcome"], &quota["error"]), (&json!("refused"), &json!("QuotaError")));
        assert_eq!((&change["actor"], &change["source"]), (&json!("platform"), &Value::Null));
        assert_eq!(
            (&exec["argv"], &exec["source"], &exec["status"]),
            (&json!(["echo", "hello"]), &json!("127.0.0.1"), &json!(200))
        );
        assert_eq!(exec["object"]["name"], "web");
        assert!(mine.iter().filter(|entry| entry["actor"] == "platform").all(|entry| entry["argv"].is_null()));
        let their_list = listed(&their_admin, "").await;
        assert!(their_list.iter().all(|entry| entry["tenant"] == *neighbour.slug), "{their_list:?}");
        let all = listed(&platform, "?limit=1000").await;
        assert!(all.len() > mine.len() + their_list.len() && all[0]["sequence"].is_i64(), "{}", all.len());
        // Whose else's name is given makes no difference.
        for slug in [neighbour.slug.as_str(), "never-existed"] {
            assert_eq!(listed(&admin, &format!("?tenant={slug}")).await, [] as [Value; 0]);
        }

        let count = async |query: &str| listed(&admin, query).await.len();
        assert_eq!(count("?verb=execInContainer").await, 1);
        assert_eq!(count("?object=web").await, 2);
        assert_eq!(count(&format!("?object={}", exec["object"]["id"].as_str().unwrap())).await, 2);
        assert_eq!(count("?outcome=refused").await, 2);
        assert_eq!(count("?outcome=unknown").await, 0);
        assert_eq!(count("?outcome=failed").await, 0);
        assert_eq!(count(&format!("?actor={}&outcome=success&object=web", story.tenant.login("operator"))).await, 2);
        assert_eq!(count("?actor=system").await, 0);
        // Who was above is told to nobody below, not even by what a guess finds.
        let above = mine.iter().filter(|entry| entry["actor"] == "platform").count();
        assert!(above > 1, "{mine:?}");
        assert_eq!(count("?actor=platform").await, above);
        for guess in ["root", "cli:root", &neighbour.login("operator")] {
            assert_eq!(count(&format!("?actor={guess}")).await, 0, "{guess}");
        }
        assert_eq!(listed(&platform, "?actor=platform").await, [] as [Value; 0]);
        assert_eq!(listed(&platform, "?actor=root&verb=changeTenant").await.len(), 1);
        let time = exec["time"].as_str().unwrap();
        assert_eq!(verbs(&listed(&admin, &format!("?until={time}")).await)[0], "createContainer");
        assert_eq!(verbs(&listed(&admin, &format!("?since={time}")).await).last(), Some(&"execInContainer"));
        assert_eq!(listed(&platform, &format!("?tenant={}&limit=1000", story.tenant.slug)).await.len(), mine.len());
        for (query, name) in [
            ("since=yesterday", "since"),
            ("until=0", "until"),
            ("outcome=x", "outcome"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("cursor=1.x", "cursor"),
            ("x=1", "x"),
        ] {
            admin.get(&format!("/audit?{query}")).await.blames(&[name]);
        }
        let printed = story.site.run(&["audit", "list", "--verb", "execInContainer", "--limit", "5"], "").succeeded();
        let line: Value = serde_json::from_str(printed.trim()).unwrap();
        assert_eq!((&line["argv"], &line["outcome"]), (&json!(["echo", "hello"]), &json!("success")));
    }
}

/// Whoever turns pages sees each entry once, whatever is added meanwhile.
#[tokio::test]
async fn pages_hold_still_while_the_log_grows() {
    let story = Story::at(Site::new().set("quotas.volumes", 100)).await;
    story.site.account(&story.tenant.login("admin"), "admin");
    let admin = story.gateway.client(&story.site.token(&story.tenant.login("admin")));
    for number in 0..10 {
        story.client.post("/volumes", json!({"name": format!("v{number}")})).await.ok();
    }
    Ledger::of(&story.site).await.audited(0).await;
    let hashes = |entries: &[Value]| -> Vec<String> {
        entries.iter().map(|entry| entry["hash"].as_str().unwrap().to_owned()).collect()
    };
    let whole = hashes(&listed(&admin, "?limit=1000").await);
    let (mut pages, mut cursor, mut number) = (Vec::new(), String::new(), 10);
    loop {
        let page = admin.get(&format!("/audit?limit=4{cursor}")).await.ok();
        pages.extend(hashes(page["entries"].as_array().unwrap()));
        story.client.post("/volumes", json!({"name": format!("v{number}")})).await.ok();
        number += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages, whole);
    assert!(number > 13);
}

/// A tenant that has the name of one that is gone sees nothing of it.
#[tokio::test]
async fn a_name_that_is_used_again_inherits_nothing() {
    let story = Story::begin().await;
    let slug = unique();
    for number in 0..2 {
        story.site.run(&["tenant", "create", &slug], "").succeeded();
        story.site.account(&format!("{slug}/admin"), "admin");
        let admin = story.gateway.client(&story.site.token(&format!("{slug}/admin")));
        admin
            .post("/auth/password", json!({"password": "wrong", "new_password": PASSWORD}))
            .await
            .refused(403, "PermissionError");
        let seen = listed(&admin, "?verb=changePassword").await;
        assert_eq!(seen.len(), 1, "round {number}: {seen:?}");
        story.site.run(&["tenant", "delete", &slug], "").succeeded();
    }
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))).collect()
}

/// The rows' numbers in a copy, once the last of the log is there.
async fn copied(site: &Site, path: &std::path::Path) -> Vec<i64> {
    let ledger = Ledger::of(site).await;
    ledger.audited(0).await;
    eventually("the copy", || async {
        let last = ledger.audit_rows().await.last().map_or(0, |row| row.sequence);
        let numbers: Vec<i64> = lines(path).iter().map(|line| line["sequence"].as_i64().unwrap()).collect();
        (numbers.last() == Some(&last)).then_some(numbers)
    })
    .await
}

#[tokio::test]
async fn the_log_is_copied_to_a_file_and_to_standard_output() {
    let site = Site::new().set("audit.stdout", true);
    let file = site.dir.join("audit.jsonl");
    let site = site.set("audit.file", file.display());
    let story = Story::at(site).await;
    story.client.create_sleeping("web").await;
    story.client.delete("/containers/web?force=true").await.ok();
    // What the command line wrote before is there, and what it writes beside.
    let numbers = copied(&story.site, &file).await;
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(findings(&story.site, &["--copy", file.to_str().unwrap()]), [] as [&str; 0]);
    assert_eq!(lines(&file), lines(&story.site.dir.join("stdout")));

    // Moved away, as logrotate does; nothing is lost between the two.
    let moved = file.with_extension("1");
    std::fs::rename(&file, &moved).unwrap();
    story.site.run(&["tenant", "allow", &story.tenant.slug, "--quota", "volumes=3"], "").succeeded();
    story.client.post("/volumes", json!({"name": "data"})).await.ok();
    let rest = copied(&story.site, &file).await;
    assert_eq!(rest[0], numbers.last().unwrap() + 1);
    // A gateway that comes back goes on where it ended.
    let Story { gateway, site, client, tenant, .. } = story;
    drop((gateway, client));
    site.run(&["tenant", "allow", &tenant.slug, "--quota", "volumes=4"], "").succeeded();
    let gateway = site.start().await;
    gateway.client(&site.token(&tenant.login("operator"))).delete("/volumes/data").await.ok();
    let mut all = copied(&site, &file).await;
    all.dedup();
    let complete = (rest[0]..=*all.last().unwrap()).collect::<Vec<_>>();
    let mut unique = all.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique, complete, "none is missing");
    assert_eq!(findings(&site, &["--copy", file.to_str().unwrap()]), [] as [&str; 0]);
}

/// What must be copied and cannot be is not done; removing is.
#[tokio::test]
async fn a_copy_that_fails_stops_changes() {
    let site = Site::new();
    let dir = site.dir.join("audit");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("audit.jsonl");
    let site = site.set("audit.file", file.display()).set("operator.listen", "127.0.0.1:0");
    let story = Story::at(site).await;
    let client = &story.client;
    client.create_sleeping("web").await;
    copied(&story.site, &file).await;
    let away = story.site.dir.join("away");
    std::fs::rename(&dir, &away).unwrap();
    client.post("/volumes", json!({"name": "data"})).await.refused(503, "PodmanAPIError");
    client.post("/volumes", json!({"name": "data"})).await.refused(503, "PodmanAPIError");
    assert_eq!(client.used().await["volumes"], 0);
    client.delete("/containers/web?force=true").await.ok();
    let operator = crate::support::Client { address: story.gateway.operator(), token: None };
    let tells = async |line: &str| {
        let request = hyper::Request::builder().uri("/metrics").header("host", "x").body(whole("")).unwrap();
        operator.send(request).await.text().lines().any(|one| one == line)
    };
    assert!(tells("podgate_audit_writable 0").await && tells("podgate_store_up 1").await, "the operator is told");
    std::fs::rename(&away, &dir).unwrap();
    eventually("that it works again", || async {
        (client.post("/volumes", json!({"name": "data"})).await.status == 200).then_some(())
    })
    .await;
    assert!(tells("podgate_audit_writable 1").await);
    let mut numbers = copied(&story.site, &file).await;
    numbers.dedup();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert_eq!(findings(&story.site, &["--copy", file.to_str().unwrap()]), [] as [&str; 0]);
    // The one that was announced before its copy failed is told to have come to nothing.
    let made = Ledger::of(&story.site).await.audited(0).await;
    let told: Vec<_> = made
        .iter()
        .filter(|entry| entry.row.object.as_deref() == Some("data"))
        .map(|entry| entry.brief()[3].to_owned())
        .collect();
    assert_eq!(told.iter().filter(|word| *word == "success").count(), 1, "{told:?}");
    assert!(told.iter().all(|word| matches!(word.as_str(), "success" | "abandoned")), "{told:?}");

    // One that cannot be opened at the start is told at the start.
    let nowhere = Site::new().set("audit.file", "/nowhere/audit.jsonl");
    let refused = nowhere.run(&["serve"], "");
    assert!(refused.code == 1 && refused.stderr.contains("/nowhere/audit.jsonl"), "{}", refused.stderr);
}

/// The store as it was a while ago.
async fn forty_days_ago(site: &Site) -> Store {
    #[allow(clippy::disallowed_methods)]
    let now = || time::OffsetDateTime::now_utc() - time::Duration::days(40);
    let world = World { now, new_id: unique };
    let gateway = std::fs::read_to_string(site.data("gateway-id")).unwrap();
    let place = config::Store::Sqlite(site.data("podgate.db"));
    Store::open(&place, gateway, BTreeMap::new(), podgate::metrics::Metrics::new(), world).await.unwrap()
}

/// What is left after old rows went can still be verified, and what was taken away otherwise is found.
#[tokio::test]
async fn old_rows_go_and_the_rest_holds() {
    let site = Site::new().set("audit.keep_days", 30);
    site.run(&["migrate"], "").succeeded();
    let store = forty_days_ago(&site).await;
    for number in 0..1200 {
        let deed = Deed::of_the_system("removeContainer", Object::named("container", format!("c{number}")), None);
        store.announce_upkeep(deed).await.unwrap().end(Outcome { word: "success".into(), ..Outcome::default() });
    }
    store.flush_audit().await;
    site.run(&["tenant", "create", "acme"], "").succeeded();
    let ledger = Ledger::of(&site).await;
    assert_eq!(ledger.count("audit_log").await, 2402);
    let noted = head(&site);

    let gateway = site.start().await;
    gateway.logged("old rows of the audit log were taken away").await;
    let rows = ledger.audit_rows().await;
    let kept: Vec<_> = rows.iter().map(|row| (row.sequence, row.phase.as_str())).collect();
    assert_eq!(kept, [(2401, "intent"), (2402, "outcome"), (2403, "checkpoint")]);
    assert_eq!(findings(&site, &["--head", &noted]), [] as [&str; 0]);
    assert!(rows[2].detail.as_ref().unwrap().starts_with("2400:"));
    // One more than the checkpoint says.
    ledger.execute("DELETE FROM audit_log WHERE sequence = 2401").await;
    assert_eq!(findings(&site, &[]), ["row 1: rows 1 to 2401 are missing, and no checkpoint says so"]);
    // Once more, nothing is old.
    drop(gateway);
    let _gateway = site.start().await;
    assert_eq!(ledger.count("audit_log").await, 2);
}
