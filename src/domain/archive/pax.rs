//! Records in front of an entry that say what its header has no room for (POSIX.1-2001, pax).

use crate::domain::FileTime;

/// What was said of the next entry.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub name: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub user: Option<u64>,
    pub group: Option<u64>,
    pub modified: Option<FileTime>,
}

impl Extended {
    /// Takes `LENGTH KEY=VALUE\n`, one after another. What is not about the entry as we take it is passed over:
    /// other times, names of users, extended attributes.
    pub fn take(&mut self, mut records: &[u8]) -> Result<(), String> {
        let wrong = || "a pax record that makes no sense".to_owned();
        while !records.is_empty() {
            let blank = records.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length: usize =
                digits(&records[..blank]).and_then(|length| length.try_into().ok()).ok_or_else(wrong)?;
            let record = records.get(blank + 1..length).ok_or_else(wrong)?;
            records = &records[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(digits(value).ok_or_else(wrong)?),
                b"uid" => self.user = Some(digits(value).ok_or_else(wrong)?),
                b"gid" => self.group = Some(digits(value).ok_or_else(wrong)?),
                b"mtime" => self.modified = Some(time(value).ok_or_else(wrong)?),
                _ if key.starts_with(b"GNU.sparse") => return Err("a sparse file, which is not taken".into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether anything was said that counts.
    pub fn says_nothing(&self) -> bool {
        matches!(self, Self { name: None, link: None, size: None, user: None, group: None, modified: None })
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Seconds with a fraction, before 1970 too.
fn time(text: &[u8]) -> Option<FileTime> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(digits(whole)?).ok()?;
    let mut nanoseconds = 0_u32;
    for at in 0..9 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(match (negative, nanoseconds) {
        (false, _) => FileTime { seconds, nanoseconds },
        (true, 0) => FileTime { seconds: -seconds, nanoseconds },
        (true, _) => FileTime { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}
