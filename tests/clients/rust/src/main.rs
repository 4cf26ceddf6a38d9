//! The whole workflow with a client that progenitor generates from the committed document.
//!
//! PODGATE_URL, PODGATE_USERNAME and PODGATE_PASSWORD say where and who.

use std::env::var;
use std::error::Error;

use reqwest::header::{AUTHORIZATION, HeaderMap};

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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (username, password) = (var("PODGATE_USERNAME")?, var("PODGATE_PASSWORD")?);
    let credentials = types::TokenRequest { username, password };
    let signed = client(None)?.create_token().body(credentials).send().await?;
    let podgate = client(Some(&signed.access_token))?;

    let name = "from-rust";
    let sleep = Some("sleep 300".to_owned());
    let wanted = types::CreateContainerRequest::builder().name(name).image("alpine").command(Some(sleep.into()));
    let made = podgate.create_container().body(wanted).send().await?;
    assert_eq!(made.container.status, "running");

    let file = types::AddFileRequest::builder().dest_path("/tmp/hello").content("hello from Rust\n");
    let written = podgate.add_container_file().name(name).body(file).send().await?;
    assert_eq!(written.file.size, 16);

    let words = vec!["cat".to_owned(), "/tmp/hello".to_owned()];
    let command = types::ExecRequest::builder().command(words);
    let done = podgate.exec_in_container().name(name).body(command).send().await?;
    assert_eq!((done.execution.exit_code, done.execution.output.as_str()), (0, "hello from Rust\n"));

    podgate.get_container_logs().name(name).tail(10).send().await?;
    let stopped = podgate.stop_container().name(name).timeout(0).send().await?;
    assert_eq!(stopped.container.status, "stopped");
    podgate.remove_container().name(name).send().await?;

    let gone = podgate.get_container().name(name).send().await.expect_err("it is gone");
    let progenitor_client::Error::ErrorResponse(refusal) = gone else { return Err(gone.into()) };
    assert_eq!((refusal.error.code, refusal.error.type_), (404, types::ErrorType::PodmanApiError));
    ten_lines::run(podgate).await?;
    println!("rust: done");
    Ok(())
}
