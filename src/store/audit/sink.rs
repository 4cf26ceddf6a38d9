//! Where lines go.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// A file, standard output, or both.
pub(super) struct Sink {
    path: Option<PathBuf>,
    to_stdout: bool,
    file: Option<File>,
    /// Whether the file's last line may have been cut off.
    is_torn: bool,
}

impl Sink {
    pub(super) fn new(path: Option<PathBuf>, to_stdout: bool) -> Self {
        Self { path, to_stdout, file: None, is_torn: false }
    }

    /// Writes whole lines. May block.
    pub(super) fn write(&mut self, lines: &str) -> io::Result<()> {
        self.reopen_if_moved()?;
        if let Some(file) = &mut self.file {
            if self.is_torn && !lines.is_empty() {
                file.write_all(b"\n")?;
            }
            self.is_torn |= !lines.is_empty();
            file.write_all(lines.as_bytes())?;
            self.is_torn &= lines.is_empty();
        }
        if self.to_stdout {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines.as_bytes())?;
            stdout.flush()?;
        }
        Ok(())
    }

    /// Opens the file of that name, for its owner only, unless it is the one that is open.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let is_open = match (&self.file, std::fs::metadata(path)) {
            (Some(file), Ok(there)) => identity(file.metadata()?) == identity(there),
            _ => false,
        };
        if !is_open {
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
            self.is_torn = is_torn(&file)?;
            self.file = Some(file);
        }
        Ok(())
    }
}

/// Whether it ends in the middle of a line, as after a crash or on a full disk. Whatever is no file never does.
fn is_torn(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let Some(last) = metadata.len().checked_sub(1).filter(|_| metadata.is_file()) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_moved_and_torn() {
        let dir = std::env::temp_dir().join(format!("podgate-sink-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, moved) = (dir.join("audit.jsonl"), dir.join("audit.jsonl.1"));
        let mut sink = Sink::new(Some(path.clone()), false);
        sink.write("").unwrap();
        sink.write("1\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        sink.write("2\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::write(&path, "2\n{\"half").unwrap();
        let mut sink = Sink::new(Some(path.clone()), false);
        sink.write("").unwrap();
        sink.write("3\n4\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n{\"half\n3\n4\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
