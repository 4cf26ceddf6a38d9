//! How the gateway is doing.

use poem::Request;
use poem::http::header::ACCEPT;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent};

use super::caller::{Caller, Status as StatusScope};
use super::error::RETRY_AFTER;
use super::{Context, Tag};
use crate::domain::timestamp;

pub struct Status(pub Context);

/// Whether work can be done. No more than this is told without a token.
#[derive(Object)]
#[oai(example)]
struct HealthResponse {
    /// `healthy` or `unhealthy`.
    status: String,
    /// `connected` or `disconnected`.
    podman: String,
    /// RFC 3339, UTC.
    timestamp: String,
}

impl Example for HealthResponse {
    fn example() -> Self {
        Self { status: "healthy".into(), podman: "connected".into(), timestamp: "2025-01-19T15:47:19.123456Z".into() }
    }
}

#[derive(ApiResponse)]
enum HealthAnswer {
    /// Podman answers.
    #[oai(status = 200)]
    Healthy(Json<HealthResponse>),
    /// Podman does not answer; operations on containers will fail.
    #[oai(status = 503)]
    Unhealthy(
        Json<HealthResponse>,
        /// Seconds to wait before asking again.
        #[oai(header = "Retry-After")]
        String,
    ),
}

/// How busy the gateway is.
#[derive(Object)]
#[oai(example)]
struct MetricsResponse {
    /// Seconds since the gateway started.
    uptime_seconds: u64,
    /// The same as `[D days, ]H:MM:SS`.
    uptime_human: String,
    /// Short Podman calls running now.
    active_threads: u64,
    /// How many may run at once.
    max_workers: u64,
    /// RFC 3339, UTC.
    timestamp: String,
}

impl Example for MetricsResponse {
    fn example() -> Self {
        Self {
            uptime_seconds: 3661,
            uptime_human: human(3661),
            active_threads: 1,
            max_workers: 10,
            timestamp: "2025-01-19T15:47:19.123456Z".into(),
        }
    }
}

#[derive(ResponseContent)]
enum MetricsContent {
    /// A few numbers.
    Json(Json<MetricsResponse>),
    /// All that is counted, in Prometheus' text format; where the configuration allows and it is asked for.
    Text(PlainText<String>),
}

#[derive(ApiResponse)]
enum MetricsAnswer {
    /// How busy the gateway is.
    #[oai(status = 200)]
    Metrics(MetricsContent),
}

#[OpenApi(tag = "Tag::Status")]
impl Status {
    /// Check health
    ///
    /// Open to everybody. 503 while Podman does not answer.
    #[oai(path = "/health", method = "get", operation_id = "getHealth")]
    async fn health(&self) -> HealthAnswer {
        let pinged = self.0.engine.ping().await;
        let timestamp = timestamp((self.0.world.now)());
        match pinged {
            Ok(()) => HealthAnswer::Healthy(Json(HealthResponse {
                status: "healthy".into(),
                podman: "connected".into(),
                timestamp,
            })),
            Err(error) => {
                tracing::warn!(?error, "Podman does not answer");
                let body = HealthResponse { status: "unhealthy".into(), podman: "disconnected".into(), timestamp };
                HealthAnswer::Unhealthy(Json(body), RETRY_AFTER.to_string())
            }
        }
    }

    /// Read the gateway's metrics
    ///
    /// Uptime and load of this gateway. With `Accept: text/plain`, where the configuration allows it, all that is
    /// counted in Prometheus' text format.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics")]
    async fn metrics(&self, _who: Caller<StatusScope>, request: &Request) -> poem::Result<MetricsAnswer> {
        if let Some(metrics) = self.0.metrics.as_ref().filter(|_| asks_for_text(request)) {
            let text = metrics.text()?;
            return Ok(MetricsAnswer::Metrics(MetricsContent::Text(PlainText(text))));
        }
        let uptime_seconds = self.0.started.elapsed().as_secs();
        let (busy, size) = self.0.engine.usage();
        let metrics = MetricsResponse {
            uptime_seconds,
            uptime_human: human(uptime_seconds),
            active_threads: busy as u64,
            max_workers: size as u64,
            timestamp: timestamp((self.0.world.now)()),
        };
        Ok(MetricsAnswer::Metrics(MetricsContent::Json(Json(metrics))))
    }
}

/// Whether the client takes text, and does not take JSON.
fn asks_for_text(request: &Request) -> bool {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types: Vec<&str> =
        accept.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next()).map(str::trim).collect();
    types.contains(&"text/plain") && !types.contains(&"application/json")
}

/// As Python prints a timedelta, which is what the seed answers with.
fn human(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn uptime_reads_like_a_timedelta() {
        assert_eq!(human(59), "0:00:59");
        assert_eq!(human(86_400 + 3_661), "1 day, 1:01:01");
        assert_eq!(human(3 * 86_400), "3 days, 0:00:00");
    }
}
