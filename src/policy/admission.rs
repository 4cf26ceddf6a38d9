//! From what a tenant asks for to what it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::spec::ContainerSpec;
use crate::config::{Expiry, Profile};
use crate::domain::{
    CommandLine, ContainerLimits, ContainerName, Details, Directory, Environment, ExecUser, ImageRef, ImageRequest,
    Labels, Mount, NetworkMode, PullPolicy, Result, TenantLimit, WantedMount, WantedPort, Words, ports_without,
};

/// A create request as it came, field by field; nothing is believed yet.
#[derive(Debug, Default)]
pub struct CreateRequest {
    /// Short or full reference.
    pub image: String,
    /// Name within the tenant.
    pub name: String,
    /// One string or words.
    pub command: Option<Result<CommandLine, String>>,
    /// Words.
    pub entrypoint: Option<Vec<String>>,
    /// Name to value.
    pub environment: BTreeMap<String, String>,
    /// Host port to container port.
    pub ports: Vec<PortRequest>,
    /// A volume's or a share's name to a path inside, with `:ro` or `:rw` maybe.
    pub volumes: BTreeMap<String, String>,
    /// Inside the container.
    pub workdir: Option<String>,
    /// Inside the container.
    pub user: Option<String>,
    /// Name to value.
    pub labels: BTreeMap<String, String>,
    /// Within the profile's.
    pub limits: LimitsRequest,
    /// Seconds after which it goes by itself.
    pub expires_in: Option<i64>,
    /// Which profile; `default` without.
    pub profile: Option<String>,
    /// How far to go to get the image: never, missing or always.
    pub pull: Option<String>,
    /// Whether its standard input is open.
    pub stdin: bool,
    /// Whether to run it at once.
    pub start: bool,
}

/// Limits a request asks for; the profile's where it says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct LimitsRequest {
    /// Bytes.
    pub memory_bytes: Option<i64>,
    /// CPUs.
    pub cpus: Option<f64>,
    /// Processes.
    pub pids: Option<i64>,
}

/// One entry of `ports`, as text.
#[derive(Debug)]
pub struct PortRequest {
    /// On the host.
    pub host: String,
    /// Inside.
    pub container: String,
}

/// Parsed, complete but for what the records must say.
pub(super) struct Admitted {
    name: ContainerName,
    pub(super) image: ImageRequest,
    command: Option<Words>,
    entrypoint: Option<Words>,
    environment: Environment,
    /// Name and place, in the order of the request; whose they are is for the records to say.
    pub(super) mounts: Vec<(String, WantedMount)>,
    workdir: Option<Directory>,
    user: Option<ExecUser>,
    labels: Labels,
    ports: Vec<WantedPort>,
    auto_ports: Vec<RangeInclusive<u16>>,
    expires_in: Option<Duration>,
    limits: ContainerLimits,
    pub(super) pull: Option<PullPolicy>,
    stdin: bool,
    start: bool,
}

/// Parses every field and tells all that is wrong at once. `own_ports` are the gateway's.
pub(super) fn admit(profile: &Profile, own_ports: &BTreeSet<u16>, request: CreateRequest) -> Result<Admitted> {
    let mut wrong = Details::default();
    let name = wrong.take("name", ContainerName::parse(&request.name));
    let image = wrong.take("image", ImageRequest::parse(&request.image));
    let command = wrong.take_optional("command", request.command, |command| command.map(CommandLine::for_create));
    let entrypoint = wrong.take_optional("entrypoint", request.entrypoint, Words::parse);
    let environment = Environment::parse(request.environment, &mut wrong);
    let labels = Labels::parse(request.labels, &mut wrong);
    let mounts = parse_mounts(&request.volumes, &mut wrong);
    let workdir = wrong.take_optional("workdir", request.workdir, |path| Directory::parse(&path));
    let user = wrong.take_optional("user", request.user, |user| ExecUser::parse(&user));
    let ports = parse_ports(profile, own_ports, &request.ports, &mut wrong);
    let expires_in = expiry(profile.expiry, request.expires_in, &mut wrong);
    let limits = within(profile.limits, request.limits, &mut wrong);
    let pull = wrong.take_optional("pull", request.pull, |policy| policy.parse());
    // Whose it is, is another question; what can be nobody's is a mistake.
    wrong.take_optional("profile", request.profile.as_deref(), ContainerName::parse);
    match (name, image) {
        (Some(name), Some(image)) => {
            wrong.finish()?;
            let CreateRequest { stdin, start, .. } = request;
            Ok(Admitted {
                name,
                image,
                command,
                entrypoint,
                environment,
                mounts,
                workdir,
                user,
                labels,
                ports,
                auto_ports: ports_without(&profile.auto_ports, own_ports),
                expires_in,
                limits,
                pull,
                stdin,
                start,
            })
        }
        _ => Err(wrong.into_error()),
    }
}

