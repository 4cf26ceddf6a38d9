//! Whether the log is as it was written.
//!
//! What this proves: no row was changed, taken out, added or moved by anybody who did not compute the rest of its chain
//! anew. Who can write the database and does compute it anew is found by comparing with what they cannot write: a head
//! that was noted elsewhere, or the copy.

use std::collections::BTreeMap;

use super::chain::{Head, rows_after};
use super::record::{CHECKPOINT, Row, digest, genesis, without_hash};
use crate::domain::{Error, Result};
use crate::store::Store;

/// Rows read at once.
const BITE: i64 = 1000;
/// Most rows that are looked at for whether they were only moved.
const MOST_CHANGED: usize = 200;
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
pub struct Noted(BTreeMap<String, BTreeMap<i64, String>>);

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
struct Link<'a> {
    sequence: i64,
    previous: &'a str,
    hash: &'a str,
    is_whole: bool,
    /// The last row that is gone before it, and its hash.
    checkpoint: Option<(i64, &'a str)>,
}

/// Looks at one chain's rows, one after the other.
struct Check {
    chain: String,
    first: Option<(i64, String)>,
    last: Option<(i64, String)>,
    last_is_whole: bool,
    checkpoints: Vec<(i64, String)>,
    noted: BTreeMap<i64, String>,
    changed: Vec<i64>,
    findings: Vec<(i64, String)>,
}

