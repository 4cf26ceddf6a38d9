//! From files and environment to a checked [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Data, Env, Serialized, Toml};

use super::issuers::issuers;
use super::listen::{listen, operator};
use super::profiles::{profiles, quotas};
use super::reader::Reader;
use super::{
    Audit, Auth, Config, DEFAULTS, Engine, Http, Idempotency, Images, Limits, Log, Mistake, Mistakes, Network, Output,
    Rate, Secret, Share, SignIns, SlowRate, Store,
};
use crate::domain::{CgroupParent, ImageRef, ImageRequest, PullPolicy};

impl Config {
    /// The defaults alone, for tests of what stands on them.
    #[cfg(test)]
    pub fn defaults() -> Self {
        let defaults = Figment::from(Data::<Toml>::string(DEFAULTS));
        read(Reader::new(defaults.clone(), defaults)).unwrap()
    }

    /// Reads `file` (if any) and the environment over the defaults.
    pub fn load(file: Option<&Path>) -> Result<Self, Mistakes> {
        let defaults = Figment::from(Data::<Toml>::string(DEFAULTS));
        let mut merged = defaults.clone();
        if let Some(path) = file {
            let unreadable = |error: std::io::Error| {
                Mistakes(vec![Mistake { key: String::new(), message: format!("{}: {error}", path.display()) }])
            };
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            merged = merged.merge(Data::<Toml>::string(&text));
        }
        merged = seed_variables(merged).merge(Env::prefixed("PODGATE_").ignore(FOR_CLIENTS).split("__"));
        if let Err(error) = merged.extract::<figment::value::Dict>() {
            let whence = file.map_or_else(|| "the defaults".into(), |path| path.display().to_string());
            let told = |each: figment::Error| each.to_string().replace("TOML source string", &whence);
            let mistakes = error.into_iter().map(|each| Mistake { key: each.path.join("."), message: told(each) });
            return Err(Mistakes(mistakes.collect()));
        }
        read(Reader::new(merged, defaults))
    }
}

/// The three variables of the demo that Podgate grew out of.
fn seed_variables(mut figment: Figment) -> Figment {
    for (variable, key) in
        [("MAX_WORKERS", "engine.max_workers"), ("REQUEST_TIMEOUT", "engine.request_timeout_seconds")]
    {
        if let Ok(text) = std::env::var(variable) {
            figment = match text.parse::<u64>() {
                Ok(number) => figment.merge(Serialized::default(key, number)),
                Err(_) => figment.merge(Serialized::default(key, text)),
            };
        }
    }
    if std::env::var("DEBUG").is_ok_and(|text| text.eq_ignore_ascii_case("true") || text == "1") {
        figment = figment.merge(Serialized::default("log.level", "debug"));
    }
    figment
}

/// Variables of commands that speak to a gateway, as configuration keys.
const FOR_CLIENTS: &[&str] = &["url", "token"];

fn read(mut r: Reader) -> Result<Config, Mistakes> {
    r.refuse_unknown_keys();
    let data_dir: PathBuf = r.get("data_dir");
    if data_dir.as_os_str().is_empty() {
        r.mistake("data_dir", "a directory is needed");
    }
    let auth = auth(&mut r);
    let listen = listen(&mut r);
    let config = Config {
        operator: operator(&mut r, &listen),
        listen,
        fail_point: Some(r.get::<String>("fail_point")).filter(|point| !point.is_empty()),
        engine: engine(&mut r, &data_dir),
        agent_path: agent_path(&mut r),
        terminal_idle: Duration::from_secs(r.number("terminals.idle_seconds", 1..=604_800)),
        store: store(&mut r, &data_dir),
        issuers: issuers(&mut r, &auth.issuer),
        auth,
        limits: limits(&mut r),
        http: http(&mut r),
        idempotency: idempotency(&mut r),
        log: log(&mut r),
        output: output(&mut r),
        profiles: profiles(&mut r),
        quotas: quotas(&mut r),
        shares: shares(&mut r),
        images: images(&mut r),
        audit: audit(&mut r),
        data_dir,
    };
    r.finish(Some(config))
}

