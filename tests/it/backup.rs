//! All records into a file, and back: on SQLite, on PostgreSQL, and from one to the other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use podgate::store::Scratch;
use serde_json::{Value, json};

use crate::support::client::sleeping;
use crate::support::gateway::{Done, PASSWORD, program};
use crate::support::{Ledger, Site, Story, eventually};

fn backup(site: &Site, name: &str) -> PathBuf {
    let file = site.dir.join(name);
    site.run(&["backup", file.to_str().unwrap()], "").succeeded();
    file
}

fn restore(site: &Site, file: &std::path::Path, more: &[&str]) -> Done {
    site.run(&[&["restore", file.to_str().unwrap()], more].concat(), "")
}

type Tables = BTreeMap<String, Vec<BTreeMap<String, Value>>>;

/// The rows of each table in a backup, by column.
fn tables(file: &std::path::Path) -> Tables {
    let text = std::fs::read_to_string(file).unwrap();
    let (mut found, mut table, mut columns) = (BTreeMap::new(), String::new(), Vec::new());
    for line in text.lines().skip(1) {
        match serde_json::from_str(line).unwrap() {
            Value::Array(row) => {
                let row: BTreeMap<String, Value> = columns.iter().cloned().zip(row).collect();
                found.entry(table.clone()).or_insert_with(Vec::new).push(row);
            }
            Value::Object(heading) if heading.contains_key("table") => {
                table = heading["table"].as_str().unwrap().to_owned();
                columns = serde_json::from_value(heading["columns"].clone()).unwrap();
                found.insert(table.clone(), Vec::new());
            }
            _ => {}
        }
    }
    found
}

/// What two backups must have in common: everything, but for who worked on it and for times that stood still.
fn lasting(mut all: Tables) -> BTreeMap<String, BTreeSet<String>> {
    all.insert("gateways".into(), Vec::new());
    let row = |mut row: BTreeMap<String, Value>| {
        for passing in ["gateway", "expires_ms", "touched_ms", "keeps_strays"] {
            row.remove(passing);
        }
        format!("{row:?}")
    };
    all.into_iter().map(|(name, rows)| (name, rows.into_iter().map(row).collect())).collect()
}

