// What can be done to a session, by whom its scopes let: each asks first.

import { HOME, askJson } from "./api.js";
import { count, el } from "./dom.js";

const REASON = "asked for in the console";

// Asked for once, however often it is sent: by a second click, or by who has not heard that it was done.
export const newToken = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export function actions(session, { grid, go, signal, token }) {
  if (!grid.scopes.includes("submit")) return null;
  const path = `/v1/sessions/${session.id}`;
  const left = session.total - session.completed;
  const named = session.name || session.id;
  if (!session.ended_at) {
    const cancel = () => askJson(`${path}/cancel`, { method: "POST", body: { reason: REASON } });
    return button("Cancel…", "danger", () => confirm("Cancel this session?",
      `${named}: ${count(session.pending)} of its tasks have not ended, and will not. What completed stays.`, "Cancel the session", "Keep it", cancel, signal));
  }
  if (!left) return null;
  const again = async () => {
    const made = await askJson(`${path}/resubmit`, { method: "POST", body: {}, headers: { "Idempotency-Key": `console ${session.id} ${token}` } });
    go(`${HOME}sessions/${made.id}`);
  };
  return button("Run again…", "", () => confirm("Run again what did not complete?",
    `${named}: ${count(left)} of its tasks will run in a new session; this one stays as it is.`, "Run them", "Not now", again, signal));
}

const button = (text, kind, onclick) => el("button", { type: "button", class: kind, "data-key": text, onclick }, text);

// Whoever leaves the view is asked no more: what is seen then is another session.
function confirm(title, text, yes, no, act, signal) {
  const note = el("p", { class: "note", role: "alert", hidden: true });
  const ok = el("button", { type: "button", class: "primary" }, yes);
  const dialog = el("dialog", { "aria-labelledby": "question", onclose: () => dialog.remove() },
    el("h2", { id: "question" }, title), el("p", {}, text), note,
    el("div", { class: "bar-row" }, el("span", { class: "space" }),
      el("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, no), ok));
  ok.addEventListener("click", async () => {
    ok.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      note.textContent = error.message;
      note.hidden = false;
      ok.disabled = false;
    }
  });
  signal.addEventListener("abort", () => dialog.close(), { once: true });
  document.body.append(dialog);
  dialog.showModal();
}
