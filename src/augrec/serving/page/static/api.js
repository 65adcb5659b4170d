// Asking the service. Every failure becomes a Trouble that says what is wrong and whether to try again.

import { el } from "./dom.js";

const PATIENCE_MS = 15_000;
let key = sessionStorage.getItem("augrec-key") ?? "";
let asking = null;

export class Trouble extends Error {
  /** @param retryAfter seconds until it is worth trying again; null: trying again does not help. */
  constructor(message, { fix = "", status = 0, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { fix, status, retryAfter });
  }
}

/** The JSON that `path` answers; `body` makes it a POST. An abort of `signal` is thrown on as AbortError. */
export async function call(path, { body, signal } = {}) {
  const sent = key;
  const answer = await send(path, { body, signal });
  if (answer.status === 401 || (answer.status === 403 && !sent)) {
    await askForKey(sent);
    return call(path, { body, signal });
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok && told !== null) return told;
  throw trouble(answer, told);
}

async function send(path, { body, signal }) {
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const clock = AbortSignal.timeout(PATIENCE_MS);
  try {
    return await fetch(path, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), credentials: "omit",
      signal: signal ? AbortSignal.any([signal, clock]) : clock,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const silent = error.name === "TimeoutError";
    throw new Trouble(silent ? "The service takes too long to answer." : "The service cannot be reached.",
      { fix: "Trying again in a moment …", retryAfter: 3 });
  }
}

function trouble(answer, told) {
  const { what, where, fix } = told ?? {};
  const retryAfter = Number(answer.headers.get("retry-after")) || null;
  if (answer.status === 429) {
    return new Trouble("The service is busy.", { fix: "Trying again in a moment …", status: 429, retryAfter: retryAfter ?? 1 });
  }
  const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "");
  const message = what ? sentence(where ? `${what} (${where})` : what) : `The service answered ${answer.status}.`;
  return new Trouble(message, { fix: sentence(fix), status: answer.status, retryAfter: answer.status >= 500 ? retryAfter ?? 3 : null });
}

/** Whether requests carry a key; links to guarded pages do not, then. */
export const keyed = () => key !== "";

function askForKey(refused) {
  if (key !== refused) return Promise.resolve(); // another call has asked meanwhile
  asking ??= new Promise((resolve) => {
    const input = el("input", { id: "key", type: "password", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
    const form = el("form", { id: "key-form" },
      refused ? el("p", { class: "no", role: "alert" }, "That key is not accepted.") : null,
      el("h2", { id: "key-title" }, "This service wants an API key"),
      el("p", { class: "hint", id: "key-hint" }, "It stays in this tab and is forgotten when you close it."),
      el("label", { for: "key" }, "API key"),
      input,
      el("button", { class: "primary" }, "Continue"));
    const dialog = el("dialog", { id: "key-dialog", "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      key = input.value.trim();
      sessionStorage.setItem("augrec-key", key);
      dialog.remove();
      asking = null;
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
