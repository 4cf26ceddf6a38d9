//! What the README shows works as it stands, but for the address and the account.

use std::process::Command;

use serde_json::json;

use crate::support::{ALPINE, DEBIAN, Site, Story};

/// The blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a block against this story's gateway and gives what it said.
fn run(story: &Story, program: &[&str], block: &str) -> String {
    std::fs::create_dir_all(story.site.dir.join(".podgate")).unwrap();
    std::fs::write(story.site.dir.join(".podgate/demo-password"), crate::support::gateway::PASSWORD).unwrap();
    let block = block
        .replace("127.0.0.1:5000", &story.client.address.to_string())
        .replace("demo/demo", &story.tenant.login("operator"));
    let done = Command::new(program[0]).args(&program[1..]).arg(block).current_dir(&story.site.dir).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{complained}");
    said.into_owned()
}

#[tokio::test]
async fn the_curl_workflow_works() {
    let story = Story::begin().await;
    let block = blocks("sh").into_iter().find(|block| block.contains("TOKEN=")).unwrap();
    let said = run(&story, &["bash", "-ec"], &block);
    let answers: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 8, "{said}");
    assert!(answers.iter().all(|answer| answer["success"] == true), "{said}");
    assert_eq!(answers[4]["execution"]["output"], "hello\nstudent\n");
    assert_eq!(story.client.listed().await, []);
}

#[tokio::test]
async fn the_python_client_works() {
    let story = Story::begin().await;
    let [block] = &blocks("python")[..] else { panic!("one client") };
    let said = run(&story, &["python3", "-c"], block);
    assert!(said.starts_with("Linux job "), "{said}");
    assert_eq!(story.client.listed().await, []);
}

#[tokio::test]
async fn a_tenant_sees_its_images_and_no_others() {
    let site = Site::new();
    let absent = "docker.io/library/absent:1";
    let tenant = site.tenant_with(&[
        &format!("--image={ALPINE}"),
        &format!("--image={absent}"),
        &format!("--alias=mine={ALPINE}"),
    ]);
    let gateway = site.start().await;
    let client = gateway.client(&site.token(&tenant.login("operator")));
    let images = client.get("/images").await.ok()["images"].clone();
    assert_eq!(
        images,
        json!([
            {"reference": absent, "aliases": [], "present": false},
            {"reference": ALPINE, "aliases": ["alpine:latest", "mine:latest"], "present": true},
        ])
    );
    site.run(&["tenant", "allow", &tenant.slug, &format!("--image={DEBIAN}")], "").succeeded();
    assert_eq!(client.get("/images").await.ok()["images"].as_array().unwrap().len(), 3, "seen at once");
    site.run(&["tenant", "disallow", &tenant.slug, absent], "").succeeded();
    assert_eq!(client.get("/images").await.ok()["images"].as_array().unwrap().len(), 2);
}