impl Admitted {
    /// The name and the spec, complete with what policy found: the image the tenant may use, the profile it chose, and
    /// its user ids.
    pub(super) fn complete(
        self,
        image: (ImageRef, PullPolicy),
        profile: (String, &Profile),
        mounts: Vec<Mount>,
        first_user_id: Option<u32>,
    ) -> (ContainerName, ContainerSpec) {
        let (image, pull) = image;
        let (profile_name, profile) = profile;
        let spec = ContainerSpec {
            image,
            pull,
            command: self.command,
            entrypoint: self.entrypoint,
            environment: self.environment,
            workdir: self.workdir,
            user: self.user,
            labels: self.labels,
            ports: self.ports,
            mounts,
            auto_ports: self.auto_ports,
            port_address: profile.port_address,
            profile: profile_name,
            limits: self.limits,
            capabilities: profile.capabilities.clone(),
            network: profile.network,
            durable: profile.durable,
            first_user_id,
            expires_in: self.expires_in,
            idle: profile.expiry.idle,
            stdin: self.stdin,
            start: self.start,
        };
        (self.name, spec)
    }
}

/// The profile as far as a tenant's own limits let it have that. Its default life takes the place of the profile's.
pub(super) fn within_tenant(profile: &Profile, limits: &BTreeMap<TenantLimit, i64>) -> Profile {
    let limit = |limit: TenantLimit| limits.get(&limit).copied();
    let at_most = |value: i64, most: TenantLimit| limit(most).map_or(value, |most| value.min(most));
    let seconds =
        |name: TenantLimit| limit(name).and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let mut profile = profile.clone();
    let of = &mut profile.limits;
    of.memory_bytes = at_most(of.memory_bytes, TenantLimit::ContainerMemory);
    of.cpu_millis = at_most(of.cpu_millis, TenantLimit::ContainerCpuMillis);
    of.pids = at_most(of.pids, TenantLimit::ContainerPids);
    let expiry = &mut profile.expiry;
    expiry.most = seconds(TenantLimit::MaxExpiresSeconds).into_iter().chain(expiry.most).min();
    let default = seconds(TenantLimit::ExpiresSeconds).or(expiry.default);
    expiry.default = default.map(|default| expiry.most.map_or(default, |most| default.min(most)));
    let exec = &mut profile.exec_time;
    exec.most = seconds(TenantLimit::MaxExecSeconds).map_or(exec.most, |most| most.min(exec.most));
    exec.default = seconds(TenantLimit::ExecSeconds).unwrap_or(exec.default).min(exec.most);
    profile
}

/// Where a bound comes from.
const LEFT: &str = "which is what the profile and the tenant's own limits leave";

/// What was asked for where the profile has as much.
fn within(most: ContainerLimits, asked: LimitsRequest, wrong: &mut Details) -> ContainerLimits {
    /// Podman takes no less memory than this.
    const LEAST_MEMORY: i64 = 6 * 1024 * 1024;
    let cpu_millis = choose_cpus(asked.cpus, most.cpu_millis, wrong);
    let mut choose = |field: &str, asked: Option<i64>, least: i64, most: i64| match asked {
        Some(amount) if (least..=most).contains(&amount) => amount,
        Some(_) => {
            wrong.add(field, format!("must be within {least} and {most}, {LEFT}"));
            most
        }
        None => most,
    };
    ContainerLimits {
        memory_bytes: choose(
            "limits.memory_bytes",
            asked.memory_bytes,
            LEAST_MEMORY.min(most.memory_bytes),
            most.memory_bytes,
        ),
        pids: choose("limits.pids", asked.pids, 1, most.pids),
        cpu_millis,
        ..most
    }
}

