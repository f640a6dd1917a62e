import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ManagementClient } from "auth0";
import * as oidc from "openid-client";
import { app, refresh, refused, signIn } from "./app.mjs";
import { start } from "./server.mjs";

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

test("signs in, and refreshes many times", async () => {
  const config = await app(server);
  let tokens = await signIn(config, server);
  const { sub, sid } = tokens.claims();
  assert.ok(sub && sid);
  const seen = new Set([tokens.refresh_token]);
  for (let i = 0; i < 50; i++) {
    tokens = await refresh(config, tokens);
    assert.ok(!seen.has(tokens.refresh_token), "a secret came again");
    seen.add(tokens.refresh_token);
    assert.deepEqual([tokens.claims().sub, tokens.claims().sid], [sub, sid]);
  }
  const info = await oidc.fetchUserInfo(config, tokens.access_token, sub);
  assert.equal(info.preferred_username, server.user);
});

test("loses an answer, and asks again", async () => {
  let losing = false;
  const config = await app(server, (url) => losing && url.endsWith("/oauth/token"));
  const tokens = await signIn(config, server);
  losing = true;
  await assert.rejects(refresh(config, tokens));
  losing = false;
  const again = await refresh(config, tokens);
  const twice = await refresh(config, tokens);
  assert.equal(twice.refresh_token, again.refresh_token, "two retries got different secrets");
  await refresh(config, again);
});

test("a stolen token that is replayed ends its family", async () => {
  const config = await app(server);
  const another = await signIn(config, server);
  const stolen = await signIn(config, server);
  const next = await refresh(config, stolen);
  const last = await refresh(config, next); // from here on the first is worth nothing
  await refused(config, stolen);
  await refused(config, next);
  await refused(config, last);
  await assert.rejects(oidc.fetchUserInfo(config, last.access_token, oidc.skipSubjectCheck));
  await refresh(config, another);
});

test("is cut off at once by DELETE", async () => {
  const config = await app(server);
  let tokens = await signIn(config, server);
  const user = tokens.claims().sub;
  // The SDK has https for its scheme; the server is one for trials.
  const http = (url, options) => fetch(String(url).replace(/^https:/, "http:"), options);
  const sdk = new ManagementClient({ domain: server.operators, token: server.token, fetch: http });
  tokens = await refresh(config, tokens);
  await sdk.users.refreshToken.delete(user);
  await refused(config, tokens);
  await assert.rejects(oidc.fetchUserInfo(config, tokens.access_token, user));
  await refresh(config, await signIn(config, server)); // a later sign-in is none of its business
});

test("revokes its token", async () => {
  const config = await app(server);
  const tokens = await signIn(config, server);
  await oidc.tokenRevocation(config, tokens.refresh_token);
  await refused(config, tokens);
});

test("ends its session", async () => {
  const config = await app(server);
  const tokens = await signIn(config, server);
  const another = await signIn(config, server);
  await fetch(oidc.buildEndSessionUrl(config, { id_token_hint: tokens.id_token }));
  await refused(config, tokens);
  await refresh(config, another);
});
