// An application: openid-client, as anyone would use it, and a browser that fills in the login form.
import assert from "node:assert/strict";
import * as oidc from "openid-client";

const redirect = "http://127.0.0.1:5555/callback";

/** app discovers the server. Its connection loses the answers that lose says. */
export async function app(server, lose = () => false) {
  const config = await oidc.discovery(new URL(server.issuer), server.client, undefined, oidc.None(), { execute: [oidc.allowInsecureRequests] });
  config[oidc.customFetch] = async (url, options) => {
    const answer = await fetch(url, options);
    if (!lose(url)) return answer;
    await answer.text();
    throw new TypeError("the connection broke before the answer came");
  };
  return config;
}

/** signIn is the authorization code grant with PKCE. */
export async function signIn(config, server) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const to = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirect, scope: "openid profile offline_access", state, nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
  });
  const code = await browse(to, server);
  return oidc.authorizationCodeGrant(config, code, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce });
}

/** browse follows redirects, with cookies, signs in where it is asked to, and returns where the application is called back. */
async function browse(url, server) {
  const cookies = new Map();
  let form;
  for (let i = 0; i < 10; i++) {
    const answer = await fetch(url, {
      redirect: "manual", method: form ? "POST" : "GET", body: form,
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; "), ...(form && { origin: server.issuer }) },
    });
    for (const cookie of answer.headers.getSetCookie()) {
      const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
      cookies.set(name, value);
    }
    form = undefined;
    const page = await answer.text();
    const location = answer.headers.get("location");
    if (location) {
      url = new URL(location, url);
      if (url.href.startsWith(redirect)) return url;
      continue;
    }
    assert.equal(answer.status, 200, page);
    form = new URLSearchParams({ username: server.user, password: server.password, request: page.match(/name="request" value="([^"]+)"/)[1] });
    url = new URL("/login", url);
  }
  assert.fail("redirects without an end");
}

export const refresh = (config, tokens) => oidc.refreshTokenGrant(config, tokens.refresh_token);

/** refused checks that a refresh is answered with invalid_grant. */
export const refused = (config, tokens) =>
  assert.rejects(refresh(config, tokens), (err) => err.error === "invalid_grant" && err.status === 400);
