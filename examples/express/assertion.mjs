// Who is calling, by the door's word: what express and Next.js need to verify X-Gateway-Assertion.

import { createRemoteJWKSet, jwtVerify } from "jose";

const door = process.env.DOOR ?? "http://127.0.0.1:8080";
const rules = {
  issuer: process.env.ISSUER ?? "portcullis", // [tokens] issuer of gateway.toml
  audience: process.env.AUDIENCE ?? "express", // this service's name there: [upstreams.express]
  algorithms: ["EdDSA"],
  typ: "assertion+jwt",
  requiredClaims: ["exp", "iat", "sub"],
};
const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", door), { cooldownDuration: 1000 });

/** The claims: `sub` (the account's id), `role`, `tier`, `tenant` …; null where there is no assertion of the door's. */
export async function caller(assertion) {
  try {
    return (await jwtVerify(assertion ?? "", keys, rules)).payload;
  } catch {
    return null;
  }
}
