//! What the help of each command says beside its options: an example, and what its exit codes mean.

use clap::{CommandFactory, FromArgMatches};

use super::Arguments;

/// What every command ends with.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 64 wrong configuration.";

/// How each is called. A story holds that none is missing.
const EXAMPLES: &[(&str, &str)] = &[
    ("serve", "--config /etc/podgate/podgate.toml"),
    ("migrate", "--config /etc/podgate/podgate.toml"),
    ("openapi", "> podgate-v1.json"),
    (
        "check-config",
        "--config podgate.toml.new && mv podgate.toml.new /etc/podgate/podgate.toml && systemctl reload podgate",
    ),
    ("doctor", "--json"),
    (
        "forward",
        "--url https://gateway.example --token-file key web 8080:80\n         \
         then http://127.0.0.1:8080 is what listens on port 80 of the container web",
    ),
    ("completions", "bash > /usr/share/bash-completion/completions/podgate"),
    (
        "tenant create",
        "acme --image 'docker.io/library/python:3*' --alias py=docker.io/library/python:3.12 --quota containers=50",
    ),
    ("tenant allow", "acme --profile gpu --quota memory_bytes=17179869184"),
    ("tenant disallow", "acme --image docker.io/library/debian:latest --profile gpu --quota memory_bytes"),
    ("tenant delete", "acme"),
    ("tenant list", "--json"),
    ("tenant show", "acme --json"),
    ("account create", "acme/alice --role operator --password-stdin < password-file"),
    ("account role", "acme/alice --role admin"),
    ("account password", "acme/alice --password-stdin < password-file"),
    ("account disable", "acme/alice"),
    ("account enable", "acme/alice"),
    ("account delete", "acme/alice"),
    ("account list", "acme --json"),
    ("audit verify", "--head 0b3f6a4d:1042:6f1d…, as the check before printed it"),
    ("audit list", "--since 2025-01-19T00:00:00Z --outcome refused"),
    ("audit export", "> audit.jsonl"),
    ("class import", "class.csv --image docker.io/library/debian:latest > passwords.csv"),
    ("key rotate", ""),
    ("backup", "podgate.backup"),
    ("restore", "podgate.backup --replace"),
    ("strays list", "--json"),
    ("strays remove", ""),
    ("token", "acme/alice"),
    ("dev-certificate", "tls"),
];

/// The whole command line, with all that its help says.
pub(super) fn command() -> clap::Command {
    explained(Arguments::command(), "")
}

/// What this program was called with. Ends it where that is wrong, or asks for help.
pub fn arguments() -> Arguments {
    Arguments::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

fn explained(command: clap::Command, path: &str) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    if names.is_empty() {
        let example = EXAMPLES.iter().find(|(of, _)| *of == path).map_or("", |(_, example)| example);
        let more = command.get_after_help().map(|more| format!("{more}\n\n")).unwrap_or_default();
        let called = format!("podgate {path} {example}");
        return command.after_help(format!("Example: {}\n\n{more}{EXIT_CODES}", called.trim_end()));
    }
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
    names.iter().fold(command, |command, name| command.mut_subcommand(name, |one| explained(one, &within(name))))
}
