// The whole workflow with a client that @hey-api/openapi-ts generates from the committed document.
//
// PODGATE_URL, PODGATE_USERNAME and PODGATE_PASSWORD say where and who.

import assert from "node:assert/strict";
import { env } from "node:process";

import {
  addContainerFile,
  createContainer,
  createContainerDirectory,
  createToken,
  execInContainer,
  getContainer,
  getContainerArchive,
  getContainerFileContent,
  getContainerLogs,
  putContainerArchive,
  putContainerFileContent,
  removeContainer,
  stopContainer,
  streamExecInContainer,
} from "./podgate/sdk.gen.js";
import { client } from "./podgate/client.gen.js";
import type { LogEvent } from "./podgate/types.gen.js";

client.setConfig({ baseUrl: `${env["PODGATE_URL"]}/api/v1`, throwOnError: true });
const credentials = { username: env["PODGATE_USERNAME"] ?? "", password: env["PODGATE_PASSWORD"] ?? "" };
const signed = await createToken({ body: credentials, throwOnError: true });
client.setConfig({ auth: signed.data.access_token });

const path = { name: "from-typescript" };
const wanted = { ...path, image: "alpine", command: ["sh", "-c", "echo ready; exec sleep 300"] };
const made = await createContainer({ body: wanted, throwOnError: true });
assert.equal(made.data.container.status, "running");

// A small file in JSON, one of any size as it is, and a directory as an archive.
const file = { dest_path: "/tmp/hello", content: "hello from TypeScript\n" };
const written = await addContainerFile({ path, body: file, throwOnError: true });
assert.equal(written.data.file.size, 22);
const content = new Uint8Array(1 << 18).map((_, index) => index);
const bytes = { path, query: { path: "/tmp/bytes" } } as const;
const put = await putContainerFileContent({ ...bytes, body: new Blob([content]), throwOnError: true });
assert.equal(put.data.file.size, content.length);
const read = await getContainerFileContent({ ...bytes, throwOnError: true });
assert.deepEqual(new Uint8Array(await new Response(read.data).arrayBuffer()), content);

const archive = await getContainerArchive({ path, query: { path: "/tmp" }, throwOnError: true });
await createContainerDirectory({ path, body: { path: "/srv" }, throwOnError: true });
const unpacked = await putContainerArchive({ path, query: { path: "/srv" }, body: archive.data, throwOnError: true });
assert.equal(unpacked.data.archive.files, 2);

const done = await execInContainer({ path, body: { command: "cat /srv/tmp/hello" }, throwOnError: true });
assert.deepEqual([done.data.execution.exit_code, done.data.execution.output], [0, "hello from TypeScript\n"]);
const watched = await streamExecInContainer({ path, body: { command: "echo one; exit 3" } });
const told = [];
for await (const event of watched.stream) told.push("data" in event ? event.data : "exit_code" in event && event.exit_code);
assert.deepEqual(told, ["one\n", 3]);

const logs = await getContainerLogs({ path, query: { tail: 10 }, throwOnError: true });
assert.equal(logs.data.container.logs, "ready\n");
// The log goes on until the container ends, and says why it does.
const followed = await client.sse.get<{ 200: LogEvent }>({
  url: "/containers/{name}/logs",
  path,
  query: { follow: true },
  security: [{ type: "http", scheme: "bearer" }],
});
const first = (await followed.stream.next()).value as LogEvent;
assert.deepEqual(first, { text: "ready\n", output: "stdout" });
const stopped = await stopContainer({ path, query: { timeout: 0 }, throwOnError: true });
assert.equal(stopped.data.container.status, "stopped");
const last = (await followed.stream.next()).value as LogEvent;
assert.deepEqual(last, { reason: "stopped" });
assert.equal((await followed.stream.next()).done, true);
await removeContainer({ path, throwOnError: true });

const gone = await getContainer({ path, throwOnError: false });
assert.equal(gone.response?.status, 404);
assert.equal(gone.error?.error.type, "PodmanAPIError");
const refused = await createContainer({ body: { ...wanted, name: "no name" }, throwOnError: false });
assert.deepEqual(refused.error?.error.details?.map((detail) => detail.field), ["name"]);
console.log("typescript: done");