/// Thousandths of CPUs, of which Podman takes no fewer than ten.
fn choose_cpus(asked: Option<f64>, most: i64, wrong: &mut Details) -> i64 {
    let Some(asked) = asked else { return most };
    if (0.01..=most as f64 / 1000.0).contains(&asked) {
        return (asked * 1000.0).round() as i64;
    }
    wrong.add("limits.cpus", format!("must be within 0.01 and {}, {LEFT}", most as f64 / 1000.0));
    most
}

/// Seconds from now, within the profile's bound; the profile's own, or its bound, where nothing was asked for.
pub(super) fn expiry(profile: Expiry, asked: Option<i64>, wrong: &mut Details) -> Option<Duration> {
    /// Ten years: the sum with any date we see fits its type.
    const MOST: Duration = Duration::from_secs(10 * 365 * 86_400);
    let Some(seconds) = asked else { return profile.default.or(profile.most) };
    let most = profile.most.unwrap_or(MOST);
    match u64::try_from(seconds).map(Duration::from_secs) {
        Ok(time) if !time.is_zero() && time <= most => Some(time),
        _ => {
            wrong.add("expires_in", format!("must be within 1 and {} seconds", most.as_secs()));
            None
        }
    }
}

/// Most mounts of one container.
const MAX_MOUNTS: usize = 16;

fn parse_mounts(asked: &BTreeMap<String, String>, wrong: &mut Details) -> Vec<(String, WantedMount)> {
    if asked.len() > MAX_MOUNTS {
        wrong.add("volumes", format!("at most {MAX_MOUNTS} volumes"));
        return Vec::new();
    }
    let mut found: Vec<(String, WantedMount)> = Vec::new();
    for (source, target) in asked {
        let field = format!("volumes.{source}");
        if source.is_empty() {
            wrong.add(&field, "the name of a volume or a share is missing");
        }
        let Some(wanted) = wrong.take(&field, WantedMount::parse(target)) else { continue };
        if found.iter().any(|(_, taken)| taken.target == wanted.target) {
            wrong.add(&field, "something else is mounted there");
        }
        found.push((source.clone(), wanted));
    }
    found
}

