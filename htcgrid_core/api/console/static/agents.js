// Agents that are alive, since when, what they take of memory, and what each of their slots runs.

import { HOME, askJson, query } from "./api.js";
import { count, duration, el, size } from "./dom.js";
import { drawer } from "./draw.js";
import { repeat } from "./watch.js";

const EVERY_MS = 2000;
const SHOWN = 8; // tasks of an agent, until somebody asks for the others
const UNKNOWN = "unknown"; // to agents of earlier releases
const NEARLY_FULL = 0.9;
const opened = new Set(); // agents of which all tasks are shown

export async function agentsView({ page, signal, failed }) {
  const place = el("div", {});
  const draw = drawer(place);
  page.replaceChildren(el("h1", {}, "Agents"), place);
  await repeat(signal, async () => {
    const { agents } = await askJson("/v1/agents", { signal });
    draw([agents, Math.floor(Date.now() / 1000)], () => table(agents));
    return EVERY_MS;
  }, failed);
}

function table(agents) {
  if (!agents.length) return el("p", { class: "empty" }, "No agent is alive. Those of a local grid leave when there is nothing to do.");
  const row = (agent) => el("tr", {},
    el("td", { class: "main mono" }, name(agent), agent.problem ? el("p", { class: "note" }, agent.problem) : null),
    el("td", {}, agent.pool),
    el("td", {}, slots(agent)),
    memory(agent),
    el("td", { class: "message runs" }, running(agent)),
    el("td", { class: "number", "data-head": "Age" }, age(agent)),
    el("td", { class: "number", "data-head": "Heard of" }, `${since(agent.beat_at)} ago`));
  const heads = ["Agent", "Pool", "Slots", "Memory", "Runs", "Age", "Heard of"];
  return el("section", {}, el("h2", {}, `Agents: ${count(agents.length)}`), el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head, at) => el("th", { scope: "col", class: at > 4 ? "number" : null }, head)))),
    el("tbody", {}, agents.map(row)))));
}

// Agents are named by their hosts; of one that is not, its host comes below.
const name = ({ agent, host }) => [agent, host && !agent.startsWith(host) ? el("div", { class: "quiet" }, host) : null];

const since = (moment) => duration(Math.max(0, Date.now() / 1000 - moment));

function age(agent) {
  if (agent.started_at === null) return UNKNOWN;
  const at = new Date(agent.started_at * 1000).toISOString();
  return el("time", { datetime: at, title: `since ${at}` }, since(agent.started_at));
}

function slots(agent) {
  return el("div", {}, meter("slots busy", agent.busy, agent.slots), el("div", { class: "counts" }, `${count(agent.busy)} of ${count(agent.slots)} busy`));
}

// Of the agent and its workers together; of what its container may have, or the machine.
function memory({ memory_bytes: used, memory_limit_bytes: limit }) {
  const text = `${used === null ? UNKNOWN : size(used)}${limit === null ? "" : ` of ${size(limit)}`}`;
  if (used === null || limit === null) return el("td", { "data-head": "Memory" }, text);
  return el("td", {}, meter("memory", used, limit, text), el("div", { class: "counts", "data-head": "Memory" }, text));
}

function meter(label, value, most, text = null) {
  const share = most ? Math.min(1, value / most) : 0;
  return el("div", { class: "progress", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": Math.min(value, most), "aria-valuetext": text },
    el("i", { class: text && share >= NEARLY_FULL ? "failed" : "busy", width: `${100 * share}%` }));
}

// What it told at its last heartbeat: tasks of less than a second are seldom among them.
function running(agent) {
  if (!agent.running) return "it does not tell";
  const tasks = [...agent.running].sort((one, other) => (one.slot ?? 0) - (other.slot ?? 0)).map((task) => taskOf(agent, task));
  if (tasks.length <= SHOWN) return tasks;
  const keep = ({ target }) => (target.open ? opened.add(agent.agent) : opened.delete(agent.agent));
  return [...tasks.slice(0, SHOWN), el("details", { open: opened.has(agent.agent), ontoggle: keep },
    el("summary", { "data-key": `${agent.agent} more` }, `and ${count(tasks.length - SHOWN)} more`), tasks.slice(SHOWN))];
}

function taskOf(agent, task) {
  const slot = task.slot === null ? "" : `slot ${task.slot}${task.slot >= agent.slots ? ", lent" : ""}: `;
  const takes = task.memory_bytes === null ? "" : `, ${size(task.memory_bytes)}`;
  return el("div", {}, el("span", { class: "quiet" }, slot),
    el("a", { href: `${HOME}sessions/${task.session}${query({ task: task.index })}`, "data-key": `${agent.agent} ${task.session} ${task.index}` },
      `task ${count(task.index)} of ${task.session}`),
    el("span", { class: "quiet" }, ` for ${since(task.started_at)}${takes}`));
}
