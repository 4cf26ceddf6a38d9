//! `podgate backup`, `podgate restore`.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::deeds::{announce_with, ended};
use super::progress::Progress;
use super::{ConfigFile, Failure, load, print};
use crate::app;
use crate::domain::{Error, Kind, timestamp_ms};
use crate::metrics::Metrics;
use crate::store::{Object, RestoreOptions, Room, Scratch, Store};

#[derive(clap::Args)]
pub(super) struct Backup {
    /// Where to; `-` is standard output. The file holds keys and password hashes and is for its owner only.
    file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(clap::Args)]
pub(super) struct Restore {
    /// What `backup` wrote; `-` is standard input.
    file: PathBuf,
    /// Let go what the store holds.
    #[arg(long)]
    replace: bool,
    /// Have everybody sign in anew. Without, sessions are as they were: those that were ended since go on.
    #[arg(long)]
    end_sessions: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn backup(Backup { file, force, config }: Backup) -> Result<(), Failure> {
    let config = load(&config)?;
    let store = Store::open_as_it_is(&config.store, app::world()).await?;
    if file.as_os_str() == "-" {
        store.dump(&mut std::io::stdout().lock()).await?;
        return Ok(());
    }
    let file = place(&file, force)?;
    let failed = |error: std::io::Error| Error::new(Kind::StoreDown, format!("{}: {error}", file.display()));
    let temporary = Temporary::beside(&file);
    let mut options = std::fs::OpenOptions::new();
    let out = options.write(true).create_new(true).mode(0o600).open(&temporary.0).map_err(failed)?;
    let mut out = Progress::of(BufWriter::new(out), "written");
    let rows = store.dump(&mut out).await?;
    out.end().into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    if force {
        std::fs::rename(&temporary.0, &file).map_err(failed)?;
    } else {
        // Unlike a rename, a link fails where something is.
        std::fs::hard_link(&temporary.0, &file).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(&file),
            _ => failed(error),
        })?;
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(print(&format!("{rows} rows in {}\n", file.display()))?)
}

/// Where a backup of that name goes: what a link leads to is replaced, and the link stays. Nothing but a file ever is: as
/// root, a rename would put one in place of a device.
fn place(named: &Path, force: bool) -> Result<PathBuf, Error> {
    let file = match std::fs::canonicalize(named) {
        Ok(file) => file,
        Err(_) if !named.is_symlink() => return Ok(named.to_owned()),
        Err(error) => return Err(Error::new(Kind::NotFound, format!("{} leads nowhere: {error}", named.display()))),
    };
    if !file.is_file() {
        let message =
            format!("{} is no file; a backup goes to a file, or with `-` to standard output", named.display());
        return Err(Error::new(Kind::Conflict, message));
    }
    if force { Ok(file) } else { Err(exists(named)) }
}

fn exists(file: &Path) -> Error {
    Error::new(Kind::Conflict, format!("{} exists; --force replaces it", file.display()))
}

/// A file that is gone when this is dropped, unless it got another name.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        Self(name.into())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) async fn restore(Restore { file, replace, end_sessions, config }: Restore) -> Result<(), Failure> {
    let config = load(&config)?;
    let world = app::world();
    app::make_private_dir(&config.data_dir)?;
    let _lock = app::lock(&config.data_dir)?;
    let path = config.data_dir.join(format!("restore-{}.db", (world.new_id)()));
    let unreadable = |error: std::io::Error| Error::new(Kind::NotFound, format!("{}: {error}", file.display()));
    // Read whole before anything is touched.
    let scratch = if file.as_os_str() == "-" {
        Scratch::read(&mut std::io::stdin().lock(), &path, world).await?
    } else {
        let mut input = BufReader::new(Progress::of(File::open(&file).map_err(unreadable)?, "read"));
        let scratch = Scratch::read(&mut input, &path, world).await?;
        input.into_inner().end();
        scratch
    };
    let store = app::open_store(&config, Metrics::new(), world).await?;
    let restored = store.restore(&scratch, RestoreOptions { replace, end_sessions }).await?;
    // By the records that are there now: whose chain it is, and where that ends, are others.
    drop(store);
    let store = app::open_store(&config, Metrics::new(), world).await?;
    let reason = format!("{} rows, as of {}", restored.rows, timestamp_ms(restored.made_ms));
    let object = Object::of_kind("store");
    let entry = announce_with(&store, ("restoreStore", object), Some(&reason), Room::NotNeeded).await?;
    ended(&store, &entry, Ok(())).await?;
    print(&format!(
        "{} rows restored, as of {}\n\
         What Podman has that these records do not know stays as it is: `podgate strays list` shows it, `podgate strays \
         remove` takes it away.\n",
        restored.rows,
        timestamp_ms(restored.made_ms)
    ))?;
    if let Some(other) = restored.other_installation.filter(|_| replace) {
        print(&format!("The store belonged to the installation {other} before; what that one has in Podman stays.\n"))?;
    }
    Ok(())
}
