//! What containers get of the processors is shared among tenants, however many containers each has.

use std::time::Duration;

use serde_json::json;

use crate::engine_down::{site_at, socket};
use crate::support::{Client, Forwarder, Podman, Site, Story, Tenant, eventually};

/// The host's numbers of the processes of the tenant's containers: each container's main one, and those it began.
async fn processes(podman: &Podman, tenant: &Tenant) -> Vec<String> {
    let mut found = Vec::new();
    for (id, _) in podman.containers(&tenant.slug).await {
        let main = podman.inspect(&id).await["State"]["Pid"].to_string();
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        found.extend(children.split_whitespace().map(str::to_owned));
        found.push(main);
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

/// So many containers, each of which would take all processors.
async fn spinning(client: &Client, count: usize, processors: usize) {
    let spin = format!("for i in $(seq {processors}); do while true; do :; done & done; echo up; wait");
    for number in 0..count {
        let name = format!("c{number}");
        client.create_with(&name, json!({"command": ["sh", "-c", spin]})).await;
        eventually("that it spins", || async { (client.logs(&name, "").await == "up\n").then_some(()) }).await;
    }
}

/// The groups of a process, one a line, as the host names them.
fn groups(pid: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

#[tokio::test]
async fn one_tenants_many_get_no_more_than_anothers_one() {
    let processors = std::thread::available_parallelism().unwrap().get();
    let site = Site::new().set("profiles.default.cpus", processors).set("quotas.cpus", 6 * processors);
    let story = Story::at(site).await;
    let (neighbour, theirs) = story.another();
    spinning(&story.client, 6, processors).await;
    spinning(&theirs, 1, processors).await;
    let ours = processes(&story.podman, &story.tenant).await;
    let their = processes(&story.podman, &neighbour).await;
    assert_eq!((ours.len(), their.len()), (6 * (processors + 1), processors + 1));
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

    // As much; otherwise six get six times what the one gets.
    let before = (ticks(&ours), ticks(&their));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (six, one) = (ticks(&ours) - before.0, ticks(&their) - before.1);
    assert!(one * 3 > six, "{one} against {six} ticks");
    // Where a manager of another kind was meant, the doctor says so.
    let is_systemd = groups(&ours[0]).contains(".slice/");
    let wrong = Site::new().set("engine.cgroup_parent", if is_systemd { "/podgate" } else { "podgate.slice" });
    let report = wrong.run(&["doctor", "--json"], "").stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == "fair shares").unwrap();
    assert!(found["level"] == "fail" && found["advice"].as_str().unwrap().contains("auto"), "{found}");
}

/// What Podman says of its host comes late while any container of that is wedged; it is asked until it does.
#[tokio::test]
async fn a_host_that_answers_late_is_asked_again() {
    let (socket, podman) = (socket(), Podman::of_the_tests());
    let way = Forwarder::start(&socket, &podman.socket);
    way.fail("/libpod/info", "it is late");
    let story = Story::at(site_at(&socket)).await;
    let unknown = "what Podman's host can enforce is not known yet";
    eventually("questions", || async { (story.gateway.log().matches(unknown).count() > 3).then_some(()) }).await;
    way.pass("/libpod/info");
    eventually("a group of the tenant's", || async {
        let id = story.client.create_sleeping("c").await;
        let parent = podman.inspect(&id).await["HostConfig"]["CgroupParent"].as_str().unwrap().to_owned();
        story.client.delete("/containers/c?force=true").await.ok();
        parent.contains("podgate").then_some(())
    })
    .await;
}
