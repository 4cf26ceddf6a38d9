//! Gateways as an operator runs them: the built program, a configuration file, the command line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{ALPINE, BUSYBOX, Client, DEBIAN, Ledger, Podman, STATIC, eventually};

/// Of every account that the tests make.
pub const PASSWORD: &str = "correct horse battery staple";

/// One installation: a data directory, a configuration, and tenants of its own in the shared Podman. Gateways of it
/// may come and go. When it is dropped, nothing is left.
pub struct Site {
    pub dir: PathBuf,
    variables: BTreeMap<String, String>,
    listeners: usize,
    tenants: RefCell<Vec<String>>,
    postgres: Option<String>,
}

/// A tenant, by its name.
pub struct Tenant {
    pub slug: String,
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    /// In the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    log: Arc<Mutex<String>>,
}

/// How a command of the program went.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The usual beginning: one gateway, one tenant with every image, its operator.
pub struct Story {
    pub gateway: Gateway,
    pub client: Client,
    pub tenant: Tenant,
    pub podman: Podman,
    pub site: Site,
}

impl Story {
    pub async fn begin() -> Self {
        Self::at(Site::new()).await
    }

    pub async fn at(site: Site) -> Self {
        let tenant = site.tenant();
        Self::of(site, tenant).await
    }

    /// Of a tenant that `tenant create` made with these arguments.
    pub async fn with(site: Site, arguments: &[&str]) -> Self {
        let tenant = site.tenant_with(arguments);
        Self::of(site, tenant).await
    }

    async fn of(site: Site, tenant: Tenant) -> Self {
        let gateway = site.start().await;
        let client = gateway.client(&site.token(&tenant.login("operator")));
        Self { gateway, client, tenant, podman: Podman::of_the_tests(), site }
    }

    /// A second tenant, and its operator.
    pub fn another(&self) -> (Tenant, Client) {
        let tenant = self.site.tenant();
        let client = self.gateway.client(&self.site.token(&tenant.login("operator")));
        (tenant, client)
    }
}

impl Tenant {
    /// What its account of that name signs in with.
    pub fn login(&self, name: &str) -> String {
        format!("{}/{name}", self.slug)
    }
}

/// A name that no other test has.
pub fn unique() -> String {
    format!("t{:012x}", rand::random::<u64>() & 0xffff_ffff_ffff)
}

/// The first of four host ports that are hardly another test's.
pub fn ports_of_its_own() -> u16 {
    10_000 + rand::random::<u16>() % 1500 * 4
}

