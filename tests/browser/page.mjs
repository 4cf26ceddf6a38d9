// A person at the documentation page, in a real Chromium: signs in, makes a container, runs a command in it.
//
//   node page.mjs PORTS' URL USERNAME PASSWORD CLIENT_ID CLIENT_SECRET SCREENSHOT
//
// Whatever the page's policy stops, and whatever the browser complains about, is a failure.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [url, username, password, clientId, clientSecret, screenshot] = process.argv.slice(2);
const patience = 60_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // As root, and where no network answers.
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

// What went wrong on any page, by a sentence each.
const complaints = [];

async function open() {
  const context = await browser.newContext({ viewport: { width: 1180, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(`asked ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} stopped ${event.blockedURI} at ${event.sourceFile}`);
    });
  });
  const answer = await page.goto(`${url}/docs`);
  const policy = answer.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self'(;|$)/);
  assert.match(policy, /style-src 'self'(;|$)/);
  assert.equal(await page.locator("script:not([src])").count(), 0, "no inline script");
  await page.locator("#operations-Containers-createContainer").waitFor();
  return page;
}

// Opens an operation, fills it in, executes it, and gives what came back.
async function tryOut(page, operation, { parameters = {}, body } = {}) {
  const box = page.locator(`#operations-${operation}`);
  await box.scrollIntoViewIfNeeded();
  await box.locator(".opblock-summary-control").first().click();
  for (const [name, value] of Object.entries(parameters)) {
    await box.locator(`tr[data-param-name="${name}"] input`).fill(value);
  }
  if (body) await box.locator("textarea.body-param__text").fill(JSON.stringify(body, null, 2));
  await box.locator("button.execute").click();
  const live = box.locator(".live-responses-table");
  await live.waitFor();
  const status = (await live.locator("tr.response td.response-col_status").first().innerText()).trim().split("\n")[0];
  const text = await live.locator("tr.response .highlight-code code").first().innerText();
  return { status, body: JSON.parse(text), box };
}

// Fills in one flow of the authorize box.
async function authorize(page, flow, fields) {
  await page.locator("button.authorize").first().click();
  const dialog = page.locator(".dialog-ux .modal-ux");
  await dialog.waitFor();
  const form = dialog.locator(".auth-container").filter({ hasText: `Flow: ${flow}` });
  for (const [selector, value] of Object.entries(fields)) await form.locator(selector).first().fill(value);
  // Everything that the account may do.
  await form.locator("a", { hasText: "select all" }).click();
  await form.locator("button.authorize", { hasText: "Authorize" }).click();
  await form.locator("button", { hasText: "Logout" }).waitFor();
  await dialog.locator("button.btn-done").first().click();
}

try {
  const page = await open();

  // Without a token the answer says so, in the envelope, and the page shows it.
  const refused = await tryOut(page, "Containers-listContainers");
  assert.deepEqual([refused.status, refused.body.error.type], ["401", "AuthenticationError"]);
  assert.equal(complaints.length, 1, "the browser's own line about the 401 and no other");
  assert.match(complaints.pop(), /401/);
  await refused.box.locator(".opblock-summary-control").first().click();

  await authorize(page, "password", { "#oauth_username": username, "#oauth_password": password });
  const created = await tryOut(page, "Containers-createContainer", {
    body: { name: "web", image: "alpine", command: "sleep 300" },
  });
  assert.equal(created.status, "200");
  assert.equal(created.body.container.name, "web");
  await created.box.locator(".opblock-summary-control").first().click();

  const done = await tryOut(page, "Inside-execInContainer", {
    parameters: { name: "web" },
    body: { command: "echo hello from $(hostname)" },
  });
  assert.equal(done.status, "200");
  assert.equal(done.body.execution.output, "hello from web\n");
  if (screenshot) {
    // Without what differs each time, a token above all.
    await page.evaluate(() => {
      // Not inline, which the policy stops.
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(
        `.curl-command, .request-url, .live-responses-table h5:nth-of-type(2), .headers { display: none }
        textarea.body-param__text { min-height: 0 !important; height: 60px !important }`,
      );
      document.adoptedStyleSheets.push(sheet);
    });
    const { x, y, width } = await done.box.boundingBox();
    const { y: scrolled } = await page.evaluate(() => ({ y: window.scrollY }));
    const clip = { x, y: y + scrolled, width, height: 1032 };
    await page.screenshot({ path: screenshot, fullPage: true, clip });
  }

  // Who comes back is still signed in.
  await page.reload();
  await page.locator("#operations-Containers-listContainers").waitFor();
  const listed = await tryOut(page, "Containers-listContainers");
  assert.deepEqual(listed.body.containers.map((one) => one.name), ["web"]);

  // A program's key, as a client's id and secret.
  const other = await open();
  await authorize(other, "clientCredentials", { "#client_id_clientCredentials": clientId, "#client_secret_clientCredentials": clientSecret });
  const seen = await tryOut(other, "Containers-listContainers");
  assert.deepEqual([seen.status, seen.body.containers.length], ["200", 1]);

  assert.deepEqual(complaints, []);
  console.log("signed in, created, ran a command, saw its output; signed in as a program");
} finally {
  await browser.close();
}
