//! Reads one key after another and remembers every mistake, where serde would stop at the first.

use std::fmt::Display;
use std::ops::RangeInclusive;

use figment::Figment;
use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::{Mistake, Mistakes};

/// Tables whose keys the operator chooses, and what stands under such a key: nothing more, or what stands under this
/// known one.
const FREE_TABLES: &[(&str, Option<&str>)] =
    &[("images.aliases", None), ("issuers", None), ("shares", None), ("profiles", Some("default"))];

pub(super) struct Reader {
    merged: Figment,
    defaults: Figment,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn new(merged: Figment, defaults: Figment) -> Self {
        Self { merged, defaults, mistakes: Vec::new() }
    }

    pub(super) fn mistake(&mut self, key: impl Into<String>, message: impl Display) {
        self.mistakes.push(Mistake { key: key.into(), message: message.to_string() });
    }

    /// The value of `key`; its default where it is wrong, so that reading can go on.
    pub(super) fn get<T: DeserializeOwned + Default>(&mut self, key: &str) -> T {
        match self.merged.extract_inner(key) {
            Ok(value) => value,
            Err(error) => {
                for each in error {
                    self.mistake(key, in_words(&each.kind));
                }
                self.defaults.extract_inner(key).unwrap_or_default()
            }
        }
    }

    /// The value of `key`, or what is wrong with it.
    pub(super) fn try_get<T: DeserializeOwned>(&self, key: &str) -> Result<T, String> {
        self.merged.extract_inner(key).map_err(|error| in_words(&error.kind))
    }

    /// The keys of a table that the operator fills.
    pub(super) fn names_in(&self, table: &str) -> Vec<String> {
        self.merged.extract_inner::<Dict>(table).unwrap_or_default().into_keys().collect()
    }

    /// Whether somebody gave this key a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.merged.find_value(key).is_ok()
    }

    /// A number within its bounds.
    pub(super) fn number<T>(&mut self, key: &str, bounds: RangeInclusive<T>) -> T
    where
        T: DeserializeOwned + Default + PartialOrd + Display + Copy,
    {
        let value: T = self.get(key);
        if !bounds.contains(&value) {
            self.mistake(key, format!("{value} is not within {} to {}", bounds.start(), bounds.end()));
        }
        value
    }

    /// A text that some type of ours makes sense of.
    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text: String = self.get(key);
        parse(&text).map_err(|message| self.mistake(key, message)).ok()
    }

    /// Notes every key that the defaults do not have, and what is no table where they have one; that is read as if it were
    /// not there, so that it is told once.
    pub(super) fn refuse_unknown_keys(&mut self) {
        let (Ok(merged), Ok(defaults)) = (self.merged.extract::<Dict>(), self.defaults.extract::<Dict>()) else {
            return;
        };
        let mut wrong = Wrong::default();
        walk("", &merged, &defaults, &mut wrong);
        for key in wrong.unknown {
            self.mistake(key, "there is no such key");
        }
        for (key, default) in wrong.no_tables {
            self.mistake(&key, format!("is a table, and is written [{key}]"));
            self.merged = std::mem::take(&mut self.merged).merge(Serialized::default(&key, default));
        }
    }

    pub(super) fn finish<T>(self, config: Option<T>) -> Result<T, Mistakes> {
        match config {
            Some(config) if self.mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes(self.mistakes)),
        }
    }
}

/// What is wrong with a value, for who knows no Rust.
fn in_words(kind: &Kind) -> String {
    let (Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected)) = kind else { return kind.to_string() };
    match expected.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "must be a whole number from 0".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "must be a whole number".into(),
        "f32" | "f64" => "must be a number".into(),
        "a boolean" | "bool" => "must be true or false".into(),
        "a string" | "string" => "must be a text in quotes".into(),
        "a sequence" => "must be an array".into(),
        _ => kind.to_string(),
    }
}

/// Keys that are wrong whatever their values are.
#[derive(Default)]
struct Wrong {
    unknown: Vec<String>,
    /// With the tables that the defaults have there.
    no_tables: Vec<(String, Dict)>,
}

fn walk(above: &str, given: &Dict, known: &Dict, wrong: &mut Wrong) {
    let free = FREE_TABLES.iter().find(|(table, _)| *table == above);
    for (name, value) in given {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let model = match free {
            Some((_, None)) => continue,
            Some((_, Some(model))) => known.get(*model),
            None => known.get(name),
        };
        match (value, model) {
            (_, None) => wrong.unknown.push(key),
            (Value::Dict(_, given), Some(Value::Dict(_, known))) => walk(&key, given, known, wrong),
            (_, Some(Value::Dict(_, known))) => wrong.no_tables.push((key, known.clone())),
            _ => {}
        }
    }
}
