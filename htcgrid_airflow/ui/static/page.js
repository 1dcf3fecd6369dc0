// Which of the three pages this is, and keeping it up to date while somebody looks.

import { address, el, followTheme, parameters } from "./dom.js";
import { failureTable, historyTable, retryTable, taskCard, taskLookup } from "./tasks.js";
import { sessionCard, sessionTable } from "./views.js";

const POLL_MS = 2000;
const HANDS_OFF_MS = 20000;
const page = document.getElementById("page");
const given = parameters();
const open = new Set();
let drawn = "";
let touched = -HANDS_OFF_MS;

async function ask(path, values = {}) {
  const answer = await fetch(address(`api/${path}`, values), { headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(typeof body.detail === "string" ? body.detail : `the server answered ${answer.status}`);
  return body;
}

// Somebody types or chooses: what is under their hands stays until they are done.
for (const kind of ["focusin", "pointerdown", "keydown", "input"]) {
  page.addEventListener(kind, (event) => { if (event.target.matches("input, select")) touched = performance.now(); });
}

// Redrawn only when something changed: selections and open tracebacks stay.
function draw(key, parts) {
  const now = JSON.stringify(key);
  if (now === drawn || performance.now() - touched < HANDS_OFF_MS) return;
  const isFirst = !drawn;
  drawn = now;
  page.replaceChildren(...parts().filter(Boolean));
  if (isFirst) document.getElementById("task")?.scrollIntoView({ block: "nearest" }); // which somebody asked for
}

const isOpen = (index) => open.has(index);
const opened = (index, is) => (is ? open.add(index) : open.delete(index));

// A grid by its connection, or by the URL that an operator names: what requests and links say of it.
const byName = (name) => (name.includes("://") ? { grid: name } : { conn_id: name });

async function listPage() {
  const { connections, grids } = await ask("connections");
  const names = [...connections, ...grids];
  const chosen = given.conn_id || given.grid || names[0];
  const { sessions } = await ask("sessions", { ...byName(chosen), state: given.state });
  const go = (values) => { location.search = address("", values).slice(1); };
  const option = (current) => (value) => el("option", { value, selected: value === current }, value || "every state");
  const states = ["", "SUBMITTED", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED"];
  draw([names, sessions], () => [
    el("div", { class: "bar-row" }, el("h1", {}, "Sessions"), el("span", { class: "space" }),
      el("select", { "aria-label": "grid", onchange: (event) => go({ ...byName(event.target.value), state: given.state }) },
        names.map(option(chosen))),
      el("select", { "aria-label": "state", onchange: (event) => go({ ...byName(chosen), state: event.target.value }) },
        states.map(option(given.state || "")))),
    sessions.length ? sessionTable(sessions, byName(chosen))
      : el("p", { class: "empty" }, given.state ? `No session is ${given.state}.` : "No session yet."),
  ]);
}

// Which task is looked at by itself stands in the address, so that a reload shows it again.
function lookAt(index) {
  location.search = address("", { ...given, index }).slice(1);
}

function sessionParts(session) {
  return [sessionCard(session), taskLookup(session, lookAt), taskCard(session), retryTable(session, isOpen, opened),
    failureTable(session, isOpen, opened), historyTable(session.history)];
}

async function sessionPage() {
  const where = given.grid ? { grid: given.grid } : { conn_id: given.conn_id };
  const session = await ask("session", { ...where, session_id: given.session_id, index: given.index });
  const back = el("a", { href: address("./", where) }, "← all sessions");
  draw(session, () => [el("div", { class: "bar-row" }, back), ...sessionParts(session)]);
}

async function taskPage() {
  const where = { dag_id: given.dag_id, run_id: given.run_id, task_id: given.task_id };
  if (/^\d+$/.test(given.map_index || "")) where.map_index = given.map_index; // Airflow leaves {MAP_INDEX} where there is none
  const { sessions } = await ask("task", where);
  if (!sessions.length) {
    draw([], () => [el("p", { class: "empty" }, "This task instance has submitted no session to a grid.")]);
    return;
  }
  const shown = sessions.find((session) => session.session_id === given.session_id) || sessions[0];
  const session = await ask("task/session", { ...where, session_id: shown.session_id, index: given.index });
  const chip = (other) => el("a", { class: `chip ${other.session_id === shown.session_id ? "current" : ""}`,
    href: address("task", { ...given, session_id: other.session_id, index: undefined }) }, `${other.session_id} ${other.state}`);
  draw([sessions, session], () => [
    sessions.length > 1 ? el("div", { class: "bar-row chips" }, sessions.map(chip)) : null, ...sessionParts(session)]);
}

const pages = { session: sessionPage, task: taskPage };
const refresh = pages[location.pathname.split("/").pop()] || listPage;

async function poll() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch (error) {
      draw(error.message, () => [el("p", { class: "note" }, error.message)]);
    }
  }
  setTimeout(poll, POLL_MS);
}

followTheme();
poll();
