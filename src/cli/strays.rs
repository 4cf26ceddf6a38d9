//! `podgate strays …`: what Podman has of this installation that its records do not know, after a restore.

use clap::Subcommand;

use super::{ConfigFile, Failure, load, print, print_json};
use crate::app;
use crate::config::Config;
use crate::engine::Engine;
use crate::lifecycle::{FailPoint, Lifecycle, Strays};
use crate::metrics::Metrics;
use crate::policy::grant::SystemGrant;
use crate::store::Store;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show them.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take them away, with what is in them.
    Remove(ConfigFile),
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let grant = SystemGrant::for_upkeep();
    match command {
        Command::List { file, json } => {
            let (lifecycle, _) = open(&file).await?;
            let Strays { containers, networks, volumes } = lifecycle.strays(&grant).await?;
            if json {
                let containers: Vec<_> = containers
                    .iter()
                    .map(|one| serde_json::json!({"id": one.engine_id.short().to_string(), "name": one.name}))
                    .collect();
                let all = serde_json::json!({"containers": containers, "networks": networks, "volumes": volumes});
                return Ok(print_json(&all)?);
            }
            for container in containers {
                print(&format!("container {} {}\n", container.engine_id.short(), container.name))?;
            }
            for network in networks {
                print(&format!("network {network}\n"))?;
            }
            for volume in volumes {
                print(&format!("volume {volume}\n"))?;
            }
        }
        Command::Remove(file) => {
            let (lifecycle, store) = open(&file).await?;
            let gone = lifecycle.remove_strays(&grant).await?;
            let left = lifecycle.strays(&grant).await?;
            if left.is_empty() {
                store.keep_no_strays().await?;
            }
            print(&format!("{gone} removed, {} left\n", left.count()))?;
        }
    }
    Ok(())
}

async fn open(file: &ConfigFile) -> Result<(Lifecycle, Store), Failure> {
    let config = load(file)?;
    let metrics = Metrics::new();
    let store = app::open_store(&config, metrics.clone(), app::world()).await?;
    let installation = store.installation().await?;
    let Config { engine, images, output, agent_path, .. } = &config;
    let engine = Engine::new(engine, images, output, agent_path, metrics, &installation, app::world());
    Ok((Lifecycle::new(store.clone(), engine, installation, FailPoint::default(), config.own_ports()), store))
}
