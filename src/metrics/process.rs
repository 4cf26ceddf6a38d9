//! The process, under the names that all of Prometheus' clients use.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Ticks a second in /proc; the kernel's interface fixes it on every machine that we run on.
const TICKS: f64 = 100.0;
const PAGE: i64 = 4096;

#[derive(Debug)]
pub(super) struct Process {
    started: i64,
}

impl Process {
    /// That begins now. /proc/stat, which has the time of the boot, may be hidden from a service.
    pub(super) fn new() -> Self {
        Self { started: now() }
    }
}

/// Seconds since 1970. Metrics tell when something happened, whatever time the rest of the program was given.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}

/// What /proc says of this process.
struct Seen {
    cpu_seconds: f64,
    resident_bytes: i64,
    open_files: i64,
    most_files: i64,
}

impl Seen {
    fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name, in parentheses, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
        Some(Self {
            cpu_seconds: (number(11)? + number(12)?) / TICKS,
            resident_bytes: number(21)? as i64 * PAGE,
            open_files: i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
            most_files: most.parse().unwrap_or(i64::MAX),
        })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(seen) = Seen::now() else { return Ok(()) };
        let mut put = |name: &str, help: &str, kind: MetricType, metric: &dyn Put| {
            metric.put(encoder.encode_descriptor(name, help, None, kind)?)
        };
        let cpu = ConstCounter::new(seen.cpu_seconds);
        put("process_cpu_seconds", "Processor time of this process", ConstCounter::<f64>::TYPE, &cpu)?;
        let gauge = ConstGauge::<i64>::TYPE;
        let start = ConstGauge::new(self.started);
        put("process_start_time_seconds", "When it started, seconds since 1970", gauge, &start)?;
        let resident = ConstGauge::new(seen.resident_bytes);
        put("process_resident_memory_bytes", "Memory that it has", gauge, &resident)?;
        put("process_open_fds", "Files and connections that it has open", gauge, &ConstGauge::new(seen.open_files))?;
        put("process_max_fds", "The most that it may have open", gauge, &ConstGauge::new(seen.most_files))
    }
}

/// [`EncodeMetric`] for trait objects.
trait Put {
    fn put(&self, encoder: prometheus_client::encoding::MetricEncoder) -> Result<(), std::fmt::Error>;
}

impl<M: EncodeMetric> Put for M {
    fn put(&self, encoder: prometheus_client::encoding::MetricEncoder) -> Result<(), std::fmt::Error> {
        self.encode(encoder)
    }
}