impl Site {
    /// The defaults, but for cheap password hashing and rates that no test meets by accident.
    pub fn new() -> Self {
        let podman = Podman::of_the_tests();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique());
        std::fs::create_dir_all(&dir).expect("a directory");
        let config = format!(
            "data_dir = {:?}\nlisten = [{{ address = \"127.0.0.1:0\" }}]\n\
             [engine]\nurl = \"unix://{}\"\n\
             [auth]\nhash_memory_kib = 64\nhash_passes = 1\n\
             [limits]\nrequests_per_second = 10000\nburst = 10000\naddress_requests_per_second = 10000\naddress_burst = 10000\n\
             address_sign_ins_burst = 10000\naccount_sign_ins_from_address_burst = 10000\naccount_sign_ins_burst = 10000\n",
            dir.join("data"),
            podman.socket.display(),
        );
        std::fs::write(dir.join("podgate.toml"), config).expect("a configuration");
        let site = Self { dir, variables: BTreeMap::new(), listeners: 1, tenants: RefCell::default(), postgres: None };
        // Installations that share a host share its ports; those of one do not know what another chose.
        // Below those that Linux gives to whoever asks for none, and beside `ports_of_its_own`.
        let first = 16_000 + rand::random::<u16>() % 1600 * 10;
        site.set("profiles.default.auto_ports", format!("{first}-{}", first + 9))
    }

    /// On a database of its own in the PostgreSQL of the tests.
    pub async fn on_postgres() -> Self {
        let server = std::env::var("PODGATE_TEST_POSTGRES").expect("PODGATE_TEST_POSTGRES; run these by `make test`");
        let name = unique();
        let ledger = super::Ledger::at(&server).await.expect("a PostgreSQL");
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&ledger.0).await.expect("a database");
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let mut site = Self::new().set("store.url", &url);
        site.postgres = Some(url);
        site
    }

    /// Another gateway's, over the same database.
    pub fn beside(&self) -> Self {
        let url = self.postgres.as_ref().expect("a site on PostgreSQL");
        let mut site = Self::new().set("store.url", url);
        site.postgres = Some(url.clone());
        site
    }

    /// The URL of its database.
    pub fn database(&self) -> String {
        let file = || format!("sqlite://{}", self.data("podgate.db").display());
        self.postgres.clone().unwrap_or_else(file)
    }

    /// Changes a key of the configuration, dotted, by its environment variable.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.put(key, value);
        self
    }

    pub fn put(&mut self, key: &str, value: impl ToString) {
        let variable = format!("PODGATE_{}", key.replace('.', "__").to_uppercase());
        self.variables.insert(variable, value.to_string());
    }

    /// Takes the variable back.
    pub fn unset(&mut self, key: &str) {
        self.variables.remove(&format!("PODGATE_{}", key.replace('.', "__").to_uppercase()));
    }

    /// Any variable of the environment, which is otherwise empty.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds to the configuration's file: tables that no variable can name.
    pub fn with(self, toml: &str) -> Self {
        let file = self.dir.join("podgate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{text}{toml}\n")).unwrap();
        self
    }

    /// Exchanges words in the configuration's file, for what comes after the next start or SIGHUP.
    pub fn edit(&self, old: &str, new: &str) {
        let file = self.dir.join("podgate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{old:?} is not in {text}");
        std::fs::write(file, text.replace(old, new)).unwrap();
    }

    /// Several listeners, as TOML.
    pub fn listen(mut self, listeners: usize, value: &str) -> Self {
        self.listeners = listeners;
        self.set("listen", value)
    }

    pub fn data(&self, file: &str) -> PathBuf {
        self.dir.join("data").join(file)
    }

    /// A tenant that may use all images of the tests, with an operator.
    pub fn tenant(&self) -> Tenant {
        self.tenant_with(&[
            &format!("--image={ALPINE}"),
            &format!("--image={DEBIAN}"),
            &format!("--image={BUSYBOX}"),
            &format!("--image={STATIC}"),
            &format!("--alias=busybox={BUSYBOX}"),
            &format!("--alias=static={STATIC}"),
        ])
    }

    pub fn tenant_with(&self, arguments: &[&str]) -> Tenant {
        let tenant = Tenant { slug: unique() };
        self.tenants.borrow_mut().push(tenant.slug.clone());
        self.run(&[&["tenant", "create", &tenant.slug], arguments].concat(), "").succeeded();
        self.account(&tenant.login("operator"), "operator");
        tenant
    }

    pub fn account(&self, login: &str, role: &str) {
        let arguments = ["account", "create", login, "--role", role, "--password-stdin"];
        self.run(&arguments, &format!("{PASSWORD}\n")).succeeded();
    }

    pub fn token(&self, login: &str) -> String {
        self.run(&["token", login], "").succeeded().trim_end().to_owned()
    }

    /// Runs a command of the program to its end.
    pub fn run(&self, arguments: &[&str], stdin: &str) -> Done {
        let mut child = self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // A command that does not read has not failed.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Done::of(child.wait_with_output().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).envs(&self.variables).stderr(Stdio::piped());
        // Of all commands, only this one reads no configuration.
        if !matches!(arguments[0], "openapi" | "dev-certificate") {
            command.arg("--config").arg(self.dir.join("podgate.toml"));
        }
        command
    }

    /// Starts a gateway and waits until it listens.
    pub async fn start(&self) -> Gateway {
        self.started(self.command(&["serve"])).await
    }

    /// The same, where it may have so many files open, and so many once it asks for more.
    pub async fn start_with_files(&self, soft: u32, hard: u32) -> Gateway {
        let serve = self.command(&["serve"]);
        let mut command = Command::new("sh");
        command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).envs(&self.variables).stderr(Stdio::piped());
        command.args(["-c", "ulimit -Sn \"$1\" && ulimit -Hn \"$2\" && shift 2 && exec \"$@\"", "sh"]);
        command.args([soft.to_string(), hard.to_string()]).arg(serve.get_program()).args(serve.get_args());
        self.started(command).await
    }

    /// The same with the data directory, as it is now, on a disk of its own of so many MiB, which goes with the gateway.
    pub async fn start_on_a_small_disk(&self, size: usize) -> Gateway {
        let script = r#"cp -a "$1" "$1.seed" && mount -t tmpfs -o "size=$2m" small "$1" && cp -a "$1.seed/." "$1" && shift 2 && exec "$@""#;
        let serve = self.command(&["serve"]);
        let mut command = Command::new("unshare");
        command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(self.dir.join("data")).arg(size.to_string()).arg(serve.get_program()).args(serve.get_args());
        command.envs(&self.variables).stderr(Stdio::piped());
        self.started(command).await
    }

    /// Runs a command of the program where that gateway has its disks.
    pub fn run_where(&self, gateway: &Gateway, arguments: &[&str]) -> Done {
        let command = self.command(arguments);
        let mut inside = Command::new("nsenter");
        inside.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&self.variables);
        inside.args(["--user", "--mount", "--preserve-credentials", "--target", &gateway.pid().to_string()]);
        Done::of(inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null()).output().unwrap())
    }

    async fn started(&self, mut command: Command) -> Gateway {
        let stdout = std::fs::OpenOptions::new().append(true).create(true).open(self.dir.join("stdout")).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(stdout).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, written) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut gateway = Gateway { child, addresses: Vec::new(), log };
        for _ in 0..1500 {
            let addresses = listening(&gateway.log());
            if addresses.len() == self.listeners {
                gateway.addresses = addresses;
                return gateway;
            }
            assert_eq!(gateway.child.try_wait().unwrap(), None, "the gateway ended:\n{}", gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the gateway does not listen:\n{}", gateway.log());
    }
}