async fn comes_back(from: Site, to: Site) {
    let story = Story::at(from).await;
    let (client, tenant) = (&story.client, &story.tenant);
    client.post("/volumes", json!({"name": "data"})).await.ok();
    client.create_with("web", json!({"ports": {"0": "80"}, "volumes": {"data": "/data"}, "expires_in": 3600})).await;
    client.exec("web", json!("echo kept > /data/file")).await;
    let key = client.post("/api-keys", json!({"name": "ci"})).await.ok()["api_key"]["key"].clone();
    let keyed = client.post_keyed("/containers", "k", sleeping("keyed", json!({"start": false}))).await.ok();
    let file = backup(&story.site, "one");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // What comes after it: the records lose it, Podman does not.
    client.post("/volumes", json!({"name": "late"})).await.ok();
    client.create_with("late", json!({"volumes": {"late": "/late"}})).await;
    client.delete("/containers/keyed?force=true").await.ok();
    let (newcomer, theirs) = story.another();
    theirs.create_sleeping("theirs").await;
    let Story { gateway, site: from, client, podman, .. } = story;
    drop(gateway);
    let last = backup(&from, "two");

    assert!(restore(&to, &file, &[]).succeeded().contains("rows restored"));
    let gateway = to.start().await;
    gateway.logged("podgate strays").await;
    let client = gateway.client(client.token.as_ref().unwrap());
    // Sessions, keys and answers are as they were; so is what Podman still has.
    assert_eq!(client.listed().await, [("web".into(), "running".into()), ("keyed".into(), "unknown".into())]);
    assert_eq!(client.exec("web", json!("cat /data/file")).await, "kept\n");
    assert_eq!(client.post_keyed("/containers", "k", sleeping("keyed", json!({"start": false}))).await.ok(), keyed);
    gateway.client(key.as_str().unwrap()).get("/containers").await.ok();
    client.sign_in(&tenant.login("operator"), PASSWORD).await.ok();
    client.sign_in(&newcomer.login("operator"), PASSWORD).await.refused(401, "AuthenticationError");
    client.get("/containers/late").await.refused(404, "PodmanAPIError");
    client.delete("/containers/keyed").await.ok();
    // Nothing was taken away behind anybody's back.
    let names = async || {
        let mut names = BTreeSet::new();
        for slug in [&tenant.slug, &newcomer.slug] {
            names.extend(podman.containers(slug).await.into_iter().map(|(_, name)| name));
        }
        names
    };
    let strays = [format!("{}.late", tenant.slug), format!("{}.theirs", newcomer.slug)];
    let all: BTreeSet<String> = strays.iter().cloned().chain([format!("{}.web", tenant.slug)]).collect();
    assert_eq!(names().await, all);
    let shown = to.run(&["strays", "list"], "").succeeded();
    for words in [&strays[0], &strays[1], &format!("network podgate-{}.", newcomer.slug), &"volume ".to_owned()] {
        assert!(shown.contains(words.as_str()), "{words}: {shown}");
    }
    // Nor gets anybody user ids that a stray may have.
    let heir = to.tenant();
    gateway.client(&to.token(&heir.login("operator"))).create_sleeping("own").await;
    let ledger = Ledger::of(&to).await;
    let highest: i64 = sqlx::query_scalar("SELECT MAX(block) FROM tenant_user_ids").fetch_one(&ledger.0).await.unwrap();
    assert!(highest >= 4096, "{highest}");
    // Until somebody says so.
    assert!(to.run(&["strays", "remove"], "").succeeded().ends_with(", 0 left\n"));
    assert_eq!(names().await, [format!("{}.web", tenant.slug)].into());
    assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    let kept: i64 = sqlx::query_scalar("SELECT keeps_strays FROM installation").fetch_one(&ledger.0).await.unwrap();
    assert_eq!(kept, 0);
    drop(gateway);

    // Every table, every row, as the file has it.
    let refused = restore(&to, &last, &[]);
    assert!(refused.code == 1 && refused.stderr.contains("not empty"), "{}", refused.stderr);
    restore(&to, &last, &["--replace"]).succeeded();
    let (mut three, last) = (tables(&backup(&to, "three")), tables(&last));
    // And what says that it was restored, in the chain of who did it.
    let chains: BTreeSet<String> = last["audit_chains"].iter().map(|row| row["chain"].to_string()).collect();
    let mut own = Vec::new();
    for table in ["audit_log", "audit_chains"] {
        let rows = three.get_mut(table).unwrap();
        own.extend(rows.extract_if(.., |row| !chains.contains(&row["chain"].to_string())));
    }
    let verbs: Vec<_> = own.iter().filter_map(|row| row.get("verb").and_then(Value::as_str)).collect();
    assert_eq!((verbs, own.len()), (vec!["restoreStore"], 3), "an intent, its outcome, and where the chain ends");
    assert_eq!(lasting(three), lasting(last));
    to.run(&["audit", "verify"], "").succeeded();
}

#[tokio::test]
async fn sqlite_comes_back() {
    comes_back(Site::new(), Site::new()).await;
}

#[tokio::test]
async fn postgresql_comes_back() {
    comes_back(Site::on_postgres().await, Site::on_postgres().await).await;
}

#[tokio::test]
async fn sqlite_comes_back_as_postgresql() {
    comes_back(Site::new(), Site::on_postgres().await).await;
}

#[tokio::test]
async fn postgresql_comes_back_as_sqlite() {
    comes_back(Site::on_postgres().await, Site::new()).await;
}

