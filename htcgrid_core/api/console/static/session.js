// One session: how far it is, the map of its tasks, and those that failed.

import { actions, newToken } from "./actions.js";
import { HOME, askBytes, askJson, askLines, query } from "./api.js";
import { belongsTo } from "./belongs.js";
import { count, duration, el, moment } from "./dom.js";
import { drawer } from "./draw.js";
import { taskMap } from "./map.js";
import { dollars, madeOf } from "./money.js";
import { badge, breakable, progress } from "./parts.js";
import { lineOf, taskParts } from "./task.js";
import { failureTable, historyTable, retryTable, taskLookup } from "./tasks.js";
import { timingParts } from "./timing.js";
import { repeat, watch } from "./watch.js";

const SHOWN = 50; // failed tasks, or such that run again
const TABLES_MS = 2000;
const TIMING_MS = 3000;
const TIMING_MILLION_MS = 10_000; // between two looks at how long a million tasks took; of fewer, in proportion
const COST_MS = 10_000;
const MAP_MS = 1000;
const MILLION_MS = 4000; // between two looks at the states of a million tasks; of fewer, in proportion
const UNREAD = 5; // see map.js

export async function sessionView(view, id) {
  const { page, go, turns, signal, given, failed, grid } = view;
  const acting = { grid, go, signal, token: newToken() }; // of this look at the page: what it asks for twice is done once
  let session = await askJson(`/v1/sessions/${id}`, { signal });
  const href = (task) => `${HOME}sessions/${id}${query({ task })}`;
  const lookAt = (task) => go(href(task));
  const places = Object.fromEntries(["head", "cost", "lookup", "task", "tables", "timing", "history"].map((name) => [name, el("div", { class: name })]));
  const draw = Object.fromEntries(Object.entries(places).map(([name, place]) => [name, drawer(place)]));
  const open = new Set();
  const isOpen = (index) => open.has(index);
  const opened = (index, is) => (is ? open.add(index) : open.delete(index));
  const map = taskMap(lookAt);
  signal.addEventListener("abort", map.close, { once: true });
  document.title = `${session.name || id} · HTC-Grid`;
  page.replaceChildren(el("div", { class: "bar-row" }, el("a", { href: HOME }, "← all sessions"), el("span", { class: "space" }),
      el("a", { href: `${HOME}compare${query({ a: id })}` }, "compare with another")), places.head, places.cost,
    el("section", {}, el("h2", {}, "Tasks"), map.element), places.lookup, places.task, places.tables, places.timing, places.history);

  let submitter = "";
  let cost = null;
  function tell(now) {
    session = now;
    draw.head([session, submitter, cost, !session.ended_at && Math.floor(Date.now() / 1000)], () => head(session, submitter, cost, acting));
  }

  async function look() {
    if (!session.total) return session.ended_at ? undefined : MAP_MS;
    const wasOver = Boolean(session.ended_at);
    const codes = await askBytes(`/v1/sessions/${id}/states`, { signal });
    map.update(codes);
    if (wasOver && !codes.includes(UNREAD)) return undefined;
    return Math.max(MAP_MS, (MILLION_MS * session.total) / 1e6);
  }

  let told = null; // what the tables were last drawn from
  async function tables() {
    const wasOver = Boolean(session.ended_at);
    const now = JSON.stringify([session.state, session.failed, session.retrying]);
    if (now === told && !session.retrying && !wasOver) return TABLES_MS; // nobody failed since, and nothing was done
    const tasks = async (state, number) => (number ? (await askLines(`/v1/sessions/${id}/tasks${query({ state, limit: SHOWN })}`, { signal })).slice(0, SHOWN).map(lineOf) : []);
    const [failures, retries, { entries }] = await Promise.all([tasks("FAILED", session.failed), tasks("RETRY", session.retrying),
      askJson(`/v1/sessions/${id}/audit`, { signal })]);
    told = now;
    const of = { ...session, failures, retries, texts: true, taskHref: href };
    draw.tables([failures, retries, session.failed, session.retrying], () => [failureTable(of, isOpen, opened), retryTable(of, isOpen, opened)]);
    draw.history(entries, () => historyTable(entries));
    submitter = entries[0]?.actor || "";
    tell(session);
    return wasOver ? undefined : TABLES_MS;
  }

  async function timing() {
    const wasOver = Boolean(session.ended_at);
    if (session.completed + session.failed) {
      const found = await askJson(`/v1/sessions/${id}/timings`, { signal });
      draw.timing(found, () => timingParts(session, found, href));
    }
    return wasOver ? undefined : Math.max(TIMING_MS, (TIMING_MILLION_MS * session.total) / 1e6);
  }

  async function spent() {
    const wasOver = Boolean(session.ended_at);
    cost = await askJson(`/v1/sessions/${id}/cost`, { signal });
    tell(session);
    return wasOver ? undefined : COST_MS;
  }

  // Another task of the same session leaves everything else as it is, the map's part that is seen above all.
  let [choice, choosing] = [0, new AbortController()];
  async function choose(asked) {
    choosing.abort();
    choosing = new AbortController();
    choice += 1;
    const until = AbortSignal.any([signal, choosing.signal]);
    const task = /^\d{1,15}$/.test(asked.get("task") || "") ? Number(asked.get("task")) : null;
    draw.lookup([session.total, choice], () => taskLookup({ ...session, task: task === null ? null : { index: task } }, lookAt));
    let isSeen = false;
    const lookAtTask = async () => {
      const parts = await taskParts(session, task, until, isOpen, opened);
      draw.task([choice, parts.map((part) => part?.textContent)], () => parts);
      if (!isSeen) places.task.scrollIntoView({ block: "nearest" });
      isSeen = true;
      return session.ended_at ? undefined : TABLES_MS;
    };
    if (task === null) draw.task([choice], () => []);
    else await keeping(places.task, lookAtTask, until);
  }

  // What fails for good is said in its own place; the rest of the page goes on.
  const keeping = (place, refresh, until = signal) => repeat(until, refresh, (error) => {
    if (error.status === 401) failed(error);
    else place.replaceChildren(el("p", { class: "note plain", role: "alert" }, error.message));
  });

  tell(session);
  turns(choose);
  await Promise.all([watch(id, Math.min(1, session.total / 1e6), signal, tell, failed), keeping(map.element, look), keeping(places.tables, tables),
    keeping(places.timing, timing),
    session.submitted_at ? keeping(places.cost, spent) : null,
    choose(given)]);
}

