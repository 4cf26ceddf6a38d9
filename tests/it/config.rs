//! The configuration: checked whole, told whole.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Site, Story};

#[test]
fn every_mistake_is_told_at_once() {
    // The port is taken: whoever tried to bind it would say so.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut site = Site::new()
        .set("listen", format!("[{{address=\"{}\"}}, {{address=\"nonsense\"}}]", taken.local_addr().unwrap()))
        .set("engine.url", "tcp://127.0.0.1:1")
        .set("engine.max_workers", 0)
        .set("engine.cgroup_parent", "podgate")
        .set("auth.leeway_seconds", 31)
        .set("auth.issuer", "\"\"")
        .set("limits.trusted_proxies", "[\"everybody\"]")
        .set("http.max_body_bytes", "\"much\"")
        .set("http.cors_origins", "[\"*\"]")
        .set("log.format", "xml")
        .set("nonsense.key", 1);
    let file = site.dir.join("podgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}burts = 3\n[profiles.default]\nmax_ports = 17\n")).unwrap();
    for command in ["serve", "check-config", "migrate"] {
        let refused = site.run(&[command], "");
        assert_eq!(refused.code, 64, "{command}: {}", refused.stderr);
        for key in [
            "listen[1].address",
            "engine.url",
            "engine.max_workers",
            "engine.cgroup_parent",
            "auth.leeway_seconds",
            "auth.issuer",
            "limits.trusted_proxies[0]",
            "http.max_body_bytes",
            "http.cors_origins[0]",
            "log.format",
            "nonsense",
            "limits.burts",
            "profiles.default.max_ports",
        ] {
            let named = refused.stderr.lines().filter(|line| line.trim_start().starts_with(&format!("{key}:"))).count();
            assert_eq!(named, 1, "{command} names {key} once: {}", refused.stderr);
        }
        assert!(refused.stderr.contains("13 mistake"), "{}", refused.stderr);
        let number = "http.max_body_bytes: must be a whole number from 0";
        assert!(refused.stderr.contains(number), "{}", refused.stderr);
        assert!(!refused.stderr.contains("in use") && !refused.stderr.contains("listening"), "{}", refused.stderr);
    }
    assert!(!site.data("").exists(), "nothing was made");
    site.put("listen", "[]");
    assert!(site.run(&["check-config"], "").stderr.contains("listen: at least one"));
}

#[test]
fn a_variable_that_means_nothing_is_told() {
    let refused = Site::new().variable("PODGATE_ENGINE__MAX_WORKER", "5").run(&["check-config"], "");
    assert_eq!(refused.code, 64);
    assert!(refused.stderr.contains("engine.max_worker: "), "{}", refused.stderr);
    let refused = Site::new().variable("PODGATE_WORKERS", "5").run(&["check-config"], "");
    assert_eq!(refused.code, 64);
    assert!(refused.stderr.contains("workers: "), "{}", refused.stderr);
}

#[test]
fn a_file_must_be_there_and_be_toml() {
    let site = Site::new();
    std::fs::write(site.dir.join("podgate.toml"), "[engine\n").unwrap();
    assert_eq!(site.run(&["check-config"], "").code, 64);
    std::fs::remove_file(site.dir.join("podgate.toml")).unwrap();
    let missing = site.run(&["check-config"], "");
    assert_eq!(missing.code, 64);
    assert!(missing.stderr.contains("podgate.toml"), "{}", missing.stderr);
}

/// Defaults, then the file, then the seed's variables, then ours.
#[tokio::test]
async fn the_environment_comes_last() {
    let workers = async |site: Site| {
        let story = Story::at(site).await;
        story.client.get("/metrics").await.json()["max_workers"].as_u64().unwrap()
    };
    let with_file = |line: &str| {
        let site = Site::new();
        let file = site.dir.join("podgate.toml");
        let text = std::fs::read_to_string(&file).unwrap().replace("[engine]\n", &format!("[engine]\n{line}\n"));
        std::fs::write(file, text).unwrap();
        site
    };
    assert_eq!(workers(Site::new()).await, 10);
    assert_eq!(workers(with_file("max_workers = 11")).await, 11);
    assert_eq!(workers(with_file("max_workers = 11").variable("MAX_WORKERS", "12")).await, 12);
    let both = with_file("max_workers = 11").variable("MAX_WORKERS", "12").set("engine.max_workers", 13);
    assert_eq!(workers(both).await, 13);
}

