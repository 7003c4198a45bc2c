// Only a script can ask an authenticator. The forms for it are shown here, where the browser has any; each is sent as forms are, with what the
// authenticator has answered in a field, so that whatever comes of it is a page like all others.
"use strict";

// Base64 for addresses without padding (RFC 4648 §5), as Web Authentication writes bytes in JSON.
const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const toText = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const field = (form, name) => form.elements.namedItem(name)?.value;
const named = (list) => (list ?? []).map((one) => ({ ...one, id: toBytes(one.id) }));

async function ask(form) {
  const headers = { "Content-Type": "application/json" };
  if (field(form, "csrf")) headers["X-CSRF-Token"] = field(form, "csrf");
  const body = field(form, "token") ? { mfa_token: field(form, "token") } : {};
  const answer = await fetch(form.dataset.ask, { method: "POST", headers, body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said;
}

function answered(options, makes) {
  const publicKey = { ...options, challenge: toBytes(options.challenge) };
  if (!makes) {
    publicKey.allowCredentials = named(options.allowCredentials);
    return navigator.credentials.get({ publicKey });
  }
  publicKey.user = { ...options.user, id: toBytes(options.user.id) };
  publicKey.excludeCredentials = named(options.excludeCredentials);
  return navigator.credentials.create({ publicKey });
}

function written({ id, rawId, type, response }) {
  const said = { transports: response.getTransports?.() };
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) said[name] = toText(response[name]);
  }
  return JSON.stringify({ id, rawId: toText(rawId), type, response: said, clientExtensionResults: {} });
}

async function send(form) {
  const { challenge, options } = await ask(form);
  const credential = await answered(options, "makes" in form.dataset);
  form.elements.namedItem("challenge").value = challenge ?? "";
  form.elements.namedItem("credential").value = written(credential);
  form.submit();
}

for (const form of document.querySelectorAll("form[data-ask]")) {
  if (!window.PublicKeyCredential) break;
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const alert = form.querySelector("[role=alert]");
    alert.hidden = true;
    send(form).catch((error) => {
      // What a browser says of its own is for programmers.
      alert.textContent = error instanceof DOMException ? "Your browser has given no passkey. Try again." : error.message;
      alert.hidden = false;
    });
  });
}