/// The built program in an empty environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podgate"));
    command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn listening(log: &str) -> Vec<SocketAddr> {
    let urls = log.lines().filter_map(|line| line.split_once("listening on ")?.1.split(['"', ' ']).next());
    urls.map(|url| url.split_once("://").unwrap().1.parse().unwrap()).collect()
}

impl Done {
    fn of(output: std::process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

impl Gateway {
    pub fn client(&self, token: &str) -> Client {
        Client { address: self.addresses[0], token: Some(token.to_owned()) }
    }

    /// Bytes of memory that it has.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has at that path, if its disks are not everybody's.
    pub fn sees(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), path.display()))
    }

    /// Everything written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Everything written, once these words are there: the log comes a moment after the answer.
    pub async fn logged(&self, words: &str) -> String {
        eventually(words, || async { Some(self.log()).filter(|log| log.contains(words)) }).await
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Asks it to read its configuration again.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The operator's listener, where the configuration has one.
    pub fn operator(&self) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once("metrics and probes are on http://").expect("operator.listen");
        rest.split(['"', '\n', ' ']).next().unwrap().parse().unwrap()
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = RefCell::new(&mut self.child);
        eventually("the gateway's end", || async { child.borrow_mut().try_wait().unwrap() }).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- the gateway's log\n{}", self.log.lock().map(|log| log.clone()).unwrap_or_default());
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let (tenants, database) = (self.tenants.take(), self.database());
        // A runtime cannot wait within another; its own thread can.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let podman = Podman::of_the_tests();
                for slug in tenants {
                    podman.clean(&slug).await;
                }
                // A site of which no gateway ever ran has none.
                if let Ok(ledger) = Ledger::at(&database).await
                    && let Ok(installation) = ledger.installation().await
                {
                    podman.clean_volumes(&installation).await;
                }
            });
        });
        let _ = cleaning.join();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
