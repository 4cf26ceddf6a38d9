//! An archive that is written a piece at a time.

use super::BLOCK;
use crate::domain::{FileEntry, FileKind};

/// Writes entries one after another. What is given for content has to be as much as the entry says.
#[derive(Default)]
pub struct ArchiveWriter {
    /// Of the content that is being written.
    padding: usize,
}

impl ArchiveWriter {
    /// What announces an entry. What stood before it is complete. Nothing for what an archive does not hold.
    pub fn entry(&mut self, entry: &FileEntry) -> Vec<u8> {
        let mut out = vec![0; std::mem::take(&mut self.padding)];
        let FileEntry { name, info } = entry;
        let (kind, size) = match info.kind {
            FileKind::File => (tar::EntryType::Regular, info.size),
            FileKind::Directory => (tar::EntryType::Directory, 0),
            FileKind::Link => (tar::EntryType::Symlink, 0),
            FileKind::HardLink => (tar::EntryType::Link, 0),
            FileKind::Fifo | FileKind::Socket | FileKind::Device => return out,
        };
        let mut name = name.clone();
        if info.kind == FileKind::Directory {
            name.push(b'/');
        }
        let mut records = Vec::new();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(info.mode);
        header.set_uid(info.owner.user.into());
        header.set_gid(info.owner.group.into());
        match u64::try_from(info.modified.seconds) {
            Ok(seconds) if seconds < 1 << 33 => header.set_mtime(seconds),
            _ => record(&mut records, "mtime", info.modified.seconds.to_string().as_bytes()),
        }
        if size < 1 << 33 {
            header.set_size(size);
        } else {
            record(&mut records, "size", size.to_string().as_bytes());
            header.set_size(0);
        }
        let bytes = header.as_mut_bytes();
        put(&mut bytes[..100], &name, "path", &mut records);
        put(&mut bytes[157..257], &info.target, "linkpath", &mut records);
        header.set_cksum();
        if !records.is_empty() {
            let mut extended = tar::Header::new_ustar();
            extended.set_entry_type(tar::EntryType::XHeader);
            extended.set_size(records.len() as u64);
            extended.set_mode(0o644);
            extended.as_mut_bytes()[..3].copy_from_slice(b"pax");
            extended.set_cksum();
            out.extend_from_slice(extended.as_bytes());
            let padding = records.len().next_multiple_of(BLOCK) - records.len();
            out.extend_from_slice(&records);
            out.resize(out.len() + padding, 0);
        }
        out.extend_from_slice(header.as_bytes());
        let beyond = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        self.padding = (BLOCK - beyond) % BLOCK;
        out
    }

    /// What ends it.
    pub fn end(&mut self) -> Vec<u8> {
        vec![0; std::mem::take(&mut self.padding) + 2 * BLOCK]
    }
}

/// Into a field of the header, or where it does not fit, in front of it.
fn put(field: &mut [u8], text: &[u8], key: &str, records: &mut Vec<u8>) {
    match field.get_mut(..text.len()) {
        Some(room) => room.copy_from_slice(text),
        None => {
            let length = field.len();
            field.copy_from_slice(&text[..length]);
            record(records, key, text);
        }
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}
