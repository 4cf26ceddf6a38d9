//! What the command line shows, to people and to programs.

use serde_json::{Value, json};

use crate::support::gateway::program;
use crate::support::{ALPINE, Site};

fn help(arguments: &[&str]) -> String {
    let done = program().args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Each example of the help is a command that there is.
#[test]
fn the_help_has_examples_and_exit_codes() {
    let text = help(&["--help"]);
    for code in ["0 done", "1 failed", "2 wrong arguments", "64 wrong configuration"] {
        assert!(text.contains(code), "{text}");
    }
    let (_, examples) = text.split_once("Examples:\n").unwrap();
    let examples: Vec<&str> = examples.lines().map_while(|line| line.strip_prefix("  podgate ")).collect();
    assert!(examples.len() >= 6, "{text}");
    for example in examples {
        let words: Vec<&str> = example.split("  ").next().unwrap().split('<').next().unwrap().split(' ').collect();
        let command: Vec<&str> =
            words.into_iter().take_while(|word| !word.contains('/') && !word.starts_with('-')).collect();
        let command: Vec<&str> = command.into_iter().filter(|word| !word.is_empty() && *word != "acme").collect();
        assert!(help(&[&command[..], &["--help"]].concat()).contains("Usage: podgate"), "{example}");
    }
    let nothing = program().output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "no command is a wrong one");
}

