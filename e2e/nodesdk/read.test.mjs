import assert from "node:assert/strict";
import { test } from "node:test";
import { all, ids, open, seeds } from "./side.mjs";

const client = open();
const many = "auth0|507f1f77bcf86cd799439020";

test("view one", async () => {
  const [want] = seeds("auth0|view");
  assert.deepEqual(await client.refreshTokens.get(want.id), want);
});

test("list by user", async (t) => {
  const want = seeds(many);
  assert.ok(want.length >= 120);
  for (const take of [undefined, 1, 41, 100]) { // 41 * 3 = 123: the last page is full
    await t.test(`take ${take}`, async () => {
      assert.deepEqual(await all(client.users.refreshToken.list(many, { take })), want);
      assert.deepEqual(await all(client.refreshTokens.list({ user_id: many, take })), want);
    });
  }
  assert.deepEqual(await all(client.users.refreshToken.list("auth0|nobody")), []);
  assert.deepEqual(await all(client.refreshTokens.list({ user_id: "auth0|nobody" })), []);
});

test("page by page", async () => {
  const page = await client.refreshTokens.list({ user_id: many });
  const sizes = [page.data.length];
  while (page.hasNextPage()) {
    await page.getNextPage();
    sizes.push(page.data.length);
  }
  assert.deepEqual(sizes, [50, 50, 23]);
  assert.ok(!("next" in page.response), "the last page names a next one");
});

test("list by client", async () => {
  const want = seeds(many).filter((token) => token.client_id === "web");
  assert.deepEqual(await all(client.refreshTokens.list({ user_id: many, client_id: "web" })), want);
  assert.deepEqual(await all(client.refreshTokens.list({ user_id: many, client_id: "nothing" })), []);
});

test("chosen fields", async () => {
  const [{ id, session_id }] = seeds("auth0|view");
  assert.deepEqual(await all(client.refreshTokens.list({ user_id: "auth0|view", fields: "id,session_id" })), [{ id, session_id }]);
});

for (const server of ["MAIN", "US3"]) {
  test(`legacy tokens of ${server} have a session id that is null`, async () => {
    const [legacy, next] = await all(open(server).users.refreshToken.list("auth0|legacy"));
    assert.deepEqual([legacy, next], seeds("auth0|legacy", server));
    assert.ok("session_id" in legacy);
    assert.equal(legacy.session_id, null);
    assert.notEqual(next.session_id, null);
    assert.equal(next.created_at, server === "US3" ? "2024-02-22T00:00:00.000Z" : "2023-09-21T00:00:00.000Z");
  });
}

test("device credentials", async () => {
  const list = (user_id, type) => all(client.deviceCredentials.list({ user_id, ...(type && { type }) }));
  assert.deepEqual(ids(await list(many)), ids(seeds(many)));
  const [token] = seeds("auth0|view");
  assert.deepEqual(await list("auth0|view"), []);
  assert.deepEqual(await list("auth0|view", "rotating_refresh_token"), [
    {
      id: token.id,
      device_name: token.device.initial_user_agent,
      type: "rotating_refresh_token",
      user_id: token.user_id,
      client_id: token.client_id,
    },
  ]);
});
