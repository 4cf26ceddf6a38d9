//! What a container uses, and its processes.

use std::time::Duration;

use futures_util::stream;
use futures_util::{Stream, StreamExt};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent, Union};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::caller::{Caller, ContainersRead};
use super::model::answer;
use super::parameter::Flag;
use super::sse::{EndReason, Events, StreamEnd, Told, events};
use super::{Context, Tag};
use crate::domain::timestamp_ms;
use crate::engine::{Engine, Sample};
use crate::policy::Read;
use crate::policy::grant::ContainerGrant;

pub struct Stats(pub Context);

/// Between the two looks that one answer takes: CPU time has no share in a moment.
const MOMENT: Duration = Duration::from_millis(500);

/// What a container uses; event `stats`.
#[derive(Object)]
#[oai(example)]
struct ContainerStats {
    /// When this was so, RFC 3339.
    time: String,
    /// CPU time since the look before: 100 is one CPU.
    cpu_percent: f64,
    /// Bytes of memory.
    memory_bytes: u64,
    /// And how many there may be.
    memory_limit_bytes: u64,
    /// Processes.
    pids: u64,
    /// Bytes over the network since it started.
    network_received_bytes: u64,
    /// Bytes over the network since it started.
    network_sent_bytes: u64,
    /// Bytes of block devices since it started.
    block_read_bytes: u64,
    /// Bytes of block devices since it started.
    block_written_bytes: u64,
}

impl Example for ContainerStats {
    fn example() -> Self {
        Self {
            time: "2025-01-19T15:47:19.123000Z".into(),
            cpu_percent: 12.5,
            memory_bytes: 4_194_304,
            memory_limit_bytes: 536_870_912,
            pids: 2,
            network_received_bytes: 1130,
            network_sent_bytes: 558,
            block_read_bytes: 0,
            block_written_bytes: 4096,
        }
    }
}

answer! {
    /// What a container uses.
    ContainerStatsResponse { stats: ContainerStats }
    example ContainerStats::example()
}

/// What is told of a container that is watched.
#[derive(Union)]
enum StatsEvent {
    Stats(ContainerStats),
    End(StreamEnd),
}

impl Told for StatsEvent {
    fn name(&self) -> String {
        let name = match self {
            Self::Stats(_) => "stats",
            Self::End(_) => "end",
        };
        name.to_owned()
    }
}

impl From<StreamEnd> for StatsEvent {
    fn from(end: StreamEnd) -> Self {
        Self::End(end)
    }
}

#[derive(ResponseContent)]
enum StatsContent {
    Once(Json<ContainerStatsResponse>),
    Watched(Events<StatsEvent>),
}

#[derive(ApiResponse)]
enum StatsAnswer {
    /// What it uses; with `stream`, events: `stats` again and again, and at last `end`.
    #[oai(status = 200)]
    Stats(StatsContent),
}

/// The processes of a container.
#[derive(Object)]
struct Top {
    /// What the columns are.
    titles: Vec<String>,
    /// A row for each process.
    processes: Vec<Vec<String>>,
}

answer! {
    /// The processes of a container.
    TopResponse { top: Top }
    example Top {
        titles: ["USER", "PID", "PPID", "%CPU", "RSS", "ELAPSED", "STATE", "COMMAND"].map(str::to_owned).to_vec(),
        processes: vec![["root", "1", "0", "0.000", "1036", "12.5s", "S", "sleep 300"].map(str::to_owned).to_vec()],
    }
}

#[OpenApi(tag = "Tag::Containers")]
impl Stats {
    /// Read what a container uses
    ///
    /// CPU, memory, processes, network and block devices: once, or with `stream` as server-sent events until it ends. A
    /// conflict if it does not run.
    #[oai(path = "/containers/:name/stats", method = "get", operation_id = "getContainerStats")]
    async fn stats(
        &self,
        who: Caller<ContainersRead>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Go on as events: true, false, 1 or 0.
        #[oai(default)]
        stream: Query<Flag>,
        /// With `stream`: seconds between two events.
        #[oai(default = "default_interval", validator(minimum(value = "1"), maximum(value = "60")))]
        interval: Query<u32>,
    ) -> poem::Result<StatsAnswer> {
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let engine = &self.0.engine;
        if !stream.0.0 {
            let first = engine.sample(&grant, engine.deadline()).await?;
            sleep(MOMENT).await;
            let second = engine.sample(&grant, engine.deadline()).await?;
            let answer = ContainerStatsResponse::of(shape(&second, &first));
            return Ok(StatsAnswer::Stats(StatsContent::Once(answer)));
        }
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let first = engine.sample(&grant, engine.deadline()).await?;
        let every = Duration::from_secs(interval.0.into());
        let used = self.0.lifecycle.use_until_dropped(&grant);
        let told = watched(engine.clone(), grant, first, every).inspect(move |_| {
            let _used = &used;
        });
        Ok(StatsAnswer::Stats(StatsContent::Watched(events(open, told))))
    }

    /// List a container's processes
    ///
    /// Read by the gateway's agent, so that the image needs no program for it: 4,096 processes at most, of each 4 KiB of its
    /// command line, 1 MiB of all. A user is `root` or a number: what the container calls them is not looked up. A conflict
    /// if the container does not run, is paused, or was made without the agent, or where the agent cannot be started in it.
    #[oai(path = "/containers/:name/top", method = "get", operation_id = "listContainerProcesses")]
    async fn top(
        &self,
        who: Caller<ContainersRead>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
    ) -> poem::Result<Json<TopResponse>> {
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let table = self.0.engine.top(&grant, self.0.engine.deadline()).await?;
        Ok(TopResponse::of(Top { titles: table.titles, processes: table.processes }))
    }
}

/// A sample at each tick, for who keeps up; a tick that was missed is left out.
fn watched(engine: Engine, grant: ContainerGrant, first: Sample, every: Duration) -> impl Stream<Item = StatsEvent> {
    let mut ticks = interval_at(Instant::now() + MOMENT, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    stream::unfold(Some((engine, grant, first, ticks)), |state| async {
        let (engine, grant, last, mut ticks) = state?;
        ticks.tick().await;
        let reason = match engine.sample(&grant, engine.deadline()).await {
            Ok(sample) => {
                let told = StatsEvent::Stats(shape(&sample, &last));
                return Some((told, Some((engine, grant, sample, ticks))));
            }
            Err(error) => EndReason::of(&error),
        };
        Some((StatsEvent::End(reason.into()), None))
    })
}

fn shape(sample: &Sample, last: &Sample) -> ContainerStats {
    ContainerStats {
        time: timestamp_ms(i64::try_from(sample.at_ns / 1_000_000).unwrap_or_default()),
        cpu_percent: (sample.cpu_percent(last) * 100.0).round() / 100.0,
        memory_bytes: sample.memory.0,
        memory_limit_bytes: sample.memory.1,
        pids: sample.pids,
        network_received_bytes: sample.network.0,
        network_sent_bytes: sample.network.1,
        block_read_bytes: sample.block.0,
        block_written_bytes: sample.block.1,
    }
}

fn default_interval() -> u32 {
    1
}
