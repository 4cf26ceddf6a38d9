//! Labels that tenants give their containers: kept in the records, answered, looked for.

use serde_json::{Value, json};

use crate::support::{Client, Site, Story};

async fn named(client: &Client, query: &str) -> Vec<String> {
    let list = client.get(&format!("/containers?{query}")).await.ok();
    let names = list["containers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
    names.collect()
}

async fn told(site: Site) {
    let story = Story::at(site).await;
    let (client, (_, theirs)) = (&story.client, story.another());
    let labels = json!({"course": "intro", "org.example/task": "a=b ä <&>", "empty": ""});
    client.create_with("one", json!({"labels": labels, "start": false})).await;
    client.create_with("two", json!({"labels": {"course": "intro"}, "start": false})).await;
    client.create_with("three", json!({"start": false})).await;
    theirs.create_with("one", json!({"labels": {"course": "intro"}, "start": false})).await;

    assert_eq!(client.get("/containers/one").await.ok()["container"]["labels"], labels);
    assert_eq!(client.get("/containers/three").await.ok()["container"]["labels"], json!({}));
    let list = client.get("/containers").await.ok();
    let all: Vec<&Value> = list["containers"].as_array().unwrap().iter().map(|one| &one["labels"]).collect();
    // One without has the seed's fields only.
    assert_eq!(all, [&labels, &json!({"course": "intro"}), &Value::Null]);

    for (query, found) in [
        ("label=course=intro", &["one", "two"][..]),
        ("label=course%3Dintro&label=empty=", &["one"]),
        ("label=org.example/task=a%3Db+%C3%A4+%3C%26%3E", &["one"]),
        ("label=course=intro&label=course=other", &[]),
        ("label=course=int", &[]),
        ("label=course=", &[]),
        ("label=Course=intro", &[]),
        ("label=course=intro&status=created&limit=1", &["one"]),
        ("label=course=intro&status=running", &[]),
    ] {
        assert_eq!(named(client, query).await, found, "{query}");
    }
    let first = client.get("/containers?label=course=intro&limit=1").await.ok();
    let rest = format!("label=course=intro&cursor={}", first["next_cursor"].as_str().unwrap().replace('+', "%2B"));
    assert_eq!(named(client, &rest).await, ["two"]);
    for wrong in ["label=course", "label=", "label==x", "label=a%20b=c", "label=course=intro&label=course"] {
        client.get(&format!("/containers?{wrong}")).await.blames(&["label"]);
    }

    // As many as there may be, of the widest letters, are not Podman's to carry.
    let most = "<".repeat(16 * 1024 - 1);
    let id = client.create_with("most", json!({"labels": {"n": most}})).await["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get("/containers/most").await.ok()["container"]["labels"]["n"], most);
    let inspected = story.podman.inspect(&id).await;
    assert!(inspected["Config"]["Labels"].as_object().unwrap().keys().all(|name| name != "n"), "{inspected}");
    let more = json!({"labels": {"nn": most}});
    client.try_create("more", more).await.blames(&["labels"]);
}

#[tokio::test]
async fn labels_are_answered_and_looked_for() {
    told(Site::new()).await;
}

#[tokio::test]
async fn labels_are_answered_and_looked_for_on_postgresql() {
    told(Site::on_postgres().await).await;
}