async fn is_one_moment(site: Site) {
    let story = Story::at(site.set("quotas.volumes", 1000)).await;
    let busy: Vec<_> = (0..4)
        .map(|worker| {
            let client = story.client.clone();
            tokio::spawn(async move {
                for number in 0..15 {
                    let name = format!("v{worker}-{number}");
                    client.post("/volumes", json!({"name": name})).await.ok();
                    if number % 3 == 0 {
                        client.delete(&format!("/volumes/{name}")).await.ok();
                    }
                }
            })
        })
        .collect();
    for number in 0..5 {
        let all = tables(&backup(&story.site, &number.to_string()));
        let counted = all["quotas"].iter().find(|row| row["resource"] == "volumes");
        let counted = counted.map_or(0, |row| row["used"].as_u64().unwrap());
        assert_eq!(counted, all["volumes"].len() as u64, "the counter and the rows are of one moment");
    }
    for worker in busy {
        worker.await.unwrap();
    }
    // A file that is there stays, unless it may go; and nothing else is left beside it.
    let file = story.site.dir.join("0");
    let before = std::fs::read(&file).unwrap();
    let refused = story.site.run(&["backup", file.to_str().unwrap()], "");
    assert!(refused.code == 1 && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    story.site.run(&["backup", file.to_str().unwrap(), "--force"], "").succeeded();
    assert_eq!(tables(&file)["volumes"].len(), 40);
    let beside = std::fs::read_dir(&story.site.dir).unwrap().count();
    assert_eq!(beside, 8, "five backups, the configuration, the data, and what the gateway wrote");
    let piped = story.site.run(&["backup", "-"], "").succeeded();
    assert!(piped.starts_with("{\"podgate_backup\":1,"), "{piped:.60}");
}

#[tokio::test]
async fn a_backup_of_sqlite_is_one_moment() {
    is_one_moment(Site::new()).await;
}

#[tokio::test]
async fn a_backup_of_postgresql_is_one_moment() {
    is_one_moment(Site::on_postgres().await).await;
}

/// The file's end with the digest of what stands before it.
fn sealed(lines: &str, rows: u64) -> String {
    use sha2::{Digest, Sha256};
    let digest: String = Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{lines}{}\n", json!({"rows": rows, "sha256": digest}))
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let site = Site::new();
    site.tenant();
    let file = backup(&site, "file");
    let good = std::fs::read(&file).unwrap();
    let read = async |bytes: &[u8]| {
        let path = site.dir.join("scratch.db");
        let outcome = Scratch::read(&mut &*bytes, &path, podgate::app::world()).await;
        let told = outcome.as_ref().err().map(|error| format!("{error:?}"));
        drop(outcome);
        assert!(!path.exists(), "nothing is left of it");
        told
    };
    assert_eq!(read(&good).await, None);
    for step in 0..40 {
        let at = good.len() * step / 40 + usize::from(rand::random::<u8>()) % (good.len() / 40);
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (rand::random::<u8>() % 7);
        assert!(read(&flipped).await.is_some(), "a bit of byte {at}");
        assert!(read(&good[..at]).await.is_some(), "cut at byte {at}");
    }
    assert!(read(&good[..good.len() - 1]).await.unwrap().contains("cut off"));
    assert!(read(&[&good[..], b"\n"].concat()).await.unwrap().contains("follows"));
    assert!(read(&[&good[..], &good[..]].concat()).await.unwrap().contains("follows"));
    assert!(read(b"").await.unwrap().contains("no backup"));
    assert!(read(b"{}\n").await.unwrap().contains("no backup"));
    // What is whole, and yet not of this program.
    let text = String::from_utf8(good).unwrap();
    let (lines, end) = text.trim_end().rsplit_once('\n').unwrap();
    let lines = format!("{lines}\n");
    let rows = serde_json::from_str::<Value>(end).unwrap()["rows"].as_u64().unwrap();
    assert_eq!(sealed(&lines, rows), text, "the test seals as the program does");
    for (from, to, told) in [
        ("\"migrations\":[", "\"migrations\":[9999,", "newer"),
        ("\"podgate_backup\":1", "\"podgate_backup\":2", "newer"),
        ("\"table\":\"tenants\"", "\"table\":\"landlords\"", "a table"),
        ("\"slug\"", "\"snail\"", "a table"),
        ("\"operator\"", "\"god\"", "contradicts"),
    ] {
        let refused = read(sealed(&lines.replacen(from, to, 1), rows).as_bytes()).await.unwrap();
        assert!(refused.contains(told), "{to}: {refused}");
    }
    assert!(read(sealed(&lines, rows + 1).as_bytes()).await.unwrap().contains("missing"));
    let short: String = lines.lines().take(3).map(|line| format!("{line}\n")).collect();
    assert!(read(sealed(&short, 0).as_bytes()).await.unwrap().contains("missing"));
    // The store does not notice any of it.
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    let refused = restore(&site, &file, &["--replace"]);
    assert!(refused.code == 1 && refused.stderr.contains("cannot be restored"), "{}", refused.stderr);
    assert_eq!(Ledger::of(&site).await.count("tenants").await, 1);
    let left = std::fs::read_dir(site.data("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_str().unwrap().starts_with("restore")));
}

async fn nobody_works_on_it(site: Site) {
    let story = Story::at(site).await;
    let file = backup(&story.site, "file");
    let Story { mut gateway, site, .. } = story;
    let refused = restore(&site, &file, &["--replace"]);
    assert!(refused.code == 1 && refused.stderr.contains("gateway"), "{}", refused.stderr);
    if site.database().starts_with("postgres") {
        // Nor a gateway on another host.
        let refused = restore(&site.beside(), &file, &["--replace"]);
        assert!(refused.code == 1 && refused.stderr.contains("stop them first"), "{}", refused.stderr);
    }
    gateway.terminate();
    gateway.ended().await;
    // One that ended in peace is gone at once.
    restore(&site, &file, &["--replace", "--end-sessions"]).succeeded();
    let gateway = site.start().await;
    drop(gateway);
}

#[tokio::test]
async fn nobody_works_on_a_sqlite_that_is_restored() {
    nobody_works_on_it(Site::new()).await;
}

#[tokio::test]
async fn nobody_works_on_a_postgresql_that_is_restored() {
    nobody_works_on_it(Site::on_postgres().await).await;
}

/// A restore that dies in the middle has done nothing.
#[tokio::test]
async fn all_of_it_or_nothing() {
    let site = Site::new();
    for _ in 0..3 {
        site.tenant();
    }
    let file = backup(&site, "file");
    site.tenant();
    let ledger = Ledger::of(&site).await;
    for patience in [5, 20, 40, 60, 80, 120] {
        let mut command = program();
        command.args(["restore", "--replace"]).arg(&file).arg("--config").arg(site.dir.join("podgate.toml"));
        let mut restoring = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(patience)).await;
        restoring.kill().unwrap();
        restoring.wait().unwrap();
        let counts = (ledger.count("tenants").await, ledger.count("accounts").await);
        assert!(matches!(counts, (3, 3) | (4, 4)), "{counts:?} after {patience} ms");
    }
}

/// A backup of an older program, into a store of this one.
#[tokio::test]
async fn an_older_backup_is_brought_up_to_date() {
    let old = Site::new();
    std::fs::create_dir_all(old.data("")).unwrap();
    std::fs::write(old.data("podgate.db"), "").unwrap();
    let ledger = Ledger::of(&old).await;
    let mut before = sqlx::migrate!("src/store/migrations");
    before.migrations = Cow::Owned(before.migrations.iter().take(1).cloned().collect());
    before.run(&ledger.0).await.unwrap();
    for statement in [
        "INSERT INTO installation VALUES (1, 'anoldone', 1)",
        "INSERT INTO tenants (id, slug, created_ms) VALUES ('t1', 'acme', 1)",
        "INSERT INTO containers (id, tenant_id, name, engine_id, state, image, image_id, created_by, created_ms)
         VALUES ('c1', 't1', 'web', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'ready', 'i', 'i',
                 'acme/alice', 1)",
    ] {
        ledger.execute(statement).await;
    }
    let file = backup(&old, "file");
    assert_eq!(ledger.count("_sqlx_migrations").await, 1, "a backup leaves the schema as it is");
    let new = Site::new();
    restore(&new, &file, &[]).succeeded();
    // What the second migration made of it: a count of what there was.
    let shown = new.run(&["tenant", "show", "acme"], "").succeeded();
    assert!(shown.contains("quota containers=20, 1 used"), "{shown}");
}

/// The database says which tables there are.
#[tokio::test]
async fn no_table_is_forgotten() {
    let site = Site::new();
    site.tenant();
    let ledger = Ledger::of(&site).await;
    ledger.execute("CREATE TABLE newest (id TEXT PRIMARY KEY, number BIGINT)").await;
    ledger.execute("INSERT INTO newest VALUES ('a', 1), ('b', NULL)").await;
    let all = tables(&backup(&site, "file"));
    assert_eq!(all["newest"].len(), 2);
    assert_eq!(all["newest"][1]["number"], Value::Null);
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name <> 'podgate_room'",
    )
    .fetch_all(&ledger.0)
    .await
    .unwrap();
    assert_eq!(all.keys().cloned().collect::<BTreeSet<_>>(), known.into_iter().collect());
}

/// Time that passed between a backup and its restore takes nobody's container.
#[tokio::test]
async fn time_stands_still_between() {
    let site = Site::new().with("[profiles.default]\nidle_seconds = 30\n");
    let story = Story::at(site).await;
    story.client.create_with("web", json!({"expires_in": 20})).await;
    let file = backup(&story.site, "file");
    let Story { gateway, site, client, .. } = story;
    drop(gateway);
    // As if it were a day old.
    let text = std::fs::read_to_string(&file).unwrap();
    let (lines, end) = text.trim_end().rsplit_once('\n').unwrap();
    let heading: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let day = 86_400_000;
    let shifted = |field: &Value| field.as_i64().map(|time| json!(time - day)).unwrap_or(Value::Null);
    let mut aged = String::new();
    let mut columns: Vec<String> = Vec::new();
    for line in lines.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if line.get("podgate_backup").is_some() {
            line["made_ms"] = shifted(&heading["made_ms"]);
        } else if let Some(named) = line.get("columns") {
            columns = serde_json::from_value(named.clone()).unwrap();
        } else {
            for (index, name) in columns.iter().enumerate() {
                if matches!(name.as_str(), "expires_ms" | "touched_ms") && columns.contains(&"engine_id".to_owned()) {
                    line[index] = shifted(&line[index]);
                }
            }
        }
        aged.push_str(&format!("{line}\n"));
    }
    let rows = serde_json::from_str::<Value>(end).unwrap()["rows"].as_u64().unwrap();
    std::fs::write(&file, sealed(&aged, rows)).unwrap();
    restore(&site, &file, &["--replace"]).succeeded();
    let gateway = site.start().await;
    let client = gateway.client(client.token.as_ref().unwrap());
    assert_eq!(client.listed().await, [("web".into(), "running".into())]);
    eventually("its own end", || async { (client.get("/containers/web").await.status == 404).then_some(()) }).await;
}

