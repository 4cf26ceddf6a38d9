//! One block of 512 bytes that says what follows.

use super::BLOCK;

/// What a block says, before anything that came in front of it is taken into account.
#[derive(Debug)]
pub(super) struct Header {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: u8,
    pub size: u64,
    pub mode: u32,
    pub user: u64,
    pub group: u64,
    pub modified: i64,
}

impl Header {
    /// None for the block of zeros that ends an archive.
    pub fn read(block: &[u8; BLOCK]) -> Result<Option<Self>, String> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => u64::from(b' '),
                _ => u64::from(*byte),
            })
            .sum();
        if number(&block[148..156]).and_then(|sum| u64::try_from(sum).ok()) != Some(sum) {
            return Err("a block that is no tar header".into());
        }
        let count = |field: &[u8], what: &str| {
            let found = number(field).and_then(|number| u64::try_from(number).ok());
            found.ok_or_else(|| format!("an entry whose {what} is no number"))
        };
        let mut name = text(&block[..100]);
        // POSIX alone has a prefix there; GNU has times.
        let prefix = text(&block[345..500]);
        if &block[257..265] == b"ustar\x0000" && !prefix.is_empty() {
            name = [&prefix, &b"/"[..], &name].concat();
        }
        Ok(Some(Self {
            name,
            link: text(&block[157..257]),
            kind: block[156],
            size: count(&block[124..136], "size")?,
            mode: u32::try_from(count(&block[100..108], "mode")? & 0o7777).unwrap_or_default(),
            user: count(&block[108..116], "user")?,
            group: count(&block[116..124], "group")?,
            modified: number(&block[136..148]).ok_or("an entry whose time is no number")?,
        }))
    }
}

/// Up to its first NUL.
fn text(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// Octal digits between blanks and NULs, or GNU's binary form. Nothing at all is 0.
fn number(field: &[u8]) -> Option<i64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // Two's complement in 7 bits less than the field has.
        let negative = first & 0x40 != 0;
        let mut value = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
        for byte in rest {
            value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
        }
        return i64::try_from(value).ok();
    }
    let digits = field.split(|byte| matches!(byte, 0 | b' ')).find(|part| !part.is_empty()).unwrap_or_default();
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}
