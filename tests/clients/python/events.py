# The example of docs/clients.md: server-sent events, which the generator leaves to its HTTP library.
import json


def events(client, path, **query):
    with client.get_httpx_client().stream("GET", path, params=query) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                event = value
            elif field == "data":
                yield event, json.loads(value)
