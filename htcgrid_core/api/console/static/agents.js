// Agents that are alive, their slots, and what each of them runs.

import { HOME, askJson, query } from "./api.js";
import { count, duration, el } from "./dom.js";
import { drawer } from "./draw.js";
import { repeat } from "./watch.js";

const EVERY_MS = 2000;
const SHOWN = 8; // tasks of an agent

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
    el("td", { class: "main mono" }, agent.agent, agent.problem ? el("p", { class: "note" }, agent.problem) : null),
    el("td", {}, agent.pool),
    el("td", { class: "mono" }, agent.host),
    el("td", {}, slots(agent)),
    el("td", { class: "message" }, running(agent)),
    el("td", { class: "number" }, `${duration(Math.max(0, Date.now() / 1000 - agent.beat_at))} ago`));
  const heads = ["Agent", "Pool", "Host", "Slots", "Runs", "Heard of"];
  return el("section", {}, el("h2", {}, `Agents: ${count(agents.length)}`), el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head, at) => el("th", { scope: "col", class: at === 5 ? "number" : null }, head)))),
    el("tbody", {}, agents.map(row)))));
}

function slots(agent) {
  const share = agent.slots ? `${(100 * agent.busy) / agent.slots}%` : "0%";
  return el("div", {},
    el("div", { class: "progress", role: "meter", "aria-label": "slots busy", "aria-valuemin": 0, "aria-valuemax": agent.slots, "aria-valuenow": agent.busy },
      el("i", { class: "busy", width: share })),
    el("div", { class: "counts" }, `${count(agent.busy)} of ${count(agent.slots)} busy`));
}

// What it told at its last heartbeat: tasks of less than a second are seldom among them.
function running(agent) {
  if (!agent.running) return "it does not tell";
  const age = (task) => duration(Math.max(0, Date.now() / 1000 - task.started_at));
  const link = (task) => el("div", {}, el("a", { href: `${HOME}sessions/${task.session}${query({ task: task.index })}`, "data-key": `${agent.agent} ${task.session} ${task.index}` },
    `task ${count(task.index)} of ${task.session}`), el("span", { class: "quiet" }, ` for ${age(task)}`));
  const more = agent.running.length - SHOWN;
  return [agent.running.slice(0, SHOWN).map(link), more > 0 ? el("div", { class: "quiet" }, `and ${count(more)} more`) : null].flat();
}
