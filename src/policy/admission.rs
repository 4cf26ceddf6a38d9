//! From what a tenant asks for to what it gets.

use std::collections::BTreeMap;

use super::spec::{ContainerLimits, ContainerSpec};
use crate::config;
use crate::domain::{
    CommandLine, ContainerName, ContainerPath, Details, ExecUser, ImageRef, ImageRequest, Result, Words,
};
use crate::store::PublishedPort;

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
    /// Inside the container.
    pub workdir: Option<String>,
    /// Inside the container.
    pub user: Option<String>,
    /// Name to value.
    pub labels: BTreeMap<String, String>,
    /// Whether to run it at once.
    pub start: bool,
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
    environment: BTreeMap<String, String>,
    workdir: Option<String>,
    user: Option<ExecUser>,
    labels: BTreeMap<String, String>,
    ports: Vec<PublishedPort>,
    start: bool,
}

/// Prefixes of labels that Podman or we give a meaning to.
const RESERVED_LABELS: &[&str] = &["io.podgate", "io.podman", "io.containers", "io.buildah", "io.kubernetes"];
const MAX_LABELS: usize = 64;
const MAX_VARIABLES: usize = 256;
/// All names and values of one map together. Linux bounds arguments and environment of a program at 2 MiB in all.
const MAX_MAP_BYTES: usize = 128 * 1024;
/// Lowest host port a tenant may have (SECURITY rule 25).
const LOWEST_HOST_PORT: u16 = 1024;

/// Parses every field and tells all that is wrong at once.
pub(super) fn admit(config: &config::Containers, request: CreateRequest) -> Result<Admitted> {
    let mut wrong = Details::default();
    let name = wrong.take("name", ContainerName::parse(&request.name));
    let image = wrong.take("image", ImageRequest::parse(&request.image));
    let command = wrong.take_optional("command", request.command, |command| command.map(CommandLine::for_create));
    let entrypoint = wrong.take_optional("entrypoint", request.entrypoint, Words::parse);
    check_variables(&request.environment, &mut wrong);
    check_labels(&request.labels, &mut wrong);
    let workdir = wrong.take_optional("workdir", request.workdir, |path| match path.as_str() {
        "/" => Ok(path),
        other => ContainerPath::parse(other).map(|path| path.as_str().to_owned()),
    });
    let user = wrong.take_optional("user", request.user, |user| ExecUser::parse(&user));
    let ports = parse_ports(config, &request.ports, &mut wrong);
    match (name, image) {
        (Some(name), Some(image)) => {
            wrong.finish()?;
            let CreateRequest { environment, labels, start, .. } = request;
            Ok(Admitted { name, image, command, entrypoint, environment, workdir, user, labels, ports, start })
        }
        _ => Err(wrong.into_error()),
    }
}

impl Admitted {
    /// The name and the spec, complete with the image that the tenant may use and the limits that always apply.
    pub(super) fn with_image(self, image: ImageRef, config: &config::Containers) -> (ContainerName, ContainerSpec) {
        let spec = ContainerSpec {
            image,
            command: self.command,
            entrypoint: self.entrypoint,
            environment: self.environment,
            workdir: self.workdir,
            user: self.user,
            labels: self.labels,
            ports: self.ports,
            port_address: config.port_address,
            limits: ContainerLimits {
                memory_bytes: config.memory_bytes,
                pids: config.pids,
                cpus: config.cpus,
                open_files: config.open_files,
                log_bytes: config.log_bytes,
            },
            start: self.start,
        };
        (self.name, spec)
    }
}

/// Names are those a shell can use, with '.' and '-'. Podman reads `*` and names without a value as "copy from the
/// service's environment" (SECURITY rules 5 and 14).
fn check_variables(variables: &BTreeMap<String, String>, wrong: &mut Details) {
    if variables.len() > MAX_VARIABLES || size(variables) > MAX_MAP_BYTES {
        wrong.add("environment", format!("at most {MAX_VARIABLES} variables of {MAX_MAP_BYTES} bytes in all"));
    }
    for (name, value) in variables {
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !fits {
            wrong.add(format!("environment.{name}"), "a variable's name is letters, digits, '_', '.' and '-'");
        }
        if value.contains('\0') {
            wrong.add(format!("environment.{name}"), "a value must not contain NUL");
        }
    }
}

fn check_labels(labels: &BTreeMap<String, String>, wrong: &mut Details) {
    if labels.len() > MAX_LABELS || size(labels) > MAX_MAP_BYTES {
        wrong.add("labels", format!("at most {MAX_LABELS} labels of {MAX_MAP_BYTES} bytes in all"));
    }
    for (name, value) in labels {
        let field = format!("labels.{name}");
        let lower = name.to_ascii_lowercase();
        if RESERVED_LABELS.iter().any(|reserved| lower.starts_with(reserved)) {
            wrong.add(&field, "this prefix is reserved");
        }
        if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'=') {
            wrong.add(&field, "a label's name is 1 to 128 printable characters other than '='");
        }
        if value.chars().any(char::is_control) {
            wrong.add(&field, "a label's value must not contain control characters");
        }
    }
}

fn parse_ports(config: &config::Containers, asked: &[PortRequest], wrong: &mut Details) -> Vec<PublishedPort> {
    if asked.len() > config.max_ports {
        wrong.add("ports", format!("at most {} ports", config.max_ports));
        return Vec::new();
    }
    let number = |text: &str, lowest: u16| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let port = text.parse::<u16>().ok().filter(|port| plain && *port >= lowest);
        port.ok_or_else(|| format!("{text:?} is not a port from {lowest} to 65535"))
    };
    let mut found = Vec::new();
    for PortRequest { host, container } in asked {
        let field = format!("ports.{host}");
        let on_host = wrong.take(&field, number(host, LOWEST_HOST_PORT));
        let inside = wrong.take(&field, number(container, 1));
        if let (Some(host), Some(container)) = (on_host, inside) {
            found.push(PublishedPort { host, container });
        }
    }
    found
}

fn size(map: &BTreeMap<String, String>) -> usize {
    map.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> config::Containers {
        config::Config::load(None).unwrap().containers
    }

    fn request(change: impl FnOnce(&mut CreateRequest)) -> Result<Admitted> {
        let mut request = CreateRequest { image: "alpine".into(), name: "web".into(), ..CreateRequest::default() };
        change(&mut request);
        admit(&config(), request)
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
    fn ports_are_plain_numbers_of_the_tenants_range() {
        for (host, container) in [("1023", "80"), ("8080/tcp", "80"), ("08080", "80"), ("8080", "0"), ("70000", "80")] {
            let ports = vec![PortRequest { host: host.into(), container: container.into() }];
            assert!(request(|r| r.ports = ports).is_err(), "{host}:{container}");
        }
    }
}
