//! Where a page of a list ends.

use crate::api::error::invalid_parameter;
use crate::domain::Result;
use crate::store::Container;

/// A place in the order of a list: by age, and by our identifier where that is the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    created_ms: i64,
    id: String,
}

impl Cursor {
    pub(super) fn of(row: &Container) -> Self {
        Self { created_ms: row.created_ms, id: row.id.clone() }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once('.').and_then(|(created_ms, id)| Some((created_ms.parse().ok()?, id)));
        let (created_ms, id) = parts.ok_or_else(|| invalid_parameter("cursor", "is not one that a list gave"))?;
        Ok(Self { created_ms, id: id.to_owned() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.created_ms, self.id)
    }
}
