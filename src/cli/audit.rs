//! `podgate audit …`

use std::io::BufRead;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ConfigFile, Failure, load, print, print_json};
use crate::app::{self, Opened};
use crate::domain::{Error, Kind, parse_timestamp_ms};
use crate::store::{AuditFilter, Ended, Finding, Head, Noted, Report, Store, verify_copy};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check that no row was changed, taken out, added or moved, and say which.
    ///
    /// Prints where each chain ends. Note that where nobody who can write the database can write, and give it to a later
    /// check: without it, a log whose end was cut off or which was computed anew looks whole.
    Verify {
        /// CHAIN:ROW:HASH, as an earlier check printed it. Repeatable.
        #[arg(long = "head", value_name = "CHAIN:ROW:HASH", value_parser = parse_head)]
        heads: Vec<Head>,
        /// A copy (audit.file) to check as well, and to compare the database with.
        #[arg(long, value_name = "FILE")]
        copy: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print what was done or refused, newest first, as lines of JSON.
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// Says nothing more: each line is JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print all rows as they are chained, in the form of the copy.
    Export(ConfigFile),
}

#[derive(clap::Args)]
pub(super) struct Wanted {
    /// From then on, RFC 3339.
    #[arg(long, value_parser = parse_timestamp_ms)]
    since: Option<i64>,
    /// Until before then, RFC 3339.
    #[arg(long, value_parser = parse_timestamp_ms)]
    until: Option<i64>,
    /// Who, or an API key's public identifier.
    #[arg(long)]
    actor: Option<String>,
    /// An operation's identifier.
    #[arg(long)]
    verb: Option<String>,
    /// An object's name or identifier.
    #[arg(long)]
    object: Option<String>,
    /// success, failed, refused or unknown.
    #[arg(long, value_parser = str::parse::<Ended>)]
    outcome: Option<Ended>,
    /// A tenant's name.
    #[arg(long)]
    tenant: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

fn parse_head(text: &str) -> Result<Head, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [chain, sequence, hash] = parts[..] else { return Err("must be CHAIN:ROW:HASH".into()) };
    let sequence = sequence.parse().map_err(|_| "ROW must be a number")?;
    Ok(Head { chain: chain.to_owned(), sequence, hash: hash.to_owned() })
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Verify { heads, copy, json, file } => {
            let Opened { store, .. } = app::open(&load(&file)?, app::world()).await?;
            Ok(verify(&store, heads, copy, json).await?)
        }
        Command::List { wanted, file, .. } => {
            let Opened { store, .. } = app::open(&load(&file)?, app::world()).await?;
            let Wanted { since, until, actor, verb, object, outcome, tenant, limit } = wanted;
            let filter = AuditFilter { since_ms: since, until_ms: until, actor, verb, object, outcome, tenant };
            for entry in store.audit_entries(None, &filter, None, limit).await? {
                print(&format!("{}\n", entry.line()))?;
            }
            Ok(())
        }
        Command::Export(file) => {
            let Opened { store, .. } = app::open(&load(&file)?, app::world()).await?;
            Ok(store.export_audit(|line| print(&format!("{line}\n"))).await?)
        }
    }
}

async fn verify(store: &Store, heads: Vec<Head>, copy: Option<PathBuf>, json: bool) -> Result<(), Error> {
    let (mut noted, mut checked) = (Noted::default(), Vec::new());
    if let Some(path) = copy {
        let file = std::fs::File::open(&path);
        let file = file.map_err(|error| Error::new(Kind::NotFound, format!("{}: {error}", path.display())))?;
        // A line that was cut off may end within a character.
        let lines = std::io::BufReader::new(file).split(b'\n');
        let lines = lines.map(|line| line.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        let (report, known) = verify_copy(lines)?;
        checked.push((path.display().to_string(), report));
        noted = known;
    }
    heads.into_iter().for_each(|head| noted.add(head));
    let report = store.verify_audit(&noted).await?;
    let heads: Vec<String> = report.heads.iter().map(head_of).collect();
    checked.push(("the database".to_owned(), report));
    if json {
        let checked: Vec<Value> = checked.iter().map(|(place, report)| as_json(place, report)).collect();
        print_json(&json!({"checked": checked, "heads": heads}))?;
    } else {
        checked.iter().try_for_each(|(place, report)| tell(place, report))?;
        heads.iter().try_for_each(|head| print(&format!("{head}\n")))?;
    }
    match checked.iter().map(|(_, report)| report.findings.len()).sum::<usize>() {
        0 => Ok(()),
        wrong => Err(Error::new(Kind::Conflict, format!("the audit log is not whole: {wrong} finding(s)"))),
    }
}

/// As `--head` takes it.
fn head_of(Head { chain, sequence, hash }: &Head) -> String {
    format!("{chain}:{sequence}:{hash}")
}

fn tell(place: &str, report: &Report) -> Result<(), Error> {
    for Finding { chain, what } in &report.findings {
        print(&format!("{place}: chain {chain}: {what}\n"))?;
    }
    print(&format!("{place}: {} rows, {} finding(s)\n", report.rows, report.findings.len()))
}

fn as_json(place: &str, report: &Report) -> Value {
    let findings = report.findings.iter().map(|Finding { chain, what }| json!({"chain": chain, "message": what}));
    json!({"place": place, "rows": report.rows, "findings": findings.collect::<Vec<_>>()})
}
