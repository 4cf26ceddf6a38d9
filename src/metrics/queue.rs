//! Who waits for a place, who has one, and how long the wait was.

use std::time::Instant;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// What is counted of one queue.
#[derive(Clone)]
pub struct Queue {
    pub(super) seconds: Histogram,
    pub(super) waiting: Gauge,
    pub(super) running: Gauge,
}

/// One who waits, until this is dropped.
pub struct Waiting {
    queue: Queue,
    begun: Instant,
}

/// One who has a place, until this is dropped.
pub struct Running(Gauge);

impl Queue {
    /// Somebody comes and waits.
    pub fn come(&self) -> Waiting {
        self.waiting.inc();
        Waiting { queue: self.clone(), begun: Instant::now() }
    }
}

impl Waiting {
    /// The wait is over: a place was found.
    pub fn served(self) -> Running {
        self.queue.running.inc();
        Running(self.queue.running.clone())
    }
}

/// Who gave up has waited as well.
impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.waiting.dec();
        self.queue.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
