//! Whether the log is as it was written.
//!
//! What this proves: no row was changed, taken out, added or moved by anybody who did not compute the rest of its chain
//! anew. Who can write the database and does compute it anew is found by comparing with what they cannot write: a head
//! that was noted elsewhere, or the copy.

use std::collections::BTreeMap;

use sqlx::AnyConnection;

use super::chain::{Head, rows_after};
use super::check::{Check, Finding, Link, Noted, Report};
use super::record::{CHECKPOINT, Row, digest, genesis, without_hash};
use crate::domain::{Error, Result};
use crate::store::Store;

/// Rows read at once.
const BITE: i64 = 1000;
/// Most rows that are looked at for whether they were only moved.
const MOST_CHANGED: usize = 200;

impl Store {
    /// Looks at all rows of all chains, as they are at one moment: gateways go on writing, and take old rows away.
    pub async fn verify_audit(&self, noted: &Noted) -> Result<Report> {
        let mut tx = self.snapshot().await?;
        let heads: Vec<Head> =
            sqlx::query_as("SELECT chain, sequence, hash FROM audit_chains ORDER BY chain").fetch_all(&mut *tx).await?;
        let installation: String = sqlx::query_scalar("SELECT id FROM installation").fetch_one(&mut *tx).await?;
        let mut chains: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT chain FROM audit_log").fetch_all(&mut *tx).await?;
        chains.extend(heads.iter().map(|head| head.chain.clone()));
        chains.extend(noted.0.keys().cloned());
        chains.sort();
        chains.dedup();
        let mut report = Report { heads, ..Report::default() };
        for chain in chains {
            let begins = genesis(&installation, &chain);
            let findings = verify_chain(&mut tx, (&chain, &begins), noted, &mut report).await?;
            report.findings.extend(findings);
        }
        tx.rollback().await?;
        Ok(report)
    }

    /// All rows as lines of the copy, chain by chain.
    pub async fn export_audit(&self, mut print: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let mut tx = self.snapshot().await?;
        let chains: Vec<String> =
            sqlx::query_scalar("SELECT chain FROM audit_chains ORDER BY chain").fetch_all(&mut *tx).await?;
        for chain in chains {
            let mut after = i64::MIN;
            loop {
                let rows = rows_after(&mut *tx, &chain, after, BITE).await?;
                let Some(last) = rows.last() else { break };
                after = last.sequence;
                rows.iter().try_for_each(|row| print(&row.line()))?;
            }
        }
        Ok(tx.rollback().await?)
    }
}

/// Looks at the rows of one chain, the first of which comes after the hash `begins`.
async fn verify_chain(
    conn: &mut AnyConnection,
    (chain, begins): (&str, &str),
    noted: &Noted,
    report: &mut Report,
) -> Result<Vec<Finding>> {
    let (mut check, mut changed, mut after) = (Check::new(chain, noted), Vec::new(), i64::MIN);
    loop {
        let rows = rows_after(&mut *conn, chain, after, BITE).await?;
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
    let missing_head = head.is_none() && check.last.is_some();
    let mut findings = check.finish(Some(begins), head);
    if missing_head {
        findings.push(Finding { chain: chain.to_owned(), what: "nothing says where it ends".into() });
    }
    Ok(findings)
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

fn no_row((number, _): (usize, String)) -> Finding {
    Finding { chain: String::new(), what: format!("line {}: is no row", number + 1) }
}

/// Looks at the lines of a copy; gives what it has of each chain, to compare the store with.
pub fn verify_copy(lines: impl Iterator<Item = std::io::Result<String>>) -> Result<(Report, Noted)> {
    let (mut report, mut noted) = (Report::default(), Noted::default());
    let mut checks: BTreeMap<String, Check> = BTreeMap::new();
    // What a full disk or a crash cut off is written once more, whole, behind it.
    let mut cut: Option<(usize, String)> = None;
    for (number, line) in lines.enumerate() {
        let line = line.map_err(|error| Error::invalid(format!("the copy cannot be read: {error}")))?;
        let parsed = without_hash(&line).and_then(|(text, hash)| {
            let known: Line = serde_json::from_str(&text).ok()?;
            Some((known, digest(&text) == hash, hash.to_owned()))
        });
        let Some((known, is_whole, hash)) = parsed else {
            report.findings.extend(cut.replace((number, line)).map(no_row));
            continue;
        };
        report.rows += 1;
        // Where it was cut, a character may have been.
        cut.take_if(|(_, half)| half.len() > 1 && line.starts_with(half.trim_end_matches(char::REPLACEMENT_CHARACTER)));
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
    report.findings.extend(cut.map(no_row));
    for mut check in checks.into_values() {
        check.changed.clone().into_iter().for_each(|sequence| check.find(sequence, "was changed"));
        report.findings.extend(check.finish(None, None));
    }
    Ok((report, noted))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

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

    #[test]
    fn half_a_line_that_is_there_again_is_no_finding() {
        let found = |lines: Vec<String>| {
            let lines = lines.into_iter().map(Ok);
            verify_copy(lines).unwrap().0.findings.into_iter().map(|finding| finding.what).collect::<Vec<_>>()
        };
        let lines: Vec<String> = chain(6).iter().map(Row::line).collect();
        // Rows 3 and 4 were to be written at once, and the disk was full within the second of them.
        let half = format!("{}\u{fffd}", &lines[3][..90]);
        let torn = [&lines[..3], from_ref(&half), &lines[2..]].concat();
        assert_eq!(found(torn), [] as [&str; 0]);
        let lost = [&lines[..3], from_ref(&half)].concat();
        assert_eq!(found(lost), ["line 4: is no row"]);
        let twice = [&lines[..3], &["nonsense".to_owned(), half], &lines[2..]].concat();
        assert_eq!(found(twice), ["line 4: is no row"]);
        assert_eq!(found([&lines[..3], &[String::new()], &lines[3..]].concat()), ["line 4: is no row"]);
    }
}
