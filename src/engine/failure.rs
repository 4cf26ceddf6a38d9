//! What Podman's failures mean. Its status codes lie; its words tell (measured on 4.3.1 and 5.4.2).
//!
//! The caller gets a message of ours; Podman's text, which names ids and host paths, goes to the log (SECURITY rule 24).

use std::fmt::Display;

use podman_api::conn::Error as ConnectionError;
use serde::Deserialize;

use crate::domain::{Error, Kind};

/// The body of a refusal.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    pub(super) cause: String,
    pub(super) message: String,
}

const PORT_TAKEN: &str = "a host port is taken";

/// Whether something else has a port that was to be published.
pub fn is_port_taken(error: &Error) -> bool {
    error.message == PORT_TAKEN
}

/// Words of Podman or its runtimes, and what they mean to the caller. The first that matches counts.
const MEANINGS: &[(&str, Kind, &str)] = &[
    ("device or resource busy", Kind::Busy, "Podman is busy with this; try again"),
    ("seccomp profile", Kind::EngineDown, "the host has no seccomp profile; ask its administrator"),
    ("no such container", Kind::NotFound, "no such container"),
    ("container has already been removed", Kind::NotFound, "no such container"),
    ("no container with", Kind::NotFound, "no such container"),
    ("that name is already in use", Kind::Conflict, "the name is in use"),
    ("no such volume", Kind::NotFound, "no such volume"),
    ("volume already exists", Kind::Exists, "the volume exists"),
    ("volume is being used", Kind::Conflict, "a container has the volume"),
    ("network not found", Kind::NotFound, "no such network"),
    ("network already exists", Kind::Exists, "the network exists"),
    ("image not known", Kind::NotFound, "the image is not on this host"),
    ("cannot remove container", Kind::Conflict, "the container has not stopped; stop it, or remove it with force=true"),
    ("cannot create exec session", Kind::Conflict, "the container is not running"),
    ("exec session with ID", Kind::Conflict, "the container stopped meanwhile"),
    ("cannot exec in a container that is not running", Kind::Conflict, "the container is not running"),
    ("no such network interface", Kind::Busy, "Podman is busy with its networks; try again"),
    ("can only be used on running containers", Kind::Conflict, "the container is not running"),
    ("container state improper", Kind::Conflict, "the container's state does not allow this"),
    ("address already in use", Kind::Conflict, PORT_TAKEN),
    ("failed to find free IP", Kind::Conflict, "the tenant's network has no free address"),
    ("no matching entries in passwd", Kind::Refused, "no such user in the container"),
    ("unable to find user", Kind::Refused, "no such user in the container"),
    ("unable to find group", Kind::Refused, "no such group in the container"),
    ("no matching entries in group", Kind::Refused, "no such group in the container"),
    ("workdir \"", Kind::Refused, "no such working directory in the container"),
    ("chdir to `", Kind::Refused, "no such working directory in the container"),
    ("chdir `", Kind::Refused, "no such working directory in the container"),
    ("chdir to cwd", Kind::Refused, "no such working directory in the container"),
    ("no command or entrypoint", Kind::Refused, "neither the request nor the image names a command"),
    ("command that was not found", Kind::NoCommand, "the command was not found in the container"),
    ("executable file not found", Kind::NoCommand, "the command was not found in the container"),
    ("ermission denied: OCI permission denied", Kind::Refused, "the command may not be executed in the container"),
    ("uids and gids must be in range", Kind::Refused, "a user or group number is out of range"),
    (
        "Operation not permitted: OCI permission denied",
        Kind::Refused,
        "the command may not be executed in the container",
    ),
    ("too many levels of symbolic links", Kind::Conflict, "the path leads in a circle"),
    ("stop signal cannot be", Kind::Refused, "the image's STOPSIGNAL is no signal"),
    ("invalid signal:", Kind::Refused, "the image's STOPSIGNAL is no signal"),
    ("read-only file system", Kind::Conflict, "the file system is read-only there"),
];

/// Words of a path that is not there. Where they are not said of a container's path, it is the host that lacks something.
const NO_PATH: &str = "no such file or directory";

/// A refusal that Podman put into words.
pub(super) fn refusal(status: u16, text: &str) -> Error {
    let cause = format!("Podman said {status}: {text}");
    match meaning(text) {
        Some((kind, message)) => Error::new(kind, message).because(cause),
        None => Error::new(Kind::Engine, "Podman failed; see the log under this request id").because(cause),
    }
}

/// What these words mean to a caller, if they are known.
pub(super) fn meaning(text: &str) -> Option<(Kind, &'static str)> {
    let found = MEANINGS.iter().find(|(words, ..)| text.contains(words));
    let found = found.map(|(_, kind, message)| (kind.clone(), *message));
    // The runtime's word, which is of what it starts.
    found.or_else(|| (text.contains(NO_PATH) && text.contains("OCI ")).then_some((Kind::NoPath, NO_PATH_HERE)))
}

const NO_PATH_HERE: &str = "no such path in the container";

/// An error of a call that names a path in a container, or a thing by its name.
pub(super) fn at_a_path(error: Error) -> Error {
    let is_missing = error.kind == Kind::Engine && error.cause.as_ref().is_some_and(|cause| cause.contains(NO_PATH));
    if is_missing { error.said(Kind::NoPath, NO_PATH_HERE) } else { error }
}

/// The socket does not answer, or stopped in the middle.
pub(super) fn unreachable(error: impl Display) -> Error {
    Error::new(Kind::EngineDown, "Podman is out of reach").because(error)
}

/// Podman answered something that is not what it should be.
pub(super) fn unreadable(error: impl Display) -> Error {
    Error::new(Kind::Engine, "Podman failed; see the log under this request id").because(error)
}

/// An error of podman-api. Taken by value and never cloned: cloning a `Fault` overflows the stack (podman-api 0.11).
pub(super) fn of_client(error: podman_api::Error) -> Error {
    match error {
        podman_api::Error::Fault { code, message } => refusal(code.as_u16(), &message),
        podman_api::Error::Error(ConnectionError::Fault { code, message }) => refusal(code.as_u16(), &message),
        podman_api::Error::Error(error @ (ConnectionError::Hyper(_) | ConnectionError::ConnectionNotUpgraded)) => {
            unreachable(error)
        }
        // Streams wrap the client's own errors, twice where they are decoded.
        podman_api::Error::Error(ConnectionError::Any(inner)) => match inner.downcast::<podman_api::Error>() {
            Ok(error) => of_client(*error),
            Err(other) => unreachable(other),
        },
        podman_api::Error::Error(ConnectionError::IO(error)) => match error.downcast::<ConnectionError>() {
            Ok(inner) => of_client(podman_api::Error::Error(inner)),
            Err(other) => unreachable(other),
        },
        podman_api::Error::IO(error) => unreachable(error),
        other => unreadable(other),
    }
}
