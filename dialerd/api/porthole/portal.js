// Sends SMS for forms that stand in frames of this page, in the name of the user who is logged in to it.
//
// ORIGINS, whom it listens to, is put in front of this by the server. A message counts only if the browser says that it
// comes from exactly one of them, and from a frame of this very page (a form) or the page that this one stands in (the
// portal, which may hand over its user's token). Answers go to that window, and only while it is of that origin.
"use strict";
(() => {
  const KEY = "dialerd.token";
  const API = new URL("..", document.currentScript.src);
  // The same SMS within this time is a second click on the same button, and is answered as the first.
  const DOUBLE_MS = 10_000;
  const TRIES = 3;
  const RETRY_MS = 1_000;
  const underway = new Map();

  // -- who is logged in ---------------------------------------------------------------------------------------------

  const token = () => sessionStorage.getItem(KEY);

  function userOf(token) {
    try {
      const bytes = Uint8Array.from(atob(token), (letter) => letter.charCodeAt(0));
      const [user, rest] = new TextDecoder("utf-8", { fatal: true }).decode(bytes).split(":");
      return rest === undefined ? null : user;
    } catch {
      return null; // a machine's key names nobody
    }
  }

  function setToken(value) {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
    show();
  }

  // The portal may hand over its user's token now. Browsers drop what is for another origin than its own.
  function ask() {
    if (window.parent !== window) for (const origin of ORIGINS) window.parent.postMessage({ action: "ready" }, origin);
  }

  function show() {
    const [login, user] = [document.getElementById("login"), document.getElementById("user")];
    if (login === null || user === null) return;
    login.hidden = token() !== null;
    user.hidden = token() === null;
    user.querySelector("span").textContent = token() === null ? "" : (userOf(token()) ?? "");
  }

  async function call(path, body, headers = {}) {
    return fetch(new URL(path, API), { method: "POST", body, headers, credentials: "omit", redirect: "error" });
  }

  async function logIn(event) {
    event.preventDefault();
    const form = event.target;
    const said = form.querySelector("output");
    said.textContent = "";
    try {
      const answer = await call("Integra/resources/auth/getUserToken", new URLSearchParams(new FormData(form)));
      const given = await answer.json();
      if (typeof given === "string") {
        setToken(given);
        form.reset();
      } else said.textContent = answer.headers.get("X-Dialerd-Error") ?? "This user may not.";
    } catch {
      said.textContent = "The server does not answer: try again.";
    }
  }

  async function logOut() {
    const ended = token();
    setToken(null);
    await call("Integra/resources/auth/EndSession", new URLSearchParams({ user: userOf(ended) ?? "", token: ended }));
  }

  // -- sending ------------------------------------------------------------------------------------------------------

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("-");

  async function send({ campaign, destination, message }) {
    const used = token();
    if (used === null) return { error: "nobody is logged in" };
    const body = JSON.stringify({ campaign, destination, text: message, agent: userOf(used) });
    const headers = {
      "Authorization": `Bearer ${used}`,
      "Content-Type": "application/json",
      // Tried again because an answer was lost, it is still one SMS.
      "Idempotency-Key": `porthole ${newKey()}`,
    };
    for (let tried = 1; ; tried++) {
      const answer = await call("v1/messages", body, headers).catch(() => null);
      if (answer !== null && answer.status !== 503) return told(answer, used);
      if (tried === TRIES) return { error: "the server does not answer: try again" };
      await pause(RETRY_MS * tried);
    }
  }

  async function told(answer, used) {
    const said = await answer.json().catch(() => ({}));
    if (answer.status === 201) return { id: said.id };
    if (answer.status === 401 && token() === used) {
      setToken(null);
      ask();
    }
    return { error: said.detail ?? said.title ?? `status ${answer.status}` };
  }

  async function sendOnce(origin, sms) {
    const name = JSON.stringify([origin, sms.campaign, sms.destination, sms.message]);
    if (!underway.has(name)) {
      const sending = send(sms);
      underway.set(name, sending);
      const { error } = await sending;
      // What was refused may be tried again at once.
      if (error === undefined) setTimeout(() => underway.delete(name), DOUBLE_MS);
      else underway.delete(name);
      return sending;
    }
    return underway.get(name);
  }

  // -- messages -----------------------------------------------------------------------------------------------------

  function parsed(data) {
    try {
      const found = typeof data === "string" ? JSON.parse(data) : data;
      return typeof found === "object" && found !== null ? found : {};
    } catch {
      return {};
    }
  }

  // What Porthole.WindowProxy of the other side takes; whoever posts without it is answered without.
  function wrapped(envelope, answer, origin) {
    if (!("data" in envelope)) return answer;
    return JSON.stringify({
      data: answer,
      sourceOrigin: window.location.origin,
      targetOrigin: origin,
      sourceWindowName: String(envelope.targetWindowName ?? ""),
      targetWindowName: String(envelope.sourceWindowName ?? ""),
    });
  }

  async function take(event) {
    const { origin, source } = event;
    if (!ORIGINS.includes(origin) || source === null) return;
    const envelope = parsed(event.data);
    const asked = "data" in envelope ? parsed(envelope.data) : envelope;
    if (source === window.parent && source !== window) {
      if (asked.action === "token" && typeof asked.token === "string") setToken(asked.token);
      return;
    }
    if (source === window || source.parent !== window || asked.action !== "sms") return;
    const sms = { campaign: asked.campaign, destination: asked.destination, message: asked.message };
    const missing = Object.keys(sms).filter((name) => typeof sms[name] !== "string" || sms[name].trim() === "");
    const said = missing.length ? { error: `missing: ${missing.join(", ")}` } : await sendOnce(origin, sms);
    const answer = { action: "sms", result: said.error === undefined ? "OK" : "ERROR", ...said };
    source.postMessage(wrapped(envelope, answer, origin), origin);
  }

  window.addEventListener("message", take);
  document.getElementById("login")?.addEventListener("submit", logIn);
  document.querySelector("#user button")?.addEventListener("click", logOut);
  show();
  ask();
})();
