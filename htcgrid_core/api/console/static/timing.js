// When tasks ended, how long they took, and the slowest: bars and a table.

import { chart } from "./chart.js";
import { count, duration, el, moment } from "./dom.js";

export function timingParts(session, timings, taskHref) {
  if (!timings.tasks) return [];
  const ended = session.completed + session.failed;
  const share = Math.max(1, ended / timings.tasks); // of a sample, as all of them
  const rates = timings.ended.map((number) => (number * share) / timings.step);
  const used = timings.durations.map((number, at) => [number, at]).filter(([number]) => number);
  const [first, last] = [used[0][1], used.at(-1)[1]];
  const sampled = timings.tasks < ended && el("p", { class: "counts" }, `Drawn from ${count(timings.tasks)} of the ${count(ended)} tasks that have ended.`);
  return [
    el("div", { class: "pair" },
      chart("Throughput", `${speed(Math.max(...rates))} at most`, [rates], "tasks that ended a second, over time",
        moment(timings.began), moment(timings.began + timings.step * timings.ended.length)),
      chart("Durations", "", [timings.durations.slice(first, last + 1)], "how many tasks took how long",
        duration(first ? timings.bounds[first - 1] : 0), last < timings.bounds.length ? duration(timings.bounds[last]) : "longer")),
    sampled,
    slowest(timings.slowest.slice(0, 5), taskHref),
  ];
}

const speed = (rate) => `${rate >= 10 ? count(Math.round(rate)) : rate.toFixed(1)} tasks/s`;

function slowest(tasks, taskHref) {
  const row = (task) => el("tr", {},
    el("td", { class: "number mono" }, el("a", { href: taskHref(task.index), "data-key": `slow-${task.index}` }, count(task.index))),
    el("td", {}, task.state === "FAILED" ? "failed" : "completed"),
    el("td", { class: "number", "data-head": "Attempts" }, count(task.attempts)),
    el("td", { class: "number" }, duration(task.duration)));
  const heads = [["Task", "number"], ["Came to"], ["Attempts", "number"], ["Last took", "number"]];
  return el("section", {}, el("h2", {}, "Slowest tasks"), el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map(([head, kind]) => el("th", { scope: "col", class: kind }, head)))),
    el("tbody", {}, tasks.map(row)))));
}