function head(session, submitter, cost, acting) {
  const fact = (name, ...value) => el("div", {}, el("dt", {}, name), el("dd", {}, ...value));
  const ended = session.completed + session.failed;
  const seconds = Math.max(0, (session.ended_at || Date.now() / 1000) - session.submitted_at);
  const rate = seconds ? ended / seconds : 0;
  const labels = Object.entries(session.labels);
  const links = belongsTo(session, acting.grid.links);
  return el("section", { class: "card large" },
    el("div", { class: "bar-row" }, el("h1", {}, session.name || session.id), badge(session), el("span", { class: "space" }), actions(session, acting)),
    progress(session),
    session.reason && el("p", { class: `note ${session.state === "FAILED" ? "" : "plain"}` }, session.reason),
    el("dl", { class: "facts" },
      fact("Session", el("code", {}, session.id)),
      fact("Function", el("a", { href: `${HOME}${query({ function: session.function })}` }, el("code", {}, breakable(session.function)))),
      fact("Tenant", session.tenant),
      fact("Pool, priority", `${session.pool}, ${session.priority}`),
      fact("Submitted", moment(session.submitted_at)),
      submitter && fact("By", submitter),
      fact(session.ended_at ? "Took" : "Running for", duration(seconds)),
      fact("On average", rate ? `${rate >= 10 ? count(Math.round(rate)) : rate.toFixed(2)} tasks/s` : "–"),
      !session.ended_at && rate ? fact("Left, about", duration(session.pending / rate)) : null,
      cost && fact(cost.is_final ? "Cost, about" : "Cost so far, about", el("span", { title: [cost.prices, cost.note].filter(Boolean).join("; ") }, dollars(cost.cost.total)),
        el("div", { class: "quiet" }, madeOf(cost.cost))),
      session.deadline_at && !session.ended_at ? fact("Must end by", moment(session.deadline_at)) : null,
      session.parent ? fact("Runs again what failed in", el("a", { href: `${HOME}sessions/${session.parent}` }, session.parent)) : null,
      links.length ? el("div", { class: "whole" }, el("dt", {}, "Belongs to"), el("dd", { class: "chips" }, links)) : null,
      labels.length ? el("div", { class: "whole" }, el("dt", {}, "Labels"), el("dd", { class: "chips" },
        labels.map(([name, value]) => el("a", { class: "chip", href: `${HOME}${query({ text: `${name}=${value}` })}` }, `${name}=${value}`)))) : null));
}
