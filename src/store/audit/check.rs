//! One chain's rows, looked at one after the other.

use std::collections::BTreeMap;

use super::chain::Head;

/// Most hashes of a copy that are compared with the store; of more, the last.
const MOST_NOTED: usize = 100_000;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which chain.
    pub chain: String,
    /// What is wrong with which row.
    pub what: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows looked at.
    pub rows: u64,
    /// Where the chains end.
    pub heads: Vec<Head>,
    /// What is wrong; nothing where it is empty.
    pub findings: Vec<Finding>,
}

/// Hashes that are known from elsewhere: by chain, and by the row's number.
#[derive(Debug, Clone, Default)]
pub struct Noted(pub(super) BTreeMap<String, BTreeMap<i64, String>>);

impl Noted {
    /// One more. Of very many, the first and the last are kept.
    pub fn add(&mut self, head: Head) {
        let chain = self.0.entry(head.chain).or_default();
        if chain.len() >= MOST_NOTED {
            chain.pop_last();
        }
        chain.insert(head.sequence, head.hash);
    }
}

/// A row as it stands somewhere.
pub(super) struct Link<'a> {
    pub sequence: i64,
    pub previous: &'a str,
    pub hash: &'a str,
    pub is_whole: bool,
    /// The last row that is gone before it, and its hash.
    pub checkpoint: Option<(i64, &'a str)>,
}

/// Looks at one chain's rows, one after the other.
pub(super) struct Check {
    chain: String,
    first: Option<(i64, String)>,
    pub last: Option<(i64, String)>,
    last_is_whole: bool,
    checkpoints: Vec<(i64, String)>,
    noted: BTreeMap<i64, String>,
    pub changed: Vec<i64>,
    findings: Vec<(i64, String)>,
}

impl Check {
    pub(super) fn new(chain: &str, noted: &Noted) -> Self {
        Self {
            chain: chain.to_owned(),
            first: None,
            last: None,
            last_is_whole: true,
            checkpoints: Vec::new(),
            noted: noted.0.get(chain).cloned().unwrap_or_default(),
            changed: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, sequence: i64, what: impl Into<String>) {
        self.findings.push((sequence, what.into()));
    }

    pub(super) fn look_at(&mut self, link: &Link<'_>) {
        let Link { sequence, previous, hash, is_whole, checkpoint } = *link;
        if !is_whole {
            self.changed.push(sequence);
        }
        match self.last.clone() {
            None => self.first = Some((sequence, previous.to_owned())),
            Some((last, _)) if sequence <= last => self.find(sequence, format!("stands after row {last}")),
            Some((last, _)) if sequence > last + 1 => self.find(last + 1, missing(last + 1, sequence - 1)),
            Some((last, last_hash)) if last_hash != previous && is_whole && self.last_is_whole => {
                self.find(sequence, format!("does not follow row {last} as it is: one of the two was replaced"));
            }
            Some(_) => {}
        }
        if let Some(noted) = self.noted.remove(&sequence)
            && noted != hash
        {
            self.find(sequence, "is not the one that was noted elsewhere");
        }
        if let Some((upto, hash)) = checkpoint.filter(|_| is_whole) {
            self.checkpoints.push((upto, hash.to_owned()));
        }
        self.last = Some((sequence, hash.to_owned()));
        self.last_is_whole = is_whole;
    }

    /// What only the whole tells. `begins`: the hash that the first row comes after; `end`: where the chain should end.
    pub(super) fn finish(mut self, begins: Option<&str>, end: Option<&Head>) -> Vec<Finding> {
        match (&self.first, begins) {
            (Some((1, previous)), Some(begins)) if previous != begins && !self.changed.contains(&1) => {
                self.find(1, "does not begin this chain");
            }
            (Some((first, previous)), Some(_)) if *first > 1 => {
                let (gone, previous) = (first - 1, previous.clone());
                let says_so = self.checkpoints.iter().any(|(upto, hash)| {
                    // While old rows are being taken away, some of them are still there.
                    *upto > gone || (*upto == gone && *hash == previous)
                });
                if !says_so {
                    self.find(1, format!("{}, and no checkpoint says so", missing(1, gone)));
                }
            }
            _ => {}
        }
        let (last, hash) = self.last.clone().unwrap_or_default();
        if let Some(end) = end {
            if end.sequence > last {
                self.find(last + 1, format!("{} at the end", missing(last + 1, end.sequence)));
            } else if end.sequence < last {
                self.find(end.sequence + 1, format!("is beyond the end of the chain, which is row {}", end.sequence));
            } else if end.hash != hash {
                self.find(last, "is not the one that the chain ends with");
            }
        }
        for (sequence, _) in std::mem::take(&mut self.noted) {
            if sequence > last {
                self.find(sequence, "was noted elsewhere and is missing");
            }
        }
        self.findings.sort_by_key(|(sequence, _)| *sequence);
        let told = |(sequence, what): (i64, String)| Finding {
            chain: self.chain.clone(),
            what: format!("row {sequence}: {what}"),
        };
        self.findings.into_iter().map(told).collect()
    }
}

fn missing(first: i64, last: i64) -> String {
    if first == last { "is missing".to_owned() } else { format!("rows {first} to {last} are missing") }
}
