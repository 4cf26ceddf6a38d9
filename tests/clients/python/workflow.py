"""The whole workflow with a client that openapi-python-client generates from the committed document.

PODGATE_URL, PODGATE_USERNAME and PODGATE_PASSWORD say where and who.
"""

import os

from podgate_client import AuthenticatedClient, Client
from podgate_client.api.authentication import create_token
from podgate_client.api.containers import (
    create_container,
    get_container,
    get_container_logs,
    remove_container,
    stop_container,
)
from podgate_client.api.files import add_container_file
from podgate_client.api.inside import exec_in_container
from podgate_client.models import AddFileRequest, CreateContainerRequest, ErrorType, ExecRequest, TokenRequest

api = os.environ["PODGATE_URL"] + "/api/v1"
credentials = TokenRequest(username=os.environ["PODGATE_USERNAME"], password=os.environ["PODGATE_PASSWORD"])
signed = create_token.sync(client=Client(base_url=api), body=credentials)
podgate = AuthenticatedClient(base_url=api, token=signed.access_token)

name = "from-python"
wanted = CreateContainerRequest(name=name, image="alpine", command="sleep 300")
made = create_container.sync(client=podgate, body=wanted)
assert made.container.status == "running", made

file = AddFileRequest(dest_path="/tmp/hello", content="hello from Python\n")
written = add_container_file.sync(name, client=podgate, body=file)
assert written.file.size == 18, written

done = exec_in_container.sync(name, client=podgate, body=ExecRequest(command="cat /tmp/hello"))
assert (done.execution.exit_code, done.execution.output) == (0, "hello from Python\n"), done

get_container_logs.sync(name, client=podgate, tail=10)
assert stop_container.sync(name, client=podgate, timeout=0).container.status == "stopped"
assert remove_container.sync(name, client=podgate).container.removed

gone = get_container.sync(name, client=podgate)
assert (gone.error.code, gone.error.type_) == (404, ErrorType.PODMANAPIERROR), gone
print("python: done")
