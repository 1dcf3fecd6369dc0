// Which of the three pages this is, and keeping it up to date while somebody looks.

import { address, el, followTheme, parameters } from "./dom.js";
import { failureTable, historyTable, sessionCard, sessionTable } from "./views.js";

const POLL_MS = 2000;
const page = document.getElementById("page");
const given = parameters();
const open = new Set();
let drawn = "";

async function ask(path, values = {}) {
  const answer = await fetch(address(`api/${path}`, values), { headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(typeof body.detail === "string" ? body.detail : `the server answered ${answer.status}`);
  return body;
}

// Redrawn only when something changed: selections and open tracebacks stay.
function draw(key, parts) {
  const now = JSON.stringify(key);
  if (now === drawn) return;
  drawn = now;
  page.replaceChildren(...parts().filter(Boolean));
}

const isOpen = (index) => open.has(index);
const opened = (index, is) => (is ? open.add(index) : open.delete(index));

async function listPage() {
  const { connections } = await ask("connections");
  if (!connections.length) {
    draw([], () => [el("h1", {}, "HTC-Grid"), el("p", { class: "empty" },
      "No grid is known. Make a connection of type htcgrid, for example htcgrid_default.")]);
    return;
  }
  const connection = given.conn_id || connections[0];
  const { sessions } = await ask("sessions", { conn_id: connection, state: given.state });
  const choose = (name) => (event) => { location.search = address("", { ...given, [name]: event.target.value }).slice(1); };
  const option = (chosen) => (value) => el("option", { value, selected: value === chosen }, value || "every state");
  const states = ["", "SUBMITTED", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED"];
  draw([connections, sessions], () => [
    el("div", { class: "bar-row" }, el("h1", {}, "Sessions"), el("span", { class: "space" }),
      el("select", { "aria-label": "connection", onchange: choose("conn_id") }, connections.map(option(connection))),
      el("select", { "aria-label": "state", onchange: choose("state") }, states.map(option(given.state || "")))),
    sessions.length ? sessionTable(sessions, connection)
      : el("p", { class: "empty" }, given.state ? `No session is ${given.state}.` : "No session yet."),
  ]);
}

function sessionParts(session) {
  return [sessionCard(session), failureTable(session, isOpen, opened), historyTable(session.history)];
}

async function sessionPage() {
  const session = await ask("session", { conn_id: given.conn_id, session_id: given.session_id });
  const back = address("./", { conn_id: given.conn_id });
  draw(session, () => [el("div", { class: "bar-row" }, el("a", { href: back }, "← all sessions")), ...sessionParts(session)]);
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
  const session = await ask("task/session", { ...where, session_id: shown.session_id });
  const chip = (other) => el("a", { class: `chip ${other.session_id === shown.session_id ? "current" : ""}`,
    href: address("task", { ...given, session_id: other.session_id }) }, `${other.session_id} ${other.state}`);
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
