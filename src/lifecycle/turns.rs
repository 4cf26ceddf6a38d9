//! Whose turn it is to be measured.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// Between the beginnings of two measurements.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// A tenant rests so many times as long as it took to walk over its files.
const REST: u32 = 20;

/// One tenant's place in the round over its containers.
pub(super) struct Turn {
    pub(super) tenant_id: String,
    pub(super) cursor: String,
    /// By row.
    pub(super) known: HashMap<String, Known>,
    not_before: Instant,
}

/// What is known of measuring one container.
pub(super) struct Known {
    /// Since when.
    pub(super) since: Instant,
    /// When it was surveyed last.
    pub(super) surveyed: Option<Instant>,
    /// Whether Podman is believed.
    pub(super) is_believed: bool,
}

/// Whose turn it is. Each tenant waits for its own containers only.
#[derive(Default)]
pub(super) struct Turns {
    resting: HashMap<String, Turn>,
    going: HashSet<String>,
}

impl Turn {
    /// What is known of this container.
    pub(super) fn known(&mut self, row_id: &str) -> &mut Known {
        let fresh = || Known { since: Instant::now(), surveyed: None, is_believed: true };
        self.known.entry(row_id.to_owned()).or_insert_with(fresh)
    }

    /// The round begins anew; what was not surveyed for so long is forgotten.
    pub(super) fn begin_anew(&mut self, forget: Duration) {
        self.cursor.clear();
        self.known.retain(|_, known| known.surveyed.unwrap_or(known.since).elapsed() < forget);
    }
}

impl Turns {
    /// The one of these tenants that has rested longest.
    pub(super) fn next(&mut self, tenants: Vec<String>) -> Option<Turn> {
        let now = Instant::now();
        let tenants: HashSet<String> = tenants.into_iter().collect();
        self.resting.retain(|id, _| tenants.contains(id));
        for tenant_id in tenants.into_iter().filter(|id| !self.going.contains(id)) {
            let fresh =
                || Turn { tenant_id: tenant_id.clone(), cursor: String::new(), known: HashMap::new(), not_before: now };
            self.resting.entry(tenant_id.clone()).or_insert_with(fresh);
        }
        let rested = self.resting.values().filter(|turn| turn.not_before <= now);
        let next = rested.min_by_key(|turn| turn.not_before)?.tenant_id.clone();
        self.going.insert(next.clone());
        self.resting.remove(&next)
    }

    /// It is over, and took so long.
    pub(super) fn rest(&mut self, mut turn: Turn, took: Duration) {
        turn.not_before = Instant::now() + PAUSE.max(took * REST);
        self.going.remove(&turn.tenant_id);
        self.resting.insert(turn.tenant_id.clone(), turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_slow_tenant_waits_for_itself_only() {
        let mut turns = Turns::default();
        let tenants = || vec!["slow".to_owned(), "quick".to_owned()];
        let both = [turns.next(tenants()).unwrap(), turns.next(tenants()).unwrap()];
        assert!(turns.next(tenants()).is_none(), "each goes once at a time");
        for turn in both {
            let took = if turn.tenant_id == "slow" { SLOW } else { Duration::ZERO };
            turns.rest(turn, took);
        }
        let mut went = Vec::new();
        for _ in 1..60 * REST {
            tokio::time::advance(PAUSE).await;
            if let Some(turn) = turns.next(tenants()) {
                went.push(turn.tenant_id.clone());
                turns.rest(turn, Duration::ZERO);
            }
        }
        assert!(went.len() > 1000 && went.iter().all(|one| one == "quick"), "{}", went.len());
        tokio::time::advance(PAUSE * 3).await;
        let both: HashSet<String> =
            [(); 2].into_iter().filter_map(|()| Some(turns.next(tenants())?.tenant_id)).collect();
        assert_eq!(both.len(), 2);
        assert_eq!(turns.next(vec!["new".into()]).unwrap().tenant_id, "new");
        assert!(turns.resting.is_empty());
    }
}