#[tokio::test]
async fn the_seeds_variables_still_mean_something() {
    for (variable, key) in
        [("MAX_WORKERS", "engine.max_workers"), ("REQUEST_TIMEOUT", "engine.request_timeout_seconds")]
    {
        for bad in ["many", "0", "-1"] {
            let refused = Site::new().variable(variable, bad).run(&["check-config"], "");
            assert_eq!(refused.code, 64, "{variable}={bad}");
            assert!(refused.stderr.contains(key), "{}", refused.stderr);
        }
    }
    for (debug, expected) in [("true", true), ("True", true), ("1", true), ("false", false), ("", false)] {
        let story = Story::at(Site::new().variable("DEBUG", debug)).await;
        // A refused token has its reason in the debug log.
        story.client.with_token("junk").get("/containers").await.refused(401, "AuthenticationError");
        let log = story.gateway.logged("/api/v1/containers").await;
        assert_eq!(log.contains("DEBUG"), expected, "DEBUG={debug}: {log}");
    }
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let site = Site::new();
    let printed = site.run(&["check-config", "--defaults"], "").succeeded();
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/podgate.toml")).unwrap();
    assert_eq!(printed, documented);
    // They are valid as they stand, also as a file.
    std::fs::write(site.dir.join("podgate.toml"), documented).unwrap();
    site.run(&["check-config"], "").succeeded();
}

#[tokio::test]
async fn a_log_can_be_json() {
    let story = Story::at(Site::new().set("log.format", "json")).await;
    story.client.get("/containers/some-name/logs?tail=7").await.refused(404, "PodmanAPIError");
    let log = story.gateway.logged("http.route").await;
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let request = lines.find(|line| line["message"] == "request").unwrap();
    assert_eq!((&request["http.method"], &request["http.status"]), (&json!("GET"), &json!(404)));
    assert_eq!(request["http.route"], "/api/v1/containers/{name}/logs");
    assert_eq!(request["principal"], json!(story.tenant.login("operator")));
    assert!(!log.contains("tail=7"), "queries are not logged");
}