impl Check {
    fn new(chain: &str, noted: &Noted) -> Self {
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

    fn find(&mut self, sequence: i64, what: impl Into<String>) {
        self.findings.push((sequence, what.into()));
    }

    fn look_at(&mut self, link: &Link<'_>) {
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
    fn finish(mut self, begins: Option<&str>, end: Option<&Head>) -> Vec<Finding> {
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

impl Store {
    /// Looks at all rows of all chains.
    pub async fn verify_audit(&self, noted: &Noted) -> Result<Report> {
        let heads: Vec<Head> = sqlx::query_as("SELECT chain, sequence, hash FROM audit_chains ORDER BY chain")
            .fetch_all(&self.pool)
            .await?;
        let mut chains: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT chain FROM audit_log").fetch_all(&self.pool).await?;
        chains.extend(heads.iter().map(|head| head.chain.clone()));
        chains.extend(noted.0.keys().cloned());
        chains.sort();
        chains.dedup();
        let mut report = Report { heads, ..Report::default() };
        for chain in chains {
            let findings = self.verify_chain(&chain, noted, &mut report).await?;
            report.findings.extend(findings);
        }
        Ok(report)
    }

    async fn verify_chain(&self, chain: &str, noted: &Noted, report: &mut Report) -> Result<Vec<Finding>> {
        let (mut check, mut changed, mut after) = (Check::new(chain, noted), Vec::new(), i64::MIN);
        loop {
            let rows = rows_after(&self.pool, chain, after, BITE).await?;
            let Some(last) = rows.last() else { break };
            after = last.sequence;
            for row in rows {
                report.rows += 1;
                let is_whole = row.digest().as_ref() == Some(&row.hash);
                check.look_at(&Link {
                    sequence: row.sequence,
                    previous: &row.previous,
                    hash: &row.hash,
                    is_whole,
                    checkpoint: checkpoint(&row.phase, row.detail.as_deref()),
                });
                if !is_whole && changed.len() < MOST_CHANGED {
                    changed.push(row);
                }
            }
        }
        for sequence in check.changed.clone() {
            let row = changed.iter().find(|row| row.sequence == sequence);
            let belongs = row.and_then(|row| belongs(row, &check.changed));
            check.find(
                sequence,
                match belongs {
                    Some(place) => format!("is row {place}, moved here"),
                    None => "was changed".to_owned(),
                },
            );
        }
        let head = report.heads.iter().find(|head| head.chain == chain);
        let begins = genesis(&self.installation().await?, chain);
        let missing_head = head.is_none() && check.last.is_some();
        let mut findings = check.finish(Some(&begins), head);
        if missing_head {
            findings.push(Finding { chain: chain.to_owned(), what: "nothing says where it ends".into() });
        }
        Ok(findings)
    }

    /// All rows as lines of the copy, chain by chain.
    pub async fn export_audit(&self, mut print: impl FnMut(&str)) -> Result<()> {
        let chains: Vec<String> =
            sqlx::query_scalar("SELECT chain FROM audit_chains ORDER BY chain").fetch_all(&self.pool).await?;
        for chain in chains {
            let mut after = i64::MIN;
            loop {
                let rows = rows_after(&self.pool, &chain, after, BITE).await?;
                let Some(last) = rows.last() else { break };
                after = last.sequence;
                rows.iter().for_each(|row| print(&row.line()));
            }
        }
        Ok(())
    }
}

/// Where a row that was moved came from.
fn belongs(row: &Row, places: &[i64]) -> Option<i64> {
    let places = places.iter().take(MOST_CHANGED).copied();
    places.into_iter().find(|place| row.digest_at(*place).as_ref() == Some(&row.hash))
}

/// `SEQUENCE:HASH`, as a checkpoint has it.
fn checkpoint<'a>(phase: &str, detail: Option<&'a str>) -> Option<(i64, &'a str)> {
    let (sequence, hash) = detail.filter(|_| phase == CHECKPOINT)?.split_once(':')?;
    Some((sequence.parse().ok()?, hash))
}

/// What a line of the copy says of its place.
#[derive(serde::Deserialize)]
struct Line {
    chain: String,
    sequence: i64,
    previous: String,
    phase: String,
    detail: Option<String>,
}

/// Looks at the lines of a copy; gives what it has of each chain, to compare the store with.
pub fn verify_copy(lines: impl Iterator<Item = std::io::Result<String>>) -> Result<(Report, Noted)> {
    let (mut report, mut noted) = (Report::default(), Noted::default());
    let mut checks: BTreeMap<String, Check> = BTreeMap::new();
    for (number, line) in lines.enumerate() {
        let line = line.map_err(|error| Error::invalid(format!("the copy cannot be read: {error}")))?;
        let parsed = without_hash(&line).and_then(|(text, hash)| {
            let known: Line = serde_json::from_str(&text).ok()?;
            Some((known, digest(&text) == hash, hash.to_owned()))
        });
        let Some((known, is_whole, hash)) = parsed else {
            // One that was cut off is there once more, whole.
            let what = format!("line {}: is no row", number + 1);
            report.findings.push(Finding { chain: String::new(), what });
            continue;
        };
        report.rows += 1;
        let check = checks.entry(known.chain.clone()).or_insert_with(|| Check::new(&known.chain, &Noted::default()));
        let is_again = check.last.as_ref().is_some_and(|(last, _)| known.sequence <= *last)
            && noted.0.get(&known.chain).and_then(|seen| seen.get(&known.sequence)) == Some(&hash);
        if is_again {
            continue;
        }
        check.look_at(&Link {
            sequence: known.sequence,
            previous: &known.previous,
            hash: &hash,
            is_whole,
            checkpoint: checkpoint(&known.phase, known.detail.as_deref()),
        });
        noted.add(Head { chain: known.chain, sequence: known.sequence, hash });
    }
    for mut check in checks.into_values() {
        check.changed.clone().into_iter().for_each(|sequence| check.find(sequence, "was changed"));
        report.findings.extend(check.finish(None, None));
    }
    Ok((report, noted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::audit::record::Record;

    fn chain(rows: i64) -> Vec<Row> {
        let mut previous = genesis("i", "c");
        let row = |sequence| {
            let row = Row::place(Record { time_ms: sequence, ..Record::default() }, "c", sequence, &previous);
            previous.clone_from(&row.hash);
            row
        };
        (1..=rows).map(row).collect()
    }

    fn findings(rows: &[Row]) -> Vec<String> {
        let lines = rows.iter().map(|row| Ok(row.line()));
        verify_copy(lines).unwrap().0.findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_copy_tells_what_was_done_to_it() {
        let whole = chain(9);
        assert_eq!(findings(&whole), [] as [&str; 0]);
        assert_eq!(findings(&whole[3..]), [] as [&str; 0], "it may begin anywhere");
        let mut changed = whole.clone();
        changed[4].time_ms = 77;
        assert_eq!(findings(&changed), ["row 5: was changed"]);
        let mut cut = whole.clone();
        cut.remove(4);
        assert_eq!(findings(&cut), ["row 5: is missing"]);
        let mut swapped = whole.clone();
        swapped.swap(4, 5);
        assert!(findings(&swapped).contains(&"row 5: stands after row 6".to_owned()), "{:?}", findings(&swapped));
        let mut again = whole.clone();
        again.extend_from_slice(&whole[6..]);
        assert_eq!(findings(&again), [] as [&str; 0], "what is there twice is the same");
        // Computed anew from the change on: only the row after it shows.
        let mut forged = whole.clone();
        forged[4] = Row::place(Record { time_ms: 77, ..Record::default() }, "c", 5, &whole[3].hash);
        assert_eq!(findings(&forged), ["row 6: does not follow row 5 as it is: one of the two was replaced"]);
        let torn = whole.iter().map(|row| Ok(row.line())).chain([Ok("{\"chain\":\"c\",\"seq".to_owned())]);
        assert_eq!(verify_copy(torn).unwrap().0.findings[0].what, "line 10: is no row");
    }
}
