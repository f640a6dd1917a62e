// The real server, as the README starts it, on ports and files of its own.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** start builds and starts the server. It resolves to what the server prints, and a function that ends it. */
export async function start() {
  const dir = mkdtempSync(join(tmpdir(), "authserver-"));
  const program = join(dir, "authserver");
  execFileSync("go", ["build", "-o", program, ".."], { env: { ...process.env, GOWORK: "off" }, stdio: "inherit" });
  const server = spawn(program, ["-listen", "127.0.0.1:0", "-operators", "127.0.0.1:0"], { cwd: dir, stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise((resolve) => server.once("exit", (code) => resolve(code)));
  const printed = {};
  for await (const line of createInterface({ input: server.stdout })) {
    const [name, ...rest] = line.split("  ");
    printed[name] = rest.join("  ").trim();
    if (name === "metrics") break;
  }
  assert.ok(printed.metrics, "the server has not started");
  const [, user, password] = printed.account.match(/^(\w+), with the password "(.+)"$/);
  const [, operators, token] = printed["management API"].match(/^http:\/\/([^/]+)\/docs, with the token (\S+)$/);
  return {
    issuer: printed.issuer, user, password, operators, token,
    client: printed.client.split(",")[0],
    async stop() {
      server.kill("SIGTERM");
      assert.equal(await ended, 0, "the server ends with an error");
      rmSync(dir, { recursive: true });
    },
  };
}
