// Every attempt of a task: when, where, and what it said.

import { count, duration, el, moment } from "./dom.js";
import { badge } from "./parts.js";
import { said } from "./tasks.js";

export function attemptsTable({ begun, attempts }, isOpen, opened) {
  if (begun < 2 && attempts.length < 2) return null; // the task's own card has told it all
  const row = (one) => {
    const text = said({ ...one, traceback: one.error?.traceback || "" });
    const more = text && el("details", { "data-key": `attempt-${one.attempt}`, open: isOpen(`attempt ${one.attempt}`), ontoggle: (event) => opened(`attempt ${one.attempt}`, event.target.open) },
      el("summary", {}, "traceback and output"), el("pre", { tabindex: 0 }, text));
    return el("tr", {},
      el("td", { class: "number", "data-head": "Attempt" }, count(one.attempt)),
      el("td", {}, badge({ state: one.state === "RETRY" ? "FAILED" : one.state })),
      el("td", { class: "mono" }, one.agent || "–"),
      el("td", {}, one.started_at ? moment(one.started_at) : "–"),
      el("td", { class: "number" }, duration(one.duration)),
      el("td", { class: "message" }, one.error && [el("code", {}, one.error.type), " ", one.error.message], more || null));
  };
  const heads = [["Attempt", "number"], ["Came to"], ["Agent"], ["Began"], ["Took", "number"], ["Error"]];
  const missing = begun - attempts.length;
  return el("section", {}, el("h3", {}, `Attempts: ${count(begun)}`),
    el("div", { class: "scroll cards" }, el("table", {},
      el("thead", {}, el("tr", {}, heads.map(([head, kind]) => el("th", { scope: "col", class: kind }, head)))),
      el("tbody", {}, attempts.map(row)))),
    missing > 0 && el("p", { class: "counts wrap" }, `Nothing is kept of ${count(missing)} of them: their agents were lost, or there was no room for what they said.`));
}
