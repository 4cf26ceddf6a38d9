//! The whole workflow with a client that progenitor generates from the committed document.
//!
//! PODGATE_URL, PODGATE_USERNAME and PODGATE_PASSWORD say where and who.

use std::env::var;
use std::error::Error;

use futures_util::TryStreamExt;
use progenitor_client::{ByteStream, ClientInfo};
use reqwest::header::{AUTHORIZATION, HeaderMap};

mod events;
mod ten_lines;

mod podgate {
    progenitor::generate_api!(spec = "../../../openapi/podgate-v1.json", interface = Builder);
}
use podgate::{Client, types};

fn client(token: Option<&str>) -> Result<Client, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
    }
    let http = reqwest::Client::builder().default_headers(headers).build()?;
    Ok(Client::new_with_client(&format!("{}/api/v1", var("PODGATE_URL")?), http))
}

/// All of an answer that comes as a stream of bytes.
async fn whole(stream: ByteStream) -> Result<Vec<u8>, Box<dyn Error>> {
    let parts: Vec<_> = stream.into_inner().try_collect().await?;
    Ok(parts.concat())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (username, password) = (var("PODGATE_USERNAME")?, var("PODGATE_PASSWORD")?);
    let credentials = types::TokenRequest { username, password };
    let signed = client(None)?.create_token().body(credentials).send().await?;
    let podgate = client(Some(&signed.access_token))?;

    let name = "from-rust";
    let words = ["sh", "-c", "echo ready; exec sleep 300"].map(str::to_owned).to_vec();
    let wanted = types::CreateContainerRequest::builder().name(name).image("alpine").command(Some(words.into()));
    let made = podgate.create_container().body(wanted).send().await?;
    assert_eq!(made.container.status, "running");

    // A small file in JSON, one of any size as it is, and a directory as an archive.
    let file = types::AddFileRequest::builder().dest_path("/tmp/hello").content("hello from Rust\n");
    let written = podgate.add_container_file().name(name).body(file).send().await?;
    assert_eq!(written.file.size, 16);
    let content: Vec<u8> = (0..1 << 18).map(|number: u32| number.to_le_bytes()[0]).collect();
    let put = podgate.put_container_file_content().name(name).path("/tmp/bytes").body(content.clone()).send().await?;
    assert_eq!((put.file.created, put.file.size), (true, 1 << 18));
    let read = podgate.get_container_file_content().name(name).path("/tmp/bytes").send().await?;
    assert!(whole(read.into_inner()).await? == content);
    let archive = podgate.get_container_archive().name(name).path("/tmp").send().await?;
    let archive = whole(archive.into_inner()).await?;
    let directory = types::CreateDirectoryRequest::builder().path("/srv");
    podgate.create_container_directory().name(name).body(directory).send().await?;
    let unpacked = podgate.put_container_archive().name(name).path("/srv").body(archive).send().await?;
    assert_eq!(unpacked.archive.files, 2);

    let words = vec!["cat".to_owned(), "/srv/tmp/hello".to_owned()];
    let command = types::ExecRequest::builder().command(words);
    let done = podgate.exec_in_container().name(name).body(command).send().await?;
    assert_eq!((done.execution.exit_code, done.execution.output.as_str()), (0, "hello from Rust\n"));

    let log = podgate.get_container_logs().name(name).tail(10).send().await?;
    assert_eq!(log.container.logs, "ready\n");
    // The log goes on until the container ends, and says why it does. The generated operation knows the answer in JSON only.
    let url = format!("{}/containers/{name}/logs?follow=true", podgate.baseurl());
    let answer = podgate.client().get(url).send().await?.error_for_status()?;
    let (mut stream, mut kept) = (ByteStream::new(Box::pin(answer.bytes_stream())), Vec::new());
    let (event, data) = events::next(&mut stream, &mut kept).await?.ok_or("no event")?;
    let line: types::LogLine = serde_json::from_str(&data)?;
    assert_eq!((event.as_str(), line.text.as_str(), line.output), ("log", "ready\n", types::LogOutput::Stdout));
    let stopped = podgate.stop_container().name(name).timeout(0).send().await?;
    assert_eq!(stopped.container.status, types::ContainerChange::Stopped);
    let (event, data) = events::next(&mut stream, &mut kept).await?.ok_or("no end")?;
    let end: types::StreamEnd = serde_json::from_str(&data)?;
    assert_eq!((event.as_str(), end.reason), ("end", types::EndReason::Stopped));
    assert!(events::next(&mut stream, &mut kept).await?.is_none());
    podgate.remove_container().name(name).send().await?;

    let gone = podgate.get_container().name(name).send().await.expect_err("it is gone");
    let progenitor_client::Error::ErrorResponse(refusal) = gone else { return Err(gone.into()) };
    assert_eq!((refusal.error.code, refusal.error.type_), (404, types::ErrorType::PodmanApiError));
    ten_lines::run(podgate).await?;
    println!("rust: done");
    Ok(())
}
