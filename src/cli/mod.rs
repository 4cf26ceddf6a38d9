//! The command line.

mod accounts;
mod audit;
mod backup;
mod class;
mod deeds;
mod doctor;
mod forward;
mod help;
mod log;
mod progress;
mod strays;
mod tenants;
mod user;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use deeds::{account, announce, announce_end, ended};
pub use help::arguments;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{self, Source};
use crate::config::{Config, DEFAULTS, Mistake};
use crate::domain::{Error, Kind, Login};
use crate::serve::{Certificate, ServeError};
use crate::store::Object;

/// An authenticated, multi-tenant API gateway in front of Podman.
#[derive(Parser)]
#[command(name = "podgate", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  podgate check-config                      every mistake of the configuration
  podgate doctor                            whether this host is fit for it
  podgate serve
  podgate tenant create acme --image docker.io/library/alpine:latest
  podgate account create acme/alice --role operator --password-stdin < password-file
  podgate token acme/alice

Commands read the configuration that --config names, else /etc/podgate/podgate.toml where that is there, else the defaults.
What they change, running gateways see at once.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 64 wrong configuration.";

/// The configuration of an installed gateway.
const INSTALLED: &str = "/etc/podgate/podgate.toml";

#[derive(clap::Args)]
struct ConfigFile {
    /// Configuration file; only the keys that differ from the defaults need stand in it. Without: /etc/podgate/podgate.toml
    /// where that is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn path(&self) -> Option<PathBuf> {
        let installed = || Some(PathBuf::from(INSTALLED)).filter(|path| path.exists());
        self.config.clone().or_else(installed)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway. SIGTERM lets running requests finish, SIGHUP takes over a changed configuration.
    Serve(ConfigFile),
    /// Make or update the database.
    Migrate(ConfigFile),
    /// Print the OpenAPI document.
    Openapi {
        // Taken as everywhere; the document does not depend on it.
        #[command(flatten)]
        _file: ConfigFile,
        /// Compare it with this file instead, and fail if they differ.
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "openapi/podgate-v1.json")]
        check: Option<PathBuf>,
    },
    /// Check the configuration and print every mistake.
    CheckConfig {
        #[command(flatten)]
        file: ConfigFile,
        /// Print the commented defaults instead.
        #[arg(long)]
        defaults: bool,
        /// Print the mistakes as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at this host and at Podman: what is wrong, and what to do.
    ///
    /// Best run as root, who sees everything. Changes nothing. Exits with 1 if a check failed.
    Doctor {
        #[command(flatten)]
        file: ConfigFile,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lead ports of this machine to ports inside a container, through a gateway, until Ctrl-C.
    Forward(forward::Forward),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Manage tenants.
    #[command(subcommand)]
    Tenant(tenants::Command),
    /// Manage accounts.
    #[command(subcommand)]
    Account(accounts::Command),
    /// Read and check who did what.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make tenants and accounts for a class.
    #[command(subcommand)]
    Class(class::Command),
    /// Manage the keys that sign tokens.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Write all records to a file, at one moment, while gateways go on working.
    Backup(backup::Backup),
    /// Put a backup in place of the records. No gateway may run on them.
    Restore(backup::Restore),
    /// What Podman has that the records do not know, after a restore.
    #[command(subcommand)]
    Strays(strays::Command),
    /// Print a token for an account, and nothing else.
    Token {
        /// TENANT/NAME, or NAME for a platform administrator.
        #[arg(value_parser = Login::parse)]
        login: Login,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Write a self-signed certificate for localhost, for trying Podgate out.
    DevCertificate {
        /// Directory for cert.pem and key.pem.
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Sign with a new key from now on. Running gateways take it within a second; what other keys signed stays good until
    /// it expires. Refused where a secret of the operator's signs.
    Rotate(ConfigFile),
}

/// Why a command failed.
enum Failure {
    /// With its exit code.
    Config(crate::config::Mistakes),
    /// Standard output says why; this is the sum of it.
    Told(String),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<crate::config::Mistakes> for Failure {
    fn from(mistakes: crate::config::Mistakes) -> Self {
        Self::Config(mistakes)
    }
}

/// Threads that serve, where there are as many processors. Each keeps a heap of its own, and in it what it once needed:
/// after 300 commands that said too much, 16 at a time, one had 176 MiB of its own with 16 threads, and 81 with 4.
/// They pass on what others say; what takes long, such as a password's hash, has threads of its own.
const MOST_WORKERS: usize = 4;

/// Runs the command and says how it went.
pub fn run(arguments: Arguments) -> ExitCode {
    // A command needs no threads to share its work. Where the system gives no more of them, several would wait for each
    // other for ever; one fails and says so.
    let mut runtime = match arguments.command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let outcome = runtime
        .worker_threads(processors.min(MOST_WORKERS))
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(Error::internal(error)))
        .and_then(|runtime| runtime.block_on(dispatch(arguments.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(mistakes)) => {
            eprintln!("podgate: {mistakes}");
            ExitCode::from(64)
        }
        Err(Failure::Told(sum)) => {
            eprintln!("podgate: {sum}");
            ExitCode::FAILURE
        }
        Err(Failure::Other(error)) => {
            // The operator may read the cause; only callers of the API may not.
            eprintln!("podgate: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(file) => serve(load(&file)?, file.path()).await,
        Command::Migrate(file) => {
            app::open(&load(&file)?, app::world()).await?;
            Ok(())
        }
        Command::Openapi { check, .. } => Ok(openapi(check.as_deref())?),
        Command::CheckConfig { defaults: true, .. } => Ok(print(DEFAULTS)?),
        Command::CheckConfig { file, json: true, .. } => {
            let mistakes = mistakes_of(&file).await;
            let all = mistakes.iter().map(|one| json!({"key": one.key, "message": one.message}));
            print_json(&json!({"mistakes": all.collect::<Vec<_>>()}))?;
            if mistakes.is_empty() { Ok(()) } else { Err(Failure::Config(crate::config::Mistakes(mistakes))) }
        }
        Command::CheckConfig { file, .. } => match mistakes_of(&file).await {
            mistakes if mistakes.is_empty() => Ok(print("the configuration is fine\n")?),
            mistakes => Err(Failure::Config(crate::config::Mistakes(mistakes))),
        },
        Command::Doctor { file, json } => doctor::run(file.path(), json).await,
        Command::Forward(arguments) => forward::run(arguments).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut help::command(), "podgate", &mut script);
            Ok(print(&String::from_utf8_lossy(&script))?)
        }
        Command::Tenant(command) => tenants::run(command).await,
        Command::Account(command) => accounts::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Class(command) => class::run(command).await,
        Command::Backup(arguments) => backup::backup(arguments).await,
        Command::Restore(arguments) => backup::restore(arguments).await,
        Command::Strays(command) => strays::run(command).await,
        Command::Key(KeyCommand::Rotate(file)) => {
            let config = load(&file)?;
            if config.auth.hs256_secret.is_some() {
                let message = "tokens are signed with the secret of auth.hs256_secret_file; put another one there";
                return Err(Error::new(Kind::Conflict, message).into());
            }
            let opened = app::open(&config, app::world()).await?;
            let entry = announce(&opened.store, "rotateSigningKey", Object::of_kind("signing_key")).await?;
            let id = ended(&opened.store, &entry, opened.auth.rotate_key(&entry).await).await?;
            Ok(print(&format!("tokens are signed with the key {id} from now on\n"))?)
        }
        Command::Token { login, file } => {
            let opened = app::open(&load(&file)?, app::world()).await?;
            let entry = announce_end(&opened.store, "createToken", account(&opened.store, &login).await?).await?;
            let signed = opened.auth.sign_for(&login, &entry).await;
            Ok(print(&format!("{}\n", ended(&opened.store, &entry, signed).await?.token))?)
        }
        Command::DevCertificate { dir } => Ok(crate::auth::development_certificate(&dir, (app::world().now)())?),
    }
}

/// All that keeps a gateway with this configuration from serving, as far as it can be read here.
async fn mistakes_of(file: &ConfigFile) -> Vec<Mistake> {
    let config = match Config::load(file.path().as_deref()) {
        Ok(config) => config,
        Err(mistakes) => return mistakes.0,
    };
    let mut mistakes = Vec::new();
    for (index, listen) in config.listen.iter().enumerate() {
        let Some(files) = &listen.tls else { continue };
        match Certificate::load(files).await {
            // Whoever may not read a private key cannot say that it is wrong.
            Err(ServeError::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => mistakes.push(Mistake { key: format!("listen[{index}].tls"), message: error.to_string() }),
            Ok(_) => {}
        }
    }
    mistakes
}

fn load(file: &ConfigFile) -> Result<Config, Failure> {
    Ok(Config::load(file.path().as_deref())?)
}

async fn serve(config: Config, file: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source {
        read: Box::new(move || Config::load(file.as_deref())),
        set_log_level: log::start(&config.log),
        // From here on the signal does not end the program, however early it comes.
        hangups: signal(SignalKind::hangup()).map_err(Error::internal)?,
    };
    let end = async {
        told_to_end().await;
        tracing::info!("ending: no new connections, running requests finish");
    };
    Ok(app::serve(config, source, app::world(), end).await?)
}

/// SIGTERM or Ctrl-C.
async fn told_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn openapi(check: Option<&Path>) -> Result<(), Error> {
    let document = app::document()?;
    let Some(path) = check else {
        return print_json(&document);
    };
    let unreadable = |error: String| Error::new(Kind::NotFound, format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let committed: serde_json::Value = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    if committed == document {
        Ok(())
    } else {
        Err(Error::new(Kind::Conflict, format!("{} differs from the program; run `make spec`", path.display())))
    }
}

/// To standard output, all of it. A reader that went away is no failure; a disk that is full is.
fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::internal(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The same of JSON, on several lines.
fn print_json(value: &serde_json::Value) -> Result<(), Error> {
    print(&format!("{}\n", serde_json::to_string_pretty(value).map_err(Error::internal)?))
}

/// One line of standard input, without its end.
fn line_of_stdin() -> Result<String, Error> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Error::invalid("standard input is not UTF-8"),
        _ => Error::internal(error),
    })?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
