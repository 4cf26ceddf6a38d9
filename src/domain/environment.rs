//! Variables for a process.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Details;

/// Names and values, all of them fit for a process: a name is one that a shell can use, with '.' and '-'. Podman reads
/// `*` and names without a value as "copy from the service's environment" (SECURITY rules 5 and 14).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

const MAX_VARIABLES: usize = 256;

/// All names and values together. Linux bounds arguments and environment of a program at 2 MiB in all.
const MAX_BYTES: usize = 128 * 1024;

impl Environment {
    /// Takes what a request's field `environment` holds, and notes what is wrong with it.
    pub fn parse(variables: BTreeMap<String, String>, wrong: &mut Details) -> Self {
        let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if variables.len() > MAX_VARIABLES || bytes > MAX_BYTES {
            wrong.add("environment", format!("at most {MAX_VARIABLES} variables of {MAX_BYTES} bytes in all"));
        }
        for (name, value) in &variables {
            let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
            if !fits {
                wrong.add(format!("environment.{name}"), "a variable's name is letters, digits, '_', '.' and '-'");
            }
            if value.contains('\0') {
                wrong.add(format!("environment.{name}"), "a value must not contain NUL");
            }
        }
        Self(variables)
    }

    /// Each with its value, in the names' order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_can_have_passes() {
        let wrong_with = |name: &str, value: &str| {
            let mut wrong = Details::default();
            Environment::parse([(name.to_owned(), value.to_owned())].into(), &mut wrong);
            wrong.finish().is_err()
        };
        for (name, value) in [("A", ""), ("_a.b-c", "x=y\n"), ("a1", "ä")] {
            assert!(!wrong_with(name, value), "{name}");
        }
        for (name, value) in [("", "x"), ("*", ""), ("A=B", ""), ("1A", ""), ("A", "a\0b"), ("ä", ""), ("A B", "")] {
            assert!(wrong_with(name, value), "{name}");
        }
    }
}