fn parse_ports(profile: &Profile, own: &BTreeSet<u16>, asked: &[PortRequest], wrong: &mut Details) -> Vec<WantedPort> {
    if asked.len() > profile.max_ports {
        wrong.add("ports", format!("at most {} ports", profile.max_ports));
        return Vec::new();
    }
    // Podman takes them for an internal network, listens, and forwards nothing (4.3.1 and 5.4.2).
    if !asked.is_empty() && profile.network != NetworkMode::Egress {
        wrong.add("ports", "the profile has no network to publish ports from; use a tunnel (`podgate forward`)");
        return Vec::new();
    }
    let number = |text: &str, range: &RangeInclusive<u16>| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let port = text.parse::<u16>().ok().filter(|port| plain && range.contains(port));
        port.ok_or_else(|| format!("{text:?} is not a port from {} to {}", range.start(), range.end()))
    };
    let mut found = Vec::new();
    for PortRequest { host, container } in asked {
        let field = format!("ports.{host}");
        // 0 leaves the choice to us.
        let on_host = match host.as_str() {
            "0" => Some(None),
            text => {
                let port = number(text, &profile.ports).and_then(|port| match own.contains(&port) {
                    true => Err(format!("{port} is not a port that may be published here: it is the gateway's")),
                    false => Ok(port),
                });
                wrong.take(&field, port.map(Some))
            }
        };
        let inside = wrong.take(&field, number(container, &(1..=u16::MAX)));
        if let (Some(host), Some(container)) = (on_host, inside) {
            found.push(WantedPort { host, container });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn profile() -> Profile {
        Config::defaults().profiles["default"].clone()
    }

    fn request(change: impl FnOnce(&mut CreateRequest)) -> Result<Admitted> {
        let mut request = CreateRequest { image: "alpine".into(), name: "web".into(), ..CreateRequest::default() };
        change(&mut request);
        admit(&profile(), &BTreeSet::new(), request)
    }

    fn pair(name: &str, value: &str) -> BTreeMap<String, String> {
        [(name.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn a_plain_request_passes() {
        assert!(request(|_| ()).is_ok());
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let error = request(|r| {
            r.name = "../x".into();
            r.image = "docker-archive:/etc/shadow".into();
            r.environment = pair("*", "");
            r.labels = pair("IO.podgate.tenant", "other");
            r.user = Some("a b".into());
            r.workdir = Some("/a/../b".into());
            r.ports = vec![PortRequest { host: "80".into(), container: "80".into() }];
        });
        let fields: Vec<String> = error.err().unwrap().details.into_iter().map(|detail| detail.field).collect();
        let expected = ["name", "image", "environment.*", "labels.IO.podgate.tenant", "workdir", "user", "ports.80"];
        assert_eq!(fields, expected);
    }

    #[test]
    fn limits_may_be_lowered_and_not_raised() {
        let ask = |memory_bytes| request(|r| r.limits.memory_bytes = Some(memory_bytes));
        assert_eq!(ask(64 << 20).unwrap().limits.memory_bytes, 64 << 20);
        assert_eq!(ask(64 << 20).unwrap().limits.pids, profile().limits.pids);
        for wrong in [0, -1, 1 << 40, 1 << 20] {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
        let cpus = |asked| request(|r| r.limits.cpus = Some(asked));
        for (asked, millis) in [(1.0, 1000), (0.01, 10), (0.29, 290), (0.5, 500)] {
            assert_eq!(cpus(asked).unwrap().limits.cpu_millis, millis);
        }
        for wrong in [f64::NAN, 0.0, -1.0, 1.001, 1.0009, 0.009, 1e300, f64::INFINITY] {
            assert!(cpus(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tenants_limits_bound_every_profile() {
        let seconds = |count| Some(Duration::from_secs(count));
        let own = Profile { expiry: Expiry { default: seconds(60), most: seconds(100), idle: None }, ..profile() };
        let bounded = |limits: &[(TenantLimit, i64)]| within_tenant(&own, &limits.iter().copied().collect());
        let ends = |limits: &[(TenantLimit, i64)]| (bounded(limits).expiry.default, bounded(limits).expiry.most);
        assert_eq!(ends(&[]), (seconds(60), seconds(100)));
        assert_eq!(ends(&[(TenantLimit::ExpiresSeconds, 5)]), (seconds(5), seconds(100)));
        assert_eq!(ends(&[(TenantLimit::ExpiresSeconds, 500)]), (seconds(100), seconds(100)));
        assert_eq!(ends(&[(TenantLimit::MaxExpiresSeconds, 50)]), (seconds(50), seconds(50)));
        assert_eq!(ends(&[(TenantLimit::MaxExpiresSeconds, 500)]), (seconds(60), seconds(100)));
        assert_eq!(bounded(&[(TenantLimit::ContainerPids, 7)]).limits.pids, 7);
        assert_eq!(bounded(&[(TenantLimit::ContainerPids, 1 << 20)]).limits.pids, own.limits.pids);
        assert_eq!(bounded(&[(TenantLimit::ContainerMemory, 8 << 20)]).limits.memory_bytes, 8 << 20);
    }

    #[test]
    fn ports_are_plain_numbers_of_the_tenants_range() {
        for (host, container) in [("1023", "80"), ("8080/tcp", "80"), ("08080", "80"), ("8080", "0"), ("70000", "80")] {
            let ports = vec![PortRequest { host: host.into(), container: container.into() }];
            assert!(request(|r| r.ports = ports).is_err(), "{host}:{container}");
        }
    }
}