fn engine(r: &mut Reader, data_dir: &Path) -> Engine {
    let seccomp: PathBuf = r.get("engine.seccomp_path");
    let seccomp_is_ours = seccomp.as_os_str().is_empty();
    let first_user_id: u32 = r.get("engine.first_user_id");
    if first_user_id != 0 && !(65_536..=3_000_000_000).contains(&first_user_id) {
        r.mistake("engine.first_user_id", format!("{first_user_id} is neither 0 nor within 65536 to 3000000000"));
    }
    let socket = r.parsed("engine.url", |url| {
        let path = url.strip_prefix("unix://").filter(|path| path.starts_with('/'));
        path.map(PathBuf::from).ok_or_else(|| format!("{url:?} is not unix:///absolute/path"))
    });
    let cgroup_parent = r.parsed("engine.cgroup_parent", |parent| {
        if parent.is_empty() { Ok(None) } else { CgroupParent::parse(parent).map(Some) }
    });
    Engine {
        socket: socket.unwrap_or_default(),
        max_workers: r.number("engine.max_workers", 1..=1000),
        request_timeout: Duration::from_secs(r.number("engine.request_timeout_seconds", 1..=3600)),
        long_calls_per_tenant: r.number("engine.long_calls_per_tenant", 1..=10_000),
        transfers_per_tenant: r.number("engine.transfers_per_tenant", 1..=1000),
        survey_every: Duration::from_secs(r.number("engine.survey_seconds", 1..=86_400)),
        seccomp_path: if seccomp_is_ours { data_dir.join("seccomp.json") } else { seccomp },
        seccomp_is_ours,
        first_user_id: Some(first_user_id).filter(|first| *first != 0),
        cgroup_parent: cgroup_parent.flatten(),
    }
}

/// The program beside this one, unless another is named.
fn agent_path(r: &mut Reader) -> PathBuf {
    let path: PathBuf = r.get("agent.path");
    if !path.as_os_str().is_empty() {
        return path;
    }
    std::env::current_exe().unwrap_or_default().with_file_name("podgate-agent")
}

fn store(r: &mut Reader, data_dir: &Path) -> Store {
    let file: PathBuf = r.get("store.password_file");
    let url: String = r.get("store.url");
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        if url::Url::parse(&url).is_err() {
            r.mistake("store.url", "is not postgres://USER@HOST/DATABASE");
        }
        let url = match secret_of(r, "store.password_file", &file) {
            Some(password) => with_password(&url, &password),
            None => url,
        };
        return Store::Postgres(Secret(url));
    }
    if !file.as_os_str().is_empty() {
        r.mistake("store.password_file", "is for PostgreSQL");
    }
    let path = match url.strip_prefix("sqlite:") {
        _ if url.is_empty() => Some(data_dir.join("podgate.db")),
        Some(path) if !path.is_empty() => Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
        _ => None,
    };
    if path.is_none() {
        let scheme = url.split(':').next().unwrap_or_default();
        r.mistake("store.url", format!("{scheme:?}… is neither sqlite:PATH nor postgres://USER@HOST/DATABASE"));
    }
    Store::Sqlite(path.unwrap_or_default())
}

fn with_password(url: &str, password: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    match parsed.set_password(Some(password)) {
        Ok(()) => parsed.into(),
        Err(()) => url.to_owned(),
    }
}

/// What the file holds, without the end of its line; none if the key names no file.
fn secret_of(r: &mut Reader, key: &str, file: &Path) -> Option<String> {
    if file.as_os_str().is_empty() {
        return None;
    }
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            r.mistake(key, format!("{}: {error}", file.display()));
            None
        }
    }
}

/// As many bytes as the digest has, at least (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

