# The example of docs/clients.md.
from os import environ
from podgate_client import AuthenticatedClient, Client
from podgate_client.api.authentication import create_token
from podgate_client.api.containers import create_container, remove_container
from podgate_client.api.inside import exec_in_container
from podgate_client.models import CreateContainerRequest, ExecRequest, TokenRequest

api = environ["PODGATE_URL"] + "/api/v1"
who = TokenRequest(username=environ["PODGATE_USERNAME"], password=environ["PODGATE_PASSWORD"])
podgate = AuthenticatedClient(api, create_token.sync(client=Client(api), body=who).access_token)
create_container.sync(client=podgate, body=CreateContainerRequest("alpine", "ten", command="sleep 300"))
print(exec_in_container.sync("ten", client=podgate, body=ExecRequest("uname -a")).execution.output)
remove_container.sync("ten", client=podgate, force=True)