/// Nothing but a file is ever replaced, and a link goes on leading where it leads.
#[test]
fn a_backup_replaces_only_files() {
    let site = Site::new();
    site.run(&["migrate"], "").succeeded();
    let backup =
        |path: &std::path::Path, more: &[&str]| site.run(&[&["backup", path.to_str().unwrap()], more].concat(), "");
    // As `/dev/null` is: something that is there and no file.
    let (socket, directory) = (crate::engine_down::socket(), site.dir.join("directory"));
    let _held = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let to_socket = site.dir.join("to-socket");
    std::os::unix::fs::symlink(&socket, &to_socket).unwrap();
    for place in [&socket, &directory, &to_socket] {
        for more in [&[] as &[&str], &["--force"]] {
            let refused = backup(place, more);
            assert!(refused.code == 1 && refused.stderr.contains("is no file"), "{place:?}: {}", refused.stderr);
            assert!(!refused.stderr.contains("--force"), "{}", refused.stderr);
            assert!(!place.is_file());
        }
    }
    std::fs::remove_file(&socket).unwrap();
    let (latest, disk) = (site.dir.join("latest"), site.dir.join("disk"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::write(disk.join("one"), "old").unwrap();
    std::os::unix::fs::symlink("disk/one", &latest).unwrap();
    assert!(backup(&latest, &[]).stderr.contains("--force replaces it"));
    backup(&latest, &["--force"]).succeeded();
    assert!(latest.is_symlink());
    assert!(std::fs::metadata(disk.join("one")).unwrap().len() > 100);
    std::fs::remove_file(disk.join("one")).unwrap();
    let refused = backup(&latest, &["--force"]);
    assert!(refused.code == 1 && refused.stderr.contains("leads nowhere"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
}