fn hs256_secret(r: &mut Reader) -> Option<Secret<Vec<u8>>> {
    let key = "auth.hs256_secret_file";
    let file: PathBuf = r.get(key);
    if file.as_os_str().is_empty() {
        return None;
    }
    let mut secret =
        std::fs::read(&file).map_err(|error| r.mistake(key, format!("{}: {error}", file.display()))).ok()?;
    if secret.len() < MIN_SECRET_BYTES {
        r.mistake(key, format!("holds fewer than {MIN_SECRET_BYTES} bytes"));
    }
    // Any bytes, so one that looks like the end of a line may be one of them.
    for end in [b'\n', b'\r'] {
        if secret.len() > MIN_SECRET_BYTES && secret.last() == Some(&end) {
            secret.pop();
        }
    }
    Some(Secret(secret))
}

fn auth(r: &mut Reader) -> Auth {
    let some_text = |text: &str| if text.is_empty() { Err("must not be empty".into()) } else { Ok(text.to_owned()) };
    Auth {
        issuer: r.parsed("auth.issuer", some_text).unwrap_or_default(),
        audience: r.parsed("auth.audience", some_text).unwrap_or_default(),
        token_seconds: r.number("auth.token_seconds", 60..=86_400),
        session_seconds: r.number("auth.session_seconds", 60..=31_536_000),
        leeway_seconds: r.number("auth.leeway_seconds", 0..=30),
        hs256_secret: hs256_secret(r),
        hash_memory_kib: r.number("auth.hash_memory_kib", 8..=1_048_576),
        hash_passes: r.number("auth.hash_passes", 1..=100),
        hash_threads: r.number("auth.hash_threads", 1..=64),
        hash_queue: r.number("auth.hash_queue", 0..=10_000),
    }
}

fn limits(r: &mut Reader) -> Limits {
    let mut rate = |per_second: &str, burst: &str| Rate {
        per_second: r.number(per_second, 1..=1_000_000),
        burst: r.number(burst, 1..=1_000_000),
    };
    let tenant = rate("limits.requests_per_second", "limits.burst");
    let address = rate("limits.address_requests_per_second", "limits.address_burst");
    // Without one of its own, an account may spend all that its tenant has.
    let mut or_tenants =
        |key: &str, tenants: u32| Some(r.number(key, 0..=1_000_000)).filter(|n| *n > 0).unwrap_or(tenants);
    let account = Rate {
        per_second: or_tenants("limits.account_requests_per_second", tenant.per_second),
        burst: or_tenants("limits.account_burst", tenant.burst),
    };
    let mut trusted_proxies = Vec::new();
    for (index, text) in r.get::<Vec<String>>("limits.trusted_proxies").into_iter().enumerate() {
        match Network::parse(&text) {
            Ok(network) => trusted_proxies.push(network),
            Err(message) => r.mistake(format!("limits.trusted_proxies[{index}]"), message),
        }
    }
    Limits { tenant, account, address, sign_ins: sign_ins(r), trusted_proxies }
}

fn sign_ins(r: &mut Reader) -> SignIns {
    let mut rate = |name: &str| SlowRate {
        per_minute: r.number(&format!("limits.{name}_per_minute"), 1..=1_000_000),
        burst: r.number(&format!("limits.{name}_burst"), 1..=1_000_000),
    };
    SignIns {
        address: rate("address_sign_ins"),
        account_at_address: rate("account_sign_ins_from_address"),
        account: rate("account_sign_ins"),
    }
}

