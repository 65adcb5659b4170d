// Calls of the service. Every failure becomes a ServiceError that says what is wrong and whether to retry.

import { el } from "./dom.js";

const TIMEOUT_MS = 15_000;
let key = sessionStorage.getItem("augrec-key") ?? "";
let asking = null;

export class ServiceError extends Error {
  /** @param retryAfter seconds until a retry; null: a retry does not help. */
  constructor(message, { fix = "", status = 0, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { fix, status, retryAfter });
  }
}

/** The JSON response of `path`; with `body` the call is a POST. If `signal` aborts, it throws an AbortError. */
export async function call(path, { body, signal } = {}) {
  const sent = key;
  const answer = await send(path, { body, signal });
  if (answer.status === 401 || (answer.status === 403 && !sent)) {
    await askForKey(sent);
    return call(path, { body, signal });
  }
  const result = await answer.json().catch(() => null);
  if (answer.ok && result !== null) return result;
  throw errorOf(answer, result);
}

async function send(path, { body, signal }) {
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const clock = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(path, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), credentials: "omit",
      signal: signal ? AbortSignal.any([signal, clock]) : clock,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const timedOut = error.name === "TimeoutError";
    throw new ServiceError(timedOut ? "The service did not answer in time." : "The service cannot be reached.",
      { fix: "Retrying in a moment …", retryAfter: 3 });
  }
}

function errorOf(answer, problem) {
  const { what, where, fix } = problem ?? {};
  const retryAfter = Number(answer.headers.get("retry-after")) || null;
  if (answer.status === 429) {
    return new ServiceError("The service is busy.", { fix: "Retrying in a moment …", status: 429, retryAfter: retryAfter ?? 1 });
  }
  const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "");
  const message = what ? sentence(where ? `${what} (${where})` : what) : `The service answered with status ${answer.status}.`;
  return new ServiceError(message, { fix: sentence(fix), status: answer.status, retryAfter: answer.status >= 500 ? retryAfter ?? 3 : null });
}

/** Whether requests contain a key; links cannot, so pages that need one are not linked. */
export const keyed = () => key !== "";

function askForKey(refused) {
  if (key !== refused) return Promise.resolve(); // another call has asked already
  asking ??= new Promise((resolve) => {
    const input = el("input", { id: "key", type: "password", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
    const form = el("form", { id: "key-form" },
      refused ? el("p", { class: "no", role: "alert" }, "That key is not accepted.") : null,
      el("h2", { id: "key-title" }, "API key required"),
      el("p", { class: "hint", id: "key-hint" }, "It is stored for this tab only, until you close it."),
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
