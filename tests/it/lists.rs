//! Lists in pages and by status.

use serde_json::json;

use crate::support::Story;
use crate::support::client::sleeping;

#[tokio::test]
async fn a_list_comes_in_pages_and_by_status() {
    let story = Story::begin().await;
    let client = &story.client;
    for (name, start) in [("a", true), ("b", false), ("c", true), ("d", false), ("e", false)] {
        client.create(sleeping(name, json!({"start": start}))).await;
    }
    let page = async |query: &str| {
        let answer = client.get(&format!("/containers?{query}")).await.ok();
        let items = answer["containers"].as_array().unwrap().iter();
        let names: Vec<String> = items.map(|item| item["name"].as_str().unwrap().to_owned()).collect();
        (names.join(""), answer["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(page("").await, ("abcde".into(), None));
    assert_eq!(page("status=running").await, ("ac".into(), None));
    assert_eq!(page("limit=5").await, ("abcde".into(), None));
    let (first, cursor) = page("limit=2").await;
    assert_eq!(first, "ab");
    // What is removed in between moves nothing.
    client.delete("/containers/b?force=true").await.ok();
    let (second, cursor) = page(&format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(second, "cd");
    assert_eq!(page(&format!("limit=2&cursor={}", cursor.unwrap())).await, ("e".into(), None));
    let (created, cursor) = page("status=created&limit=1").await;
    assert_eq!(created, "d");
    assert_eq!(page(&format!("status=created&limit=1&cursor={}", cursor.unwrap())).await, ("e".into(), None));

    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=x", "cursor"),
        ("status=", "status"),
        ("status=A", "status"),
        ("status=runing", "status"),
    ] {
        client.get(&format!("/containers?{query}")).await.blames(&[field]);
    }
}
