// The whole workflow with a client that @hey-api/openapi-ts generates from the committed document.
//
// PODGATE_URL, PODGATE_USERNAME and PODGATE_PASSWORD say where and who.

import assert from "node:assert/strict";
import { env } from "node:process";

import {
  addContainerFile,
  createContainer,
  createToken,
  execInContainer,
  getContainer,
  getContainerLogs,
  removeContainer,
  stopContainer,
} from "./podgate/sdk.gen.js";
import { client } from "./podgate/client.gen.js";

client.setConfig({ baseUrl: `${env["PODGATE_URL"]}/api/v1`, throwOnError: true });
const credentials = { username: env["PODGATE_USERNAME"] ?? "", password: env["PODGATE_PASSWORD"] ?? "" };
const signed = await createToken({ body: credentials, throwOnError: true });
client.setConfig({ auth: signed.data.access_token });

const path = { name: "from-typescript" };
const wanted = { ...path, image: "alpine", command: "sleep 300" };
const made = await createContainer({ body: wanted, throwOnError: true });
assert.equal(made.data.container.status, "running");

const file = { dest_path: "/tmp/hello", content: "hello from TypeScript\n" };
const written = await addContainerFile({ path, body: file, throwOnError: true });
assert.equal(written.data.file.size, 22);

const done = await execInContainer({ path, body: { command: "cat /tmp/hello" }, throwOnError: true });
assert.deepEqual([done.data.execution.exit_code, done.data.execution.output], [0, "hello from TypeScript\n"]);

await getContainerLogs({ path, query: { tail: 10 }, throwOnError: true });
const stopped = await stopContainer({ path, query: { timeout: 0 }, throwOnError: true });
assert.equal(stopped.data.container.status, "stopped");
await removeContainer({ path, throwOnError: true });

const gone = await getContainer({ path, throwOnError: false });
assert.equal(gone.response?.status, 404);
assert.equal(gone.error?.error.type, "PodmanAPIError");
console.log("typescript: done");
