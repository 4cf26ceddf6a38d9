//! What files of a container are, and what may be asked of them.

use time::OffsetDateTime;

/// What stands at a path inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits, at most 07777.
    pub mode: u32,
    /// Whose.
    pub owner: FileOwner,
    /// When its content changed.
    pub modified: FileTime,
    /// Where a link leads, as bytes.
    pub target: Vec<u8>,
    /// Tells one content from another.
    pub version: FileVersion,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Another name of a file that came before; only in an archive.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
}

/// A moment, as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FileTime {
    /// Since 1970.
    pub seconds: i64,
    /// Beyond them.
    pub nanoseconds: u32,
}

/// What tells one content of a file from another, as far as a file system knows: its number, its size, and when its
/// content and anything about it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileVersion {
    /// Number within its file system.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub modified: FileTime,
    /// Of anything about it.
    pub changed: FileTime,
}

/// One entry of a directory, or of a tree with its path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Linux's names are bytes.
    pub name: Vec<u8>,
    /// What stands there.
    pub info: FileInfo,
}

/// Whose something is, by numbers of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOwner {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// Permission bits that a request gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileTime {
    /// As a date; none for what no calendar of ours has.
    pub fn date(self) -> Option<OffsetDateTime> {
        let nanoseconds = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds);
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()
    }
}

impl FileOwner {
    /// The highest number: each tenant has 65,536 of them.
    pub const MAX: u32 = 65_535;

    /// `USER` or `USER:GROUP`, in numbers; without a group it has the user's number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let found = text.parse().ok().filter(|number| plain && *number <= Self::MAX);
            found.ok_or_else(|| format!("must be UID or UID:GID, numbers up to {}", Self::MAX))
        };
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { user: number(user)?, group: number(group)? })
    }

    /// Whether a container has these numbers.
    pub fn is_within(self) -> bool {
        self.user <= Self::MAX && self.group <= Self::MAX
    }
}

impl FileMode {
    /// Octal digits, as chmod takes them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = (3..=5).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
        mode.map(Self).ok_or_else(|| "must be three or four octal digits, such as 0644".to_owned())
    }
}

impl FileVersion {
    /// The entity tag, quoted (RFC 9110, 8.8.3).
    pub fn tag(&self) -> String {
        let time = |time: FileTime| format!("{:x}.{:x}", time.seconds, time.nanoseconds);
        format!("\"{:x}-{:x}-{}-{}\"", self.inode, self.size, time(self.modified), time(self.changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_numbers() {
        assert_eq!(FileOwner::parse("0"), Ok(FileOwner { user: 0, group: 0 }));
        assert_eq!(FileOwner::parse("1000"), Ok(FileOwner { user: 1000, group: 1000 }));
        assert_eq!(FileOwner::parse("65535:0"), Ok(FileOwner { user: 65_535, group: 0 }));
        for bad in ["", ":", "1:", ":1", "root", "-1", "+1", "65536", "1:65536", "1:2:3", " 1", "0x1"] {
            assert!(FileOwner::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (text, mode) in [("644", 0o644), ("0644", 0o644), ("4755", 0o4755), ("000", 0), ("07777", 0o7777)] {
            assert_eq!(FileMode::parse(text), Ok(FileMode(mode)), "{text}");
        }
        for bad in ["", "7", "64", "888", "17777", "0o644", "+644", "-644", "rwx", "00644x"] {
            assert!(FileMode::parse(bad).is_err(), "{bad:?}");
        }
    }
}