/// The commands below one, by the list in its help.
fn commands(path: &[&str]) -> Vec<String> {
    let text = help(&[path, &["--help"]].concat());
    let Some((_, list)) = text.split_once("\nCommands:\n") else { return Vec::new() };
    let named = list.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = named.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn the_help_of_each_command_has_an_example_and_exit_codes() {
    let mut seen = 0;
    let mut rest: Vec<Vec<String>> = commands(&[]).into_iter().map(|name| vec![name]).collect();
    while let Some(path) = rest.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let below = commands(&words);
        if !below.is_empty() {
            rest.extend(below.into_iter().map(|name| [path.clone(), vec![name]].concat()));
            continue;
        }
        seen += 1;
        let text = help(&[&words[..], &["--help"]].concat());
        let usage = text.lines().find(|line| line.starts_with("Usage: ")).unwrap();
        let wants_more = usage.replace("[OPTIONS]", "").trim_end() != format!("Usage: podgate {}", words.join(" "));
        let example = text.lines().find_map(|line| line.strip_prefix("Example: podgate "));
        let arguments = example.and_then(|example| example.strip_prefix(&words.join(" ")));
        assert!(arguments.is_some_and(|arguments| !arguments.is_empty() || !wants_more), "{text}");
        assert!(text.contains("Exit codes: 0 done, 1 failed"), "{text}");
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn shells_get_completions() {
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef podgate"), ("fish", "complete -c podgate")] {
        let script = help(&["completions", shell]);
        assert!(script.contains(word) && script.contains("doctor"), "{shell}");
    }
    let script = help(&["completions", "bash"]);
    let ask = "COMP_WORDS=(podgate te); COMP_CWORD=1; COMPREPLY=(); _podgate podgate te podgate; echo ${COMPREPLY[@]}";
    let asked = std::process::Command::new("bash").args(["-c", &format!("{script}\n{ask}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), "tenant", "{}", String::from_utf8_lossy(&asked.stderr));
}

#[test]
fn lists_and_tenants_are_json_where_asked() {
    let site = Site::new();
    let tenant =
        site.tenant_with(&[&format!("--image={ALPINE}"), &format!("--alias=a={ALPINE}"), "--quota=containers=3"]);
    site.account(&tenant.login("viewer"), "viewer");
    site.run(&["account", "disable", &tenant.login("viewer")], "").succeeded();
    site.account("root", "platform");
    let slug = tenant.slug.as_str();
    let all = parsed(&site.run(&["tenant", "list", "--json"], "").succeeded());
    assert_eq!(all, json!({"tenants": [{"tenant": slug, "deleting": false}]}));
    assert_eq!(site.run(&["tenant", "list"], "").succeeded(), format!("{slug}\n"));
    let shown = parsed(&site.run(&["tenant", "show", slug, "--json"], "").succeeded());
    assert_eq!(shown["images"], json!([ALPINE]));
    assert_eq!(shown["aliases"], json!({"a:latest": ALPINE}));
    assert_eq!(shown["quotas"][0], json!({"resource": "containers", "limit": 3, "used": 0}));
    let accounts = parsed(&site.run(&["account", "list", slug, "--json"], "").succeeded());
    let accounts = accounts["accounts"].as_array().unwrap();
    let seen: Vec<_> =
        accounts.iter().map(|one| (one["username"].as_str().unwrap(), &one["role"], &one["disabled"])).collect();
    let (operator, viewer) = (tenant.login("operator"), tenant.login("viewer"));
    assert_eq!(
        seen,
        [(operator.as_str(), &json!("operator"), &json!(false)), (viewer.as_str(), &json!("viewer"), &json!(true))]
    );
    assert_eq!(site.run(&["account", "list"], "").succeeded(), "root platform\n");
    let text = site.run(&["account", "list", slug], "").succeeded();
    assert_eq!(text, format!("{operator} operator\n{viewer} viewer (disabled)\n"));
    assert_eq!(site.run(&["account", "list", "absent"], "").code, 1);
    assert_eq!(parsed(&site.run(&["check-config", "--json"], "").succeeded()), json!({"mistakes": []}));
    let wrong = Site::new().set("log.format", "xml").run(&["check-config", "--json"], "");
    assert_eq!((wrong.code, &parsed(&wrong.stdout)["mistakes"][0]["key"]), (64, &json!("log.format")));
}

/// What was allowed can be taken away again, all that is named or nothing.
#[test]
fn what_a_tenant_was_allowed_is_taken_from_it() {
    let site = Site::new().set("profiles.gpu.max_ports", 1);
    let tenant = site.tenant_with(&[&format!("--image={ALPINE}"), &format!("--alias=a={ALPINE}")]);
    let slug = tenant.slug.as_str();
    let run = |verb: &str, arguments: &[&str]| site.run(&[&["tenant", verb, slug], arguments].concat(), "");
    let given = ["--profile=gpu", "--quota=containers=3", "--limit=burst=7"];
    assert_eq!(run("allow", &given).succeeded(), format!("tenant {slug} changed\n"));
    for verb in ["allow", "disallow"] {
        let nothing = run(verb, &[]);
        assert!(nothing.code == 1 && nothing.stderr.contains("--profile"), "{}", nothing.stderr);
    }
    let shown = || parsed(&run("show", &["--json"]).succeeded());
    let before = shown();
    let absent = run("disallow", &["--profile=gpu", "--quota=containers", "--limit=container_pids"]);
    assert!(absent.code == 1 && absent.stderr.contains("no limit container_pids of its own"), "{}", absent.stderr);
    assert_eq!(shown(), before, "all or nothing");
    let image = format!("--image={ALPINE}");
    let taken = [&*image, "--alias=a", "--profile=gpu", "--quota=containers", "--limit=burst"];
    assert_eq!(run("disallow", &taken).succeeded(), format!("tenant {slug} changed\n"));
    let after = shown();
    assert_eq!([&after["images"], &after["profiles"]], [&json!([]), &json!([])]);
    assert_eq!([&after["aliases"], &after["limits"]], [&json!({}), &json!({})]);
    assert_ne!(after["quotas"][0]["limit"], 3, "the configuration's again");
    for wrong in [["disallow", slug, "--quota=nonsense"], ["disallow", slug, "--limit=nonsense"]] {
        assert_eq!(site.run(&[&["tenant"], &wrong[..]].concat(), "").code, 2);
    }
    let deleted = run("delete", &["--no-wait"]).succeeded();
    assert!(deleted.contains("is being deleted"), "{deleted}");
}

/// What a script keeps of an output that could not be written is half of it, and it has to hear so.
#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let site = Site::new();
    let tenant = site.tenant();
    let into = |out: std::process::Stdio, arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).stdout(out);
        if arguments[0] != "openapi" {
            command.arg("--config").arg(site.dir.join("podgate.toml"));
        }
        command.output().unwrap()
    };
    let (login, slug) = (tenant.login("operator"), tenant.slug.as_str());
    for arguments in [
        &["token", login.as_str()] as &[&str],
        &["audit", "export"],
        &["audit", "list"],
        &["audit", "verify"],
        &["tenant", "list", "--json"],
        &["tenant", "show", slug],
        &["check-config", "--defaults"],
        &["openapi"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let done = into(full.into(), arguments);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) && said.contains("standard output"), "{arguments:?}: {said}");
        // Whoever has read enough, as `head` has, is another matter.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(into(writer.into(), arguments).status.code(), Some(0), "{arguments:?}");
    }
}
