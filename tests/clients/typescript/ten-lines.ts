// The example of docs/clients.md.
import { client } from "./podgate/client.gen.js";
import { createContainer, createToken, execInContainer, removeContainer } from "./podgate/sdk.gen.js";

const { PODGATE_URL, PODGATE_USERNAME: username = "", PODGATE_PASSWORD: password = "" } = process.env;
client.setConfig({ baseUrl: `${PODGATE_URL}/api/v1`, throwOnError: true });
const signed = await createToken<true>({ body: { username, password } });
client.setConfig({ auth: signed.data.access_token });
await createContainer({ body: { name: "ten", image: "alpine", command: "sleep 300" } });
const done = await execInContainer<true>({ path: { name: "ten" }, body: { command: "uname -a" } });
console.log(done.data.execution.output);
await removeContainer({ path: { name: "ten" }, query: { force: true } });
