import assert from "node:assert/strict";
import { test } from "node:test";
import { all, ids, open, remain, seeds } from "./side.mjs";

const client = open();

/** changes tests that a change is accepted, and leaves these of a user's tokens, by their places. */
function changes(name, user, change, ...places) {
  test(name, async () => {
    const tokens = ids(seeds(user));
    const { data, rawResponse } = await change(tokens).withRawResponse();
    assert.equal(data, undefined);
    assert.equal(rawResponse.status, name.startsWith("revoke") ? 202 : 204);
    await remain(client, user, places.map((i) => tokens[i]));
  });
}

changes("revoke one", "auth0|delete", (id) => client.refreshTokens.delete(id[0]), 1);
changes("revoke what never was", "auth0|update", () => client.refreshTokens.delete("01ARZ3NDEKTSV4RRFFQ69G5FAV"), 0);
changes("revoke what is no id of ours", "auth0|update", () => client.refreshTokens.delete("a/b %"), 0);
changes("revoke many ids", "auth0|ids", (id) => client.refreshTokens.revoke({ ids: [id[0], id[2], "unknown"] }), 1);
changes("revoke by user", "auth0|revoke", () => client.refreshTokens.revoke({ user_id: "auth0|revoke" }));
changes("revoke by user and client", "auth0|client",
  () => client.refreshTokens.revoke({ user_id: "auth0|client", client_id: "ios" }), 0);
changes("revoke by user, client and audience", "auth0|audience",
  () => client.refreshTokens.revoke({ user_id: "auth0|audience", client_id: "web", audience: "https://billing.example.com" }), 0, 2);
changes("revoke all of a user", "auth0|all", () => client.users.refreshToken.delete("auth0|all"));
changes("revoke a session's tokens", "auth0|session", () => client.sessions.revoke("session-1"), 2);
changes("delete a device credential", "auth0|device", (id) => client.deviceCredentials.delete(id[2]), 0, 1);

for (const user of ["google-oauth2|a/b//c", "50%|x%2Fy%", " two  words ", "auth0|Zoë 日本語 🔑", "a+b&c=d?e#f;g", `q"u\\o'te`]) {
  test(`an odd user id: ${user}`, async () => {
    const want = seeds(user);
    assert.equal(want.length, 2);
    assert.deepEqual(await all(client.users.refreshToken.list(user)), want);
    assert.deepEqual(await all(client.refreshTokens.list({ user_id: user })), want);
    assert.equal(await client.users.refreshToken.delete(user), undefined);
    await remain(client, user, []);
  });
}

test("update metadata", async () => {
  const [want] = seeds("auth0|update");
  for (const metadata of [{ device: "Zoë's phone", b: "" }, { other: "1" }, {}, { again: "2" }, null]) {
    want.refresh_token_metadata = metadata && Object.keys(metadata).length > 0 ? metadata : null;
    assert.deepEqual(await client.refreshTokens.update(want.id, { refresh_token_metadata: metadata }), want);
    assert.deepEqual(await client.refreshTokens.get(want.id), want);
  }
});

test("the header that names the revocation can be followed", async () => {
  const [token] = seeds("auth0|named");
  const { rawResponse } = await client.refreshTokens.delete(token.id).withRawResponse();
  assert.equal(rawResponse.status, 202);
  assert.match(rawResponse.headers.get("tokenstore-revocation"), /^[0-9A-HJKMNP-TV-Z]{26}$/);
});
