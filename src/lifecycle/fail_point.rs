//! Named places to die at, for tests of what a crash leaves.

use std::sync::Arc;

/// Kills the process at one configured point; does nothing anywhere else.
#[derive(Clone, Default)]
pub struct FailPoint(Option<Arc<str>>);

impl FailPoint {
    /// From the configuration's `fail_point`.
    pub fn new(at: Option<&str>) -> Self {
        Self(at.map(Arc::from))
    }

    /// The program has got this far.
    pub(super) fn reached(&self, point: &str) {
        if self.0.as_deref() == Some(point) {
            tracing::warn!(fail_point = point, "dying here, as configured");
            // What SIGKILL does: no destructor, no flush, no farewell.
            std::process::abort();
        }
    }
}