fn http(r: &mut Reader) -> Http {
    let cors_origins: Vec<String> = r.get("http.cors_origins");
    for (index, origin) in cors_origins.iter().enumerate() {
        let exact = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if exact.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
            r.mistake(format!("http.cors_origins[{index}]"), format!("{origin:?} is not scheme://host[:port]"));
        }
    }
    Http {
        handshake_deadline_seconds: r.number("http.handshake_deadline_seconds", 1..=300),
        header_deadline_seconds: r.number("http.header_deadline_seconds", 1..=300),
        body_deadline_seconds: r.number("http.body_deadline_seconds", 1..=3600),
        max_header_bytes: r.number("http.max_header_bytes", 8192..=1_048_576),
        max_headers: r.number("http.max_headers", 8..=1000),
        max_body_bytes: r.number("http.max_body_bytes", 1024..=1_073_741_824),
        max_file_body_bytes: r.number("http.max_file_body_bytes", 1024..=1_073_741_824),
        max_transfer_bytes: r.number("http.max_transfer_bytes", 1024..=1_125_899_906_842_624),
        transfer_idle_seconds: r.number("http.transfer_idle_seconds", 1..=3600),
        max_connections: r.number("http.max_connections", 1..=1_000_000),
        max_connections_per_address: r.number("http.max_connections_per_address", 1..=1_000_000),
        max_streams_per_connection: r.number("http.max_streams_per_connection", 1..=10_000),
        idle_seconds: r.number("http.idle_seconds", 1..=3600),
        drain_seconds: r.number("http.drain_seconds", 0..=3600),
        cors_origins,
    }
}

fn idempotency(r: &mut Reader) -> Idempotency {
    Idempotency {
        kept: Duration::from_secs(r.number("idempotency.kept_seconds", 1..=2_592_000)),
        keys_per_tenant: r.number("idempotency.keys_per_tenant", 1..=1_000_000),
    }
}

fn log(r: &mut Reader) -> Log {
    let json = r.parsed("log.format", |format| match format {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("{format:?} is neither text nor json")),
    });
    let level = r.parsed("log.level", |level| {
        let filter = tracing_subscriber::EnvFilter::try_new(level);
        filter.map(|_| level.to_owned()).map_err(|error| error.to_string())
    });
    Log { level: level.unwrap_or_default(), json: json.unwrap_or_default() }
}

fn output(r: &mut Reader) -> Output {
    Output {
        exec_bytes: r.number("output.exec_bytes", 1024..=67_108_864),
        logs_bytes: r.number("output.logs_bytes", 1024..=67_108_864),
    }
}

fn shares(r: &mut Reader) -> BTreeMap<String, Share> {
    let mut found = BTreeMap::new();
    for name in r.names_in("shares") {
        let key = format!("shares.{name}");
        match r.try_get::<Share>(&key) {
            Ok(share) if Path::new(&share.path).is_absolute() => {
                found.insert(name, share);
            }
            Ok(share) => r.mistake(format!("{key}.path"), format!("{:?} is not absolute", share.path)),
            Err(message) => r.mistake(key, message),
        }
    }
    found
}

fn audit(r: &mut Reader) -> Audit {
    let file: PathBuf = r.get("audit.file");
    let days: u64 = r.number("audit.keep_days", 0..=36_500);
    Audit {
        file: Some(file).filter(|file| !file.as_os_str().is_empty()),
        stdout: r.get("audit.stdout"),
        wait_for_disk: r.get("audit.wait_for_disk"),
        keep: Some(Duration::from_secs(days * 86_400)).filter(|time| !time.is_zero()),
    }
}

fn images(r: &mut Reader) -> Images {
    Images {
        pull: r.parsed("images.pull", str::parse).unwrap_or(PullPolicy::Never),
        pull_patience: Duration::from_secs(r.number("images.pull_seconds", 1..=86_400)),
        pulls: r.number("images.pulls", 1..=100),
        keep_free_bytes: r.number("images.keep_free_bytes", 0..=1_125_899_906_842_624),
        aliases: aliases(r),
    }
}

fn aliases(r: &mut Reader) -> BTreeMap<ImageRequest, ImageRef> {
    let mut found = BTreeMap::new();
    for (alias, reference) in r.get::<BTreeMap<String, String>>("images.aliases") {
        match (ImageRequest::parse(&alias), ImageRef::parse(&reference)) {
            (Ok(alias), Ok(reference)) => {
                found.insert(alias, reference);
            }
            (Err(message), _) | (_, Err(message)) => r.mistake(format!("images.aliases.{alias}"), message),
        }
    }
    found
}
