//! A container's labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Details;

/// Prefixes that Podman or we give a meaning to.
const RESERVED: &[&str] =
    &["io.podgate", "io.podman", "io.containers", "io.buildah", "io.kubernetes", "podman_systemd_unit"];
const MOST: usize = 64;
/// All names and values together.
const MOST_BYTES: usize = 16 * 1024;

/// Names and values that a tenant gave a container. They are the records' only: Podman would write them into each of its
/// events (docs/decisions/0033).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Arc<BTreeMap<String, String>>);

/// A label that is looked for, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLabel {
    name: String,
    value: String,
}

impl Labels {
    /// Takes what a request's field `labels` holds, and notes what is wrong with it.
    pub fn parse(labels: BTreeMap<String, String>, wrong: &mut Details) -> Self {
        let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if labels.len() > MOST || bytes > MOST_BYTES {
            wrong.add("labels", format!("at most {MOST} labels of {MOST_BYTES} bytes in all"));
        }
        for (name, value) in &labels {
            let field = format!("labels.{name}");
            let lower = name.to_ascii_lowercase();
            if RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
                wrong.add(&field, "this prefix is reserved");
            }
            if !is_name(name) {
                wrong.add(&field, NAME);
            }
            if value.chars().any(char::is_control) {
                wrong.add(&field, "a label's value must not contain control characters");
            }
        }
        Self(Arc::new(labels))
    }

    /// What was parsed before and kept.
    pub fn kept(labels: BTreeMap<String, String>) -> Self {
        Self(Arc::new(labels))
    }

    /// Each name with its value.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether it is among them.
    pub fn has(&self, wanted: &WantedLabel) -> bool {
        self.0.get(&wanted.name) == Some(&wanted.value)
    }
}

impl WantedLabel {
    /// Of `name=value`, where the value may be empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            Some(_) => Err(NAME.to_owned()),
            None => Err("must be a label's name, '=' and its value".to_owned()),
        }
    }
}

const NAME: &str = "a label's name is 1 to 128 letters, digits and signs of ASCII other than '=', without spaces";

fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> BTreeMap<String, String> {
        [(name.to_owned(), value.to_owned())].into()
    }

    fn is_fine(labels: BTreeMap<String, String>) -> bool {
        let mut wrong = Details::default();
        Labels::parse(labels, &mut wrong);
        wrong.finish().is_ok()
    }

    #[test]
    fn only_plain_names_of_ones_own_pass() {
        for (name, value) in [("a", ""), ("org.example/task", "4711 ä = <&>"), ("A-b_c", "x"), (&"n".repeat(128), "")]
        {
            assert!(is_fine(pair(name, value)), "{name}");
        }
        let long = "n".repeat(129);
        let wrong = [("", "x"), ("a b", ""), ("a=b", ""), ("ä", ""), (&*long, ""), ("a", "\n"), ("a", "\0")];
        for (name, value) in wrong.into_iter().chain([("IO.podgate.tenant", "x"), ("PODMAN_SYSTEMD_UNIT", "x")]) {
            assert!(!is_fine(pair(name, value)), "{name}");
        }
    }

    #[test]
    fn there_are_not_too_many_of_them() {
        let many = |count: usize| (0..count).map(|number| (format!("n{number}"), String::new())).collect();
        assert!(is_fine(many(64)) && !is_fine(many(65)));
        assert!(is_fine(pair("n", &"x".repeat(16_383))) && !is_fine(pair("n", &"x".repeat(16_384))));
    }

    #[test]
    fn what_is_looked_for_is_exact() {
        let labels = Labels::kept(pair("course", "a=b"));
        let has = |text: &str| labels.has(&WantedLabel::parse(text).unwrap());
        assert!(has("course=a=b"));
        assert!(!has("course=") && !has("course=a") && !has("Course=a=b") && !has("courses=a=b"));
        for wrong in ["course", "", "=x", "a b=c"] {
            assert!(WantedLabel::parse(wrong).is_err(), "{wrong}");
        }
    }
}
