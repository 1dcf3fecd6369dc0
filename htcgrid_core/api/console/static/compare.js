// Two sessions beside each other: how long their tasks took, and which of them failed.

import { HOME, askBytes, askJson, query } from "./api.js";
import { chart } from "./chart.js";
import { count, duration, el, moment } from "./dom.js";
import { drawer } from "./draw.js";
import { badge, breakable, progress } from "./parts.js";
import { repeat } from "./watch.js";

const FAILED = 6; // see map.js
const OTHERS = 50; // sessions of the same function to choose from
const SHOWN = 20; // tasks of each kind
const EVERY_MS = 3000;

export async function compareView(view) {
  const { page, given, signal, failed } = view;
  const [a, b] = [given.get("a"), given.get("b")];
  if (!a) {
    page.replaceChildren(el("h1", {}, "Two sessions"), el("p", { class: "empty" }, "Open a session, and compare it with another."));
  } else if (!b) {
    await choose(view, a);
  } else {
    const place = el("div", {});
    const draw = drawer(place);
    page.replaceChildren(el("div", { class: "bar-row" }, el("a", { href: `${HOME}sessions/${encodeURIComponent(a)}` }, "← the first of them")), el("h1", {}, "Two sessions"), place);
    await repeat(signal, async () => {
      const both = await Promise.all([a, b].map((id) => look(id, signal)));
      draw(both.map(({ session, timings }) => [session, timings]), () => parts(both));
      return both.every(({ session }) => session.ended_at) ? undefined : EVERY_MS;
    }, failed);
  }
}

// Of what the address names, which need be no id.
const pathOf = (id) => `/v1/sessions/${encodeURIComponent(id)}`;

async function look(id, signal) {
  const path = pathOf(id);
  const [session, timings, states] = await Promise.all([askJson(path, { signal }), askJson(`${path}/timings`, { signal }), askBytes(`${path}/states`, { signal })]);
  return { session, timings, states };
}

async function choose({ page, signal }, a) {
  const session = await askJson(pathOf(a), { signal });
  const name = session.function.split(":")[0];
  const { sessions } = await askJson(`/v1/sessions${query({ function: name, limit: OTHERS })}`, { signal });
  const others = sessions.filter(({ id }) => id !== a);
  const row = (other) => el("tr", {},
    el("td", { class: "main" }, el("a", { class: "name", href: `${HOME}compare${query({ a, b: other.id })}` }, other.name || other.id), el("div", { class: "id quiet mono" }, other.id)),
    el("td", {}, badge(other)), el("td", { class: "bar" }, progress(other)), el("td", {}, moment(other.submitted_at)));
  page.replaceChildren(
    el("div", { class: "bar-row" }, el("a", { href: `${HOME}sessions/${encodeURIComponent(a)}` }, "← the session")),
    el("h1", {}, "Compare ", session.name || session.id, " with"),
    el("p", { class: "quiet" }, "Sessions of the function ", el("code", {}, breakable(name)), ", newest first."),
    others.length ? el("div", { class: "scroll cards" }, el("table", {},
      el("thead", {}, el("tr", {}, ["Session", "State", "Progress", "Submitted"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, others.map(row)))) : el("p", { class: "empty" }, "There is no other session of this function."));
}

function parts(both) {
  return [facts(both), durations(both), failures(both)];
}

function facts(both) {
  const names = both.map(({ session }, at) => el("th", { scope: "col" }, el("i", { class: `key row-${at}` }),
    el("a", { href: `${HOME}sessions/${session.id}` }, session.name || session.id), el("div", { class: "id quiet mono" }, session.id)));
  const line = (head, tell) => el("tr", {}, el("th", { scope: "row" }, head), both.map((one) => el("td", {}, tell(one))));
  const took = ({ session }) => Math.max(0, (session.ended_at || Date.now() / 1000) - session.submitted_at);
  const rate = (one) => (one.session.completed + one.session.failed) / Math.max(took(one), 1e-3);
  return el("div", { class: "scroll" }, el("table", { class: "facing" },
    el("thead", {}, el("tr", {}, el("td", {}), names)),
    el("tbody", {},
      line("State", ({ session }) => badge(session)),
      line("Function", ({ session }) => el("code", {}, breakable(session.function))),
      line("Submitted", ({ session }) => moment(session.submitted_at)),
      line("Tasks", ({ session }) => count(session.total)),
      line("Completed", ({ session }) => count(session.completed)),
      line("Failed", ({ session }) => count(session.failed)),
      line("Took", (one) => duration(took(one))),
      line("On average", (one) => (rate(one) >= 10 ? `${count(Math.round(rate(one)))} tasks/s` : `${rate(one).toFixed(2)} tasks/s`)),
      line("Half of its tasks took less than", ({ timings }) => quantile(timings, 0.5)),
      line("95 in 100 took less than", ({ timings }) => quantile(timings, 0.95)),
      line("The slowest took", ({ timings }) => (timings.slowest.length ? duration(timings.slowest[0].duration) : "–")))));
}

// As exact as the histogram's bounds are: 1, 2 or 5 times a power of ten.
function quantile({ durations: numbers, bounds, tasks }, share) {
  let seen = 0;
  const at = numbers.findIndex((number) => { seen += number; return seen >= share * tasks; });
  if (!tasks) return "–";
  return at < bounds.length ? duration(bounds[at]) : `more than ${duration(bounds.at(-1))}`;
}

function durations(both) {
  const used = both[0].timings.durations.map((_, at) => at).filter((at) => both.some(({ timings }) => timings.durations[at]));
  if (!used.length) return null;
  const [first, last] = [used[0], used.at(-1)];
  const { bounds } = both[0].timings;
  const rows = both.map(({ timings }) => timings.durations.slice(first, last + 1).map((number) => number / Math.max(1, timings.tasks)));
  return chart("Durations", "", rows, "which share of each session's tasks took how long", duration(first ? bounds[first - 1] : 0), last < bounds.length ? duration(bounds[last]) : "longer");
}

function failures(both) {
  const [a, b] = both;
  if (a.session.total !== b.session.total) {
    return el("p", { class: "note plain" }, "They have different numbers of tasks: which of them failed in both cannot be told.");
  }
  const kinds = { "Failed in both": [], "Only in the first": [], "Only in the second": [] };
  for (let index = 0; index < a.states.length; index += 1) {
    const [one, other] = [a.states[index] === FAILED, b.states[index] === FAILED];
    if (one && other) kinds["Failed in both"].push(index);
    else if (one) kinds["Only in the first"].push(index);
    else if (other) kinds["Only in the second"].push(index);
  }
  const link = (session, index) => el("a", { class: "chip", href: `${HOME}sessions/${session.id}${query({ task: index })}` }, count(index));
  const line = ([title, indexes], at) => el("div", {}, el("dt", {}, `${title}: ${count(indexes.length)}`),
    el("dd", { class: "chips" }, indexes.slice(0, SHOWN).map((index) => link(at === 2 ? b.session : a.session, index)),
      indexes.length > SHOWN && el("span", { class: "quiet" }, `and ${count(indexes.length - SHOWN)} more`)));
  return el("section", {}, el("h2", {}, "Failed tasks, by number"), el("dl", { class: "facts" }, Object.entries(kinds).map(line)));
}
