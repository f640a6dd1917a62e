// What the tests share: the servers that withserver runs, and the official client, as anyone would make it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ManagementClient } from "auth0";

/** environment returns a variable that withserver sets. */
function environment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; run npm test`);
  return value;
}

export const admin = environment("E2E_ADMIN");
export const reader = environment("E2E_READER");
export const nobody = environment("E2E_NOBODY");

/** open returns a client of a server: "MAIN", "US3" or "LIMITED". */
export function open(server = "MAIN", token = admin, options = {}) {
  return new ManagementClient({ domain: environment(`E2E_${server}`), token, ...options });
}

/** seeds are the tokens of a user that a server was started with, as the API should show them. */
export function seeds(user, server = "MAIN") {
  const dates = ["created_at", "idle_expires_at", "expires_at", "last_exchanged_at"];
  return readFileSync(environment(`E2E_${server}_SEEDS`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter((token) => token.user_id === user)
    .map((token) => {
      for (const name of dates) token[name] &&= new Date(token[name]).toISOString();
      return token;
    });
}

/** ids are those of tokens. */
export const ids = (tokens) => tokens.map((token) => token.id);

const endless = 1000;

/** all walks all pages by the client's own iterator. */
export async function all(list) {
  const items = [];
  for await (const item of await list) {
    items.push(item);
    assert.ok(items.length <= endless, "the list has no end");
  }
  return items;
}

const polls = 10_000;

/**
 * remain fails unless these are a user's tokens: at once in a fenced list, and in others after a while, in which nothing
 * comes back.
 */
export async function remain(client, user, want) {
  const list = async (queryParams) => ids(await all(client.users.refreshToken.list(user, {}, { queryParams })));
  assert.deepEqual(await list({ consistency: "fenced" }), want);
  let before = ids(seeds(user));
  for (let i = 0; i < polls; i++) {
    const now = await list({});
    assert.deepEqual(now.filter((id) => !before.includes(id)), [], "a token came back");
    before = now;
    if (now.length === want.length) break;
  }
  assert.deepEqual(before, want, "the list has not converged");
}
