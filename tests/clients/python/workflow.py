"""The whole workflow with a client that openapi-python-client generates from the committed document.

PODGATE_URL, PODGATE_USERNAME and PODGATE_PASSWORD say where and who.
"""

import io
import json
import os
import tarfile

from podgate_client import AuthenticatedClient, Client
from podgate_client.api.authentication import create_token
from podgate_client.api.containers import (
    create_container,
    get_container,
    get_container_logs,
    remove_container,
    stop_container,
)
from podgate_client.api.files import (
    add_container_file,
    create_container_directory,
    get_container_archive,
    get_container_file_content,
    put_container_archive,
    put_container_file_content,
)
from podgate_client.api.inside import exec_in_container
from podgate_client.models import (
    AddFileRequest,
    CreateContainerRequest,
    CreateDirectoryRequest,
    EndReason,
    ErrorResponse,
    ErrorType,
    ExecRequest,
    LogLine,
    LogOutput,
    StreamEnd,
    TokenRequest,
)
from podgate_client.types import File

from events import events

api = os.environ["PODGATE_URL"] + "/api/v1"
credentials = TokenRequest(username=os.environ["PODGATE_USERNAME"], password=os.environ["PODGATE_PASSWORD"])
signed = create_token.sync(client=Client(base_url=api), body=credentials)
podgate = AuthenticatedClient(base_url=api, token=signed.access_token)

name = "from-python"
wanted = CreateContainerRequest(name=name, image="alpine", command=["sh", "-c", "echo ready; exec sleep 300"])
made = create_container.sync(client=podgate, body=wanted)
assert made.container.status == "running", made

# A small file in JSON, one of any size as it is, and a directory as an archive.
file = AddFileRequest(dest_path="/tmp/hello", content="hello from Python\n")
assert add_container_file.sync(name, client=podgate, body=file).file.size == 18
content = bytes(range(256)) * 1024
written = put_container_file_content.sync(name, client=podgate, path="/tmp/bytes", body=File(io.BytesIO(content)))
assert (written.file.created, written.file.size) == (True, len(content)), written
read = get_container_file_content.sync(name, client=podgate, path="/tmp/bytes")
assert read.payload.read() == content
part = get_container_file_content.sync(name, client=podgate, path="/tmp/bytes", range_="bytes=1-3")
assert part.payload.read() == b"\1\2\3"

archive = get_container_archive.sync(name, client=podgate, path="/tmp").payload
with tarfile.open(fileobj=archive) as tar:
    assert {"tmp/hello", "tmp/bytes"} <= set(tar.getnames()), tar.getnames()
archive.seek(0)
create_container_directory.sync(name, client=podgate, body=CreateDirectoryRequest(path="/srv"))
unpacked = put_container_archive.sync(name, client=podgate, path="/srv", body=File(archive))
assert unpacked.archive.files == 2, unpacked

done = exec_in_container.sync(name, client=podgate, body=ExecRequest(command="cat /srv/tmp/hello"))
assert (done.execution.exit_code, done.execution.output) == (0, "hello from Python\n"), done

assert get_container_logs.sync(name, client=podgate, tail=10).container.logs == "ready\n"
# The log goes on until the container ends, and says why it does.
told = events(podgate, f"/containers/{name}/logs", follow=True)
event, data = next(told)
line = LogLine.from_dict(data)
assert (event, line.text, line.output) == ("log", "ready\n", LogOutput.STDOUT), line
assert stop_container.sync(name, client=podgate, timeout=0).container.status == "stopped"
event, data = next(told)
assert (event, StreamEnd.from_dict(data).reason) == ("end", EndReason.STOPPED), data
assert next(told, None) is None
assert remove_container.sync(name, client=podgate).container.removed

gone = get_container.sync(name, client=podgate)
assert isinstance(gone, ErrorResponse), gone
assert (gone.error.code, gone.error.type_) == (404, ErrorType.PODMANAPIERROR), gone
refused = create_container.sync(client=podgate, body=CreateContainerRequest(name="no name", image="alpine"))
assert isinstance(refused, ErrorResponse), refused
assert [detail.field for detail in refused.error.details] == ["name"], refused
print("python: done")
