"""What the document cannot say of a valid request, said to schemathesis.

OpenAPI 3.0 has no words for the keys of a map and what hangs on them, for the first item of an array, for content that
another field says how to read, or for an enumeration with one value less in one place. A generated body that offends
against such a rule only is made to keep it: else nearly every create would be refused for the same reason, which stories
of tests/it try on purpose. What is of a wrong type stays wrong.
"""

import base64
import io
import re
import tarfile

import schemathesis

USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?"
REFERENCE = "docker.io/library/alpine:latest"


def plain(text):
    return "".join(c for c in text if c.isprintable())


def numbered(key, value):
    """A map with keys by the number of the entry, and with values, where they are strings, by `value`."""

    def mend(entries):
        if not isinstance(entries, dict):
            return entries
        return {
            key.format(number): value(old, number) if isinstance(old, str) else old
            for number, old in enumerate(entries.values())
        }

    return mend


def counted(keys):
    """A map with these keys, and with values, where they are integers, within all their bounds."""

    def mend(entries):
        if not isinstance(entries, dict):
            return entries
        count = lambda value: abs(value) % 1000 + 1 if type(value) is int else value
        return {key: count(old) for key, old in zip(keys, entries.values())}

    return mend


def each(value):
    return lambda items: [value if isinstance(item, str) else item for item in items] if isinstance(items, list) else items


def words(value, instead):
    """What alpine can run, for what is a command at all."""

    def mend(command):
        if isinstance(command, str):
            return value
        if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
            return instead
        return command

    return mend


def exactly(most):
    """Limits within the profile's, for what is a limit at all."""

    def mend(limits):
        if not isinstance(limits, dict):
            return limits
        is_one = lambda name, value: name in most and type(value) in (int, float) and value >= 0.01
        return {name: most[name] if is_one(name, value) else value for name, value in limits.items()}

    return mend


RULES = {
    "environment": numbered("NAME_{}", lambda text, _: plain(text)),
    "labels": numbered("org.example.label{}", lambda text, _: plain(text)),
    "ports": numbered("3000{}", lambda _, number: str(8000 + number)),
    "volumes": numbered("volume{}", lambda _, number: f"/srv/{number}"),
    "aliases": numbered("short{}", lambda *_: REFERENCE),
    "images": each(REFERENCE),
    "profiles": each("default"),
    "quotas": counted(["containers", "running", "volumes", "execs", "pids"]),
    "command": words("sleep 300", ["sleep", "300"]),
    "entrypoint": words("", ["/bin/sh", "-c", "sleep 300"]),
    "workdir": lambda path: "/tmp" if isinstance(path, str) and path.startswith("/") else path,
    "limits": exactly({"cpus": 0.5, "memory_bytes": 64 << 20, "pids": 64}),
    # Whom alpine has. What is no name of a user stays.
    "user": lambda user: "0" if isinstance(user, str) and re.fullmatch(USER, user) else user,
    # A tenant has no platform administrators.
    "role": lambda role: "viewer" if role == "platform" else role,
}
EXEC = RULES | {
    "command": words("echo hello", ["echo", "hello"]),
    # What the installation and the profile have for the most.
    "timeout": lambda seconds: 5 if type(seconds) in (int, float) and seconds >= 0.001 else seconds,
    "max_output": lambda count: 1000 if type(count) is int and count >= 1 else count,
}
OWN = ["operator", "admin"]
TENANT_LIMITS = counted(["expires_seconds", "max_expires_seconds"])


def mended(path, body):
    rules = RULES
    if "/tenants" in path:
        rules = {**RULES, "limits": TENANT_LIMITS}
    elif "/exec" in path:
        rules = EXEC
    elif path == "/auth/tickets":
        rules = {"path": lambda path: "/containers/one/attach" if isinstance(path, str) else path}
    body = {field: rules[field](value) if field in rules else value for field, value in body.items()}
    if body.get("encoding") == "base64" and isinstance(body.get("content"), str):
        body["content"] = base64.b64encode(body["content"].encode(errors="replace")).decode()
    return body


def archive(content):
    """An archive of one file with that content."""
    content = content if isinstance(content, bytes) else str(content).encode(errors="replace")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    if isinstance(case.body, dict):
        case.body = mended(path, case.body)
    # Bytes, says the document; an archive is what is taken.
    if path.endswith("/files/archive") and isinstance(case.body, (bytes, str)):
        case.body = archive(case.body)
    # Whose head is too long for the server meets no operation.
    long = str((case.query or {}).get("path", ""))
    if len(long) > 4095:
        case.query["path"] = "/" + "x" * 4095
    # Nobody waits for a container that ignores SIGTERM for minutes.
    seconds = str((case.query or {}).get("timeout", ""))
    if seconds.isdigit() and 2 < int(seconds) <= 300:
        case.query["timeout"] = 2
    # There is no 30th of February.
    for name in ("since", "until"):
        if re.match(r"\d{4}-\d\d-\d\dT", str((case.query or {}).get(name, ""))):
            case.query[name] = "2025-01-19T15:47:19Z"
    # Who disables its own account, or takes its password away, ends the attack.
    if "/accounts/" in path and case.path_parameters.get("name") in OWN:
        case.path_parameters["name"] = "another"
    # The tenant of these accounts.
    if "/tenants/" in path and case.path_parameters.get("slug") == "clients":
        case.path_parameters["slug"] = "another"