#[test]
fn the_command_line_says_what_went_wrong() {
    let site = Site::new();
    let tenant = site.tenant_with(&[]);
    let fails = |arguments: &[&str], stdin: &str, code: i32, words: &str| {
        let done = site.run(arguments, stdin);
        assert_eq!(done.code, code, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{arguments:?}: {}", done.stderr);
    };
    let login = tenant.login("second");
    let account =
        |login: &'static str, role: &'static str| ["account", "create", login, "--role", role, "--password-stdin"];
    fails(&["tenant", "create", &tenant.slug], "", 1, "already");
    fails(&["tenant", "create", "No Slug"], "", 2, "a tenant is");
    fails(&["tenant", "create", "x", "--image", "alpine"], "", 2, "does not name its registry");
    fails(&["tenant", "allow", "absent"], "", 1, "there is no tenant");
    fails(&["account", "create", &login, "--role", "operator", "--password-stdin"], "short\n", 1, "password");
    fails(&["account", "create", &login, "--role", "operator"], "long enough\n", 2, "--password-stdin");
    fails(&["account", "create", &login, "--role", "king", "--password-stdin"], "long enough\n", 2, "role");
    fails(&account("absent/x", "operator"), "long enough\n", 1, "there is no tenant");
    fails(&account("root", "operator"), "long enough\n", 1, "platform");
    fails(&["token", &login], "", 1, "there is no enabled account");
    site.run(&["account", "create", &login, "--role", "operator", "--password-stdin"], "long enough\n").succeeded();
    fails(&["account", "create", &login, "--role", "viewer", "--password-stdin"], "long enough\n", 1, "already");
    let token = site.run(&["token", &login], "").succeeded();
    assert_eq!((token.lines().count(), token.split('.').count()), (1, 3), "the token and nothing else");
    let shown = site.run(&["tenant", "show", &tenant.slug], "").succeeded();
    assert!(shown.starts_with(&format!("tenant {}\nquota containers=20, 0 used\n", tenant.slug)), "{shown}");
    site.run(&["migrate"], "").succeeded();
}

/// `[[issuers]]` for `[issuers.NAME]` is the usual slip, and gave a gateway without any.
#[test]
fn what_has_to_be_a_table_is_one() {
    for (toml, key) in [
        ("issuers = [1]", "issuers"),
        ("profiles = \"a\"", "profiles"),
        ("shares = 3", "shares"),
        ("engine = 3", "engine"),
        ("[[issuers]]\nissuer = \"https://id.example\"", "issuers"),
        ("[[shares]]\npath = \"/srv\"", "shares"),
        ("[profiles]\ngpu = 3", "profiles.gpu"),
    ] {
        let mut site = Site::new();
        site.unset("profiles.default.auto_ports");
        std::fs::write(site.dir.join("podgate.toml"), toml).unwrap();
        let refused = site.run(&["check-config"], "");
        assert_eq!(refused.code, 64, "{toml}");
        assert!(refused.stderr.contains("1 mistake"), "{toml}: {}", refused.stderr);
        assert!(refused.stderr.contains(&format!("{key}: is a table, and is written [{key}]")), "{}", refused.stderr);
    }
    let refused = Site::new().variable("PODGATE_ENGINE", "5").run(&["check-config"], "");
    assert!(refused.stderr.contains("engine: is a table"), "{}", refused.stderr);
}

/// What `serve` and SIGHUP would refuse, this refuses: `check-config && systemctl reload podgate`.
#[test]
fn what_is_fine_can_be_served() {
    let site = Site::new();
    let (cert, key) = (site.dir.join("cert.pem"), site.dir.join("key.pem"));
    site.run(&["dev-certificate", site.dir.to_str().unwrap()], "").succeeded();
    let tls = format!("{{ cert_file = {cert:?}, key_file = {key:?} }}");
    let site = site.set("listen", format!("[{{ address = \"127.0.0.1:0\", tls = {tls} }}]"));
    site.run(&["check-config"], "").succeeded();
    std::fs::write(&cert, "junk").unwrap();
    for arguments in [&["check-config"] as &[&str], &["check-config", "--json"]] {
        let refused = site.run(arguments, "");
        assert_eq!(refused.code, 64, "{}", refused.stderr);
        assert!(refused.stderr.contains("listen[0].tls: no usable certificate chain"), "{}", refused.stderr);
    }
    let twice = "[{ address = \"127.0.0.1:7\" }, { address = \"127.0.0.1:7\" }]";
    let refused = Site::new().set("listen", twice).run(&["check-config"], "");
    assert!(refused.stderr.contains("listen[1].address: 127.0.0.1:7 is there twice"), "{}", refused.stderr);
    let site = Site::new().set("listen", "[{ address = \"127.0.0.1:7\" }]").set("operator.listen", "127.0.0.1:7");
    assert!(site.run(&["check-config"], "").stderr.contains("operator.listen: "));
    let refused = Site::new().set("listen", 5).run(&["check-config"], "");
    assert!(refused.stderr.contains("1 mistake"), "{}", refused.stderr);
}

/// An operator with several files is told which one.
#[test]
fn a_mistake_of_form_names_the_file() {
    let site = Site::new();
    std::fs::write(site.dir.join("podgate.toml"), "[engine\n").unwrap();
    let refused = site.run(&["check-config"], "");
    assert!(refused.stderr.contains(site.dir.join("podgate.toml").to_str().unwrap()), "{}", refused.stderr);
    std::fs::write(site.dir.join("podgate.toml"), "[shares.x]\npath = \"/srv\"\ntenants = [\"A b\"]\n").unwrap();
    assert!(site.run(&["check-config"], "").stderr.contains("\"A b\": "));
}
