//! The example of docs/clients.md.

use std::error::Error;

use super::podgate::{Client, types};

pub async fn run(podgate: Client) -> Result<(), Box<dyn Error>> {
    let sleep = Some("sleep 300".to_owned());
    let wanted = types::CreateContainerRequest::builder().name("ten").image("alpine").command(Some(sleep.into()));
    podgate.create_container().body(wanted).send().await?;
    let words = ["uname", "-a"].map(str::to_owned).to_vec();
    let command = types::ExecRequest::builder().command(words);
    let done = podgate.exec_in_container().name("ten").body(command).send().await?;
    print!("{}", done.execution.output);
    podgate.remove_container().name("ten").force(true).send().await?;
    Ok(())
}
