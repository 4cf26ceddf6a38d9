//! What was seen lately, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Remembers at least the last `most` things that were put or asked for, and at most twice as many: two halves, of which
/// the older is forgotten whole when the younger is full.
pub struct Recent<K, V> {
    most: usize,
    halves: Mutex<Halves<K, V>>,
}

struct Halves<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// Remembers nothing yet.
    pub fn new(most: usize) -> Self {
        Self { most, halves: Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }) }
    }

    /// What was put under this key.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = halves.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = halves.old.remove_entry(key)?;
        halves.put(self.most, key, value.clone());
        Some(value)
    }

    /// Remembers this.
    pub fn put(&self, key: K, value: V) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).put(self.most, key, value);
    }
}

impl<K: Hash + Eq, V> Halves<K, V> {
    fn put(&mut self, most: usize, key: K, value: V) {
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let recent = Recent::new(10);
        recent.put(0, "kept");
        for number in 1..1000 {
            assert_eq!(recent.get(&0), Some("kept"), "{number}");
            recent.put(number, "passing");
        }
        assert_eq!((recent.get(&1), recent.get(&999)), (None, Some("passing")));
        let halves = recent.halves.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 20);
    }
}
