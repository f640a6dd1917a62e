// openid-client, as an application uses it. It does what lines of JSON on its input ask for, one after the other, and answers
// each with a line.
import { createInterface } from "node:readline";
import * as oidc from "openid-client";

let config;

const told = (tokens) => ({ tokens, claims: tokens.claims() ?? null });

const calls = {
  async discover({ issuer, id, secret }) {
    config = await oidc.discovery(new URL(issuer), id, undefined, oidc.ClientSecretBasic(secret), {
      execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks], // no TLS; the signatures of ID tokens are verified
    });
    return {};
  },
  async authorize({ parameters }) {
    const checks = { pkceCodeVerifier: oidc.randomPKCECodeVerifier(), expectedState: oidc.randomState(), expectedNonce: oidc.randomNonce() };
    const url = oidc.buildAuthorizationUrl(config, {
      ...parameters, state: checks.expectedState, nonce: checks.expectedNonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(checks.pkceCodeVerifier), code_challenge_method: "S256",
    });
    return { url, checks };
  },
  callback: async ({ url, checks }) => told(await oidc.authorizationCodeGrant(config, new URL(url), checks)),
  refresh: async ({ secret }) => told(await oidc.refreshTokenGrant(config, secret)),
  async revoke({ secret }) {
    await oidc.tokenRevocation(config, secret);
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, ...parameters } = JSON.parse(line);
  const answer = await calls[call](parameters).catch((err) => ({ error: { code: err.error ?? "", status: err.status ?? 0, message: String(err) } }));
  console.log(JSON.stringify(answer));
}
