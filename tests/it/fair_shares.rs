//! What containers get of the processors is shared among tenants, however many containers each has.

use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Podman, Site, Story, Tenant};

const SPIN: &str = "while true; do :; done";

/// The host's numbers of the main processes of the tenant's containers.
async fn main_processes(podman: &Podman, tenant: &Tenant) -> Vec<String> {
    let mut found = Vec::new();
    for (id, _) in podman.containers(&tenant.slug).await {
        found.push(podman.inspect(&id).await["State"]["Pid"].to_string());
    }
    found
}

/// What they have had of the processors, in ticks of the clock.
fn ticks(pids: &[String]) -> u64 {
    let of = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // utime and stime; the name before may have blanks, and ends with the last parenthesis.
        let after_name = stat.rsplit_once(") ").unwrap().1.split(' ');
        after_name.skip(11).take(2).map(|number| number.parse::<u64>().unwrap()).sum::<u64>()
    };
    pids.iter().map(of).sum()
}

async fn spinning(client: &Client, count: usize) {
    for number in 0..count {
        client.create_with(&format!("c{number}"), json!({"command": ["sh", "-c", SPIN]})).await;
    }
}

/// The groups of a process, one a line, as the host names them.
fn groups(pid: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

#[tokio::test]
async fn one_tenants_many_get_no_more_than_anothers_one() {
    let story = Story::begin().await;
    let (neighbour, theirs) = story.another();
    spinning(&story.client, 6).await;
    spinning(&theirs, 1).await;
    let ours = main_processes(&story.podman, &story.tenant).await;
    let their = main_processes(&story.podman, &neighbour).await;
    for (pids, tenant) in [(&ours, &story.tenant), (&their, &neighbour)] {
        // As Podman's manager of cgroups, `cgroupfs` or `systemd`, names it.
        let slice = format!("/podgate-{}.slice/", tenant.slug.replace('-', "_"));
        let names = [format!("/podgate/{}/", tenant.slug), slice];
        for pid in pids {
            assert!(names.iter().any(|name| groups(pid).contains(name)), "{}", groups(pid));
        }
    }
    // What an exec starts is in its container's.
    let command = theirs.exec("c0", json!("cat /proc/self/cgroup")).await;
    assert_eq!(command, theirs.exec("c0", json!("cat /proc/1/cgroup")).await);

    // Otherwise six get six times what the one gets, where the processors are fewer than seven.
    let processors = std::thread::available_parallelism().unwrap().get();
    let before = (ticks(&ours), ticks(&their));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (six, one) = (ticks(&ours) - before.0, ticks(&their) - before.1);
    assert!(processors > 6 || one * 3 > six, "{one} against {six} ticks");
    // Where a manager of another kind was meant, the doctor says so.
    let is_systemd = groups(&ours[0]).contains(".slice/");
    let wrong = Site::new().set("engine.cgroup_parent", if is_systemd { "/podgate" } else { "podgate.slice" });
    let report = wrong.run(&["doctor", "--json"], "").stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == "fair shares").unwrap();
    assert!(found["level"] == "fail" && found["advice"].as_str().unwrap().contains("auto"), "{found}");
}
