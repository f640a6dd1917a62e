import assert from "node:assert/strict";
import { test } from "node:test";
import { Management, ManagementError } from "auth0";
import { nobody, open, reader, seeds } from "./side.mjs";

const unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const client = open();
const reading = open("MAIN", reader);
const stranger = open("MAIN", nobody);

/** refuses tests that a call is refused by the client's own error for it. */
function refuses(name, type, status, message, call) {
  test(name, async () => {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof type, `the error is a ${error.name}, not a ${type.name}`);
      assert.ok(error instanceof ManagementError);
      assert.equal(error.statusCode, status);
      assert.equal(error.body.statusCode, status);
      assert.match(error.body.message, message);
      return true;
    });
  });
}

const { BadRequestError, UnauthorizedError, ForbiddenError, NotFoundError, TooManyRequestsError } = Management;

for (const [name, body] of Object.entries({
  "nothing to revoke": {},
  "a client alone": { client_id: "web" },
  "ids and a user": { ids: [unknown], user_id: "auth0|view" },
  "an audience without client": { user_id: "auth0|view", audience: "https://api.example.com" },
})) {
  refuses(name, BadRequestError, 400, /exactly one of/, () => client.refreshTokens.revoke(body));
}
refuses("too many ids", BadRequestError, 400, /1\.\.100/, () => client.refreshTokens.revoke({ ids: Array(101).fill(unknown) }));
refuses("no user", BadRequestError, 400, /user_id/, () => client.refreshTokens.list({}));
refuses("take", BadRequestError, 400, /1\.\.100/, () => client.refreshTokens.list({ user_id: "auth0|view", take: 101 }));
refuses("metadata of a wrong type", BadRequestError, 400, /refresh_token_metadata/,
  () => client.refreshTokens.update(unknown, { refresh_token_metadata: { a: 1 } }));

refuses("bad credentials", UnauthorizedError, 401, /Invalid token/, () => stranger.refreshTokens.get(unknown));
refuses("bad credentials for a user", UnauthorizedError, 401, /Invalid token/, () => stranger.users.refreshToken.delete("auth0|view"));

refuses("scope to revoke one", ForbiddenError, 403, /Insufficient scope, expected: delete:refresh_tokens/,
  () => reading.refreshTokens.delete(seeds("auth0|view")[0].id));
refuses("scope to revoke", ForbiddenError, 403, /Insufficient scope, expected: delete:refresh_tokens/,
  () => reading.refreshTokens.revoke({ user_id: "auth0|view" }));
refuses("scope to revoke all of a user", ForbiddenError, 403, /Insufficient scope, expected: delete:refresh_tokens/,
  () => reading.users.refreshToken.delete("auth0|view"));
refuses("scope to update", ForbiddenError, 403, /Insufficient scope, expected: update:refresh_tokens/,
  () => reading.refreshTokens.update(unknown, { refresh_token_metadata: null }));
refuses("scope for sessions", ForbiddenError, 403, /Insufficient scope, expected: delete:sessions/,
  () => reading.sessions.revoke("session"));
refuses("scope for device credentials", ForbiddenError, 403, /Insufficient scope, expected: read:device_credentials/,
  () => reading.deviceCredentials.list());

refuses("view of an unknown token", NotFoundError, 404, /The refresh token does not exist\./, () => client.refreshTokens.get(unknown));
refuses("update of an unknown token", NotFoundError, 404, /The refresh token does not exist\./,
  () => client.refreshTokens.update(unknown, { refresh_token_metadata: { a: "1" } }));

test("a caller over the limit is told so, and one that retries waits and succeeds", async () => {
  const [{ id }] = seeds("auth0|view", "LIMITED");
  const once = open("LIMITED", undefined, { maxRetries: 0 });
  const calls = Array.from({ length: 10 }, () => once.refreshTokens.get(id));
  const refused = (await Promise.allSettled(calls)).filter((call) => call.status === "rejected");
  assert.ok(refused.length > 0, "no call was refused");
  for (const { reason } of refused) {
    assert.ok(reason instanceof TooManyRequestsError, `the error is a ${reason.name}`);
    assert.equal(reason.statusCode, 429);
    assert.ok(Number(reason.rawResponse.headers.get("x-ratelimit-reset")) > 0);
  }
  assert.equal((await open("LIMITED").refreshTokens.get(id)).id, id);
});
