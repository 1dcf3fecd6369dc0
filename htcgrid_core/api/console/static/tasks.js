// Tasks of a session and what was done to it: the console's parts and Airflow's.

import { count, duration, el, moment } from "./dom.js";
import { badge } from "./parts.js";

export function said(task) {
  return [task.traceback.trimEnd(), task.stdout && `stdout\n${task.stdout}`, task.stderr && `stderr\n${task.stderr}`]
    .filter(Boolean).join("\n\n");
}

// Any task by its number: what one that succeeded has printed is seen here.
export function taskLookup(session, lookAt) {
  if (!session.total) return null;
  const input = el("input", { type: "number", min: 0, max: session.total - 1, "aria-label": "number of a task", "data-key": "lookup",
    placeholder: `0 to ${count(session.total - 1)}`, value: session.task ? session.task.index : null, onchange: (event) => {
      const index = Number(event.target.value);
      if (event.target.value !== "" && Number.isInteger(index) && index >= 0 && index < session.total) lookAt(index);
      else if (event.target.value === "") lookAt(undefined);
    } });
  return el("div", { class: "bar-row lookup" }, el("label", {}, "Look at task ", input));
}

export function taskCard(session) {
  const task = session.task;
  if (!task) return null;
  const text = said(task);
  return el("section", { class: "card", id: "task" },
    el("div", { class: "bar-row" }, el("b", {}, `Task ${count(task.index)}`), badge({ state: task.state }),
      el("span", { class: "quiet" }, [task.attempts === 1 ? "1 attempt" : `${count(task.attempts)} attempts`,
        task.seconds ? `${task.attempts > 1 ? "the last one " : ""}took ${duration(task.seconds)}` : "", task.agent].filter(Boolean).join(" · "))),
    task.error_type ? el("p", { class: "note" }, el("code", {}, task.error_type), " ", task.error_message) : null,
    text ? el("pre", { tabindex: 0 }, text) : el("p", { class: "quiet" }, session.texts ? "It printed nothing." : NOT_YOURS));
}

const NOT_YOURS = "What tasks said is for those who may read the DAG's task logs.";

export function failureTable(session, isOpen, opened) {
  return taskTable(session, `Failed tasks: ${count(session.failed)}`, session.failures, session.failed, isOpen, opened);
}

// Those that wait for another attempt, with what the last one said: a failing session is seen while it fails.
export function retryTable(session, isOpen, opened) {
  return taskTable(session, `Tasks that failed and run again: ${count(session.retrying)}`, session.retries, session.retrying,
    isOpen, opened);
}

function taskTable(session, title, tasks, number, isOpen, opened) {
  if (!number) return null;
  const row = (task) => {
    const text = said(task);
    const more = text && el("details", { "data-key": `task-${task.index}`, open: isOpen(task.index), ontoggle: (event) => opened(task.index, event.target.open) },
      el("summary", {}, task.traceback ? "traceback and output" : "output"), el("pre", { tabindex: 0 }, text));
    const number = count(task.index);
    return el("tr", {},
      el("td", { class: "number mono" }, session.taskHref ? el("a", { href: session.taskHref(task.index) }, number) : number),
      el("td", {}, el("code", {}, task.error_type)),
      el("td", { class: "message" }, task.error_message, more || null),
      el("td", { class: "number", "data-head": "Attempts" }, count(task.attempts)),
      el("td", { class: "number", "data-head": "Last took" }, duration(task.seconds)));
  };
  const shown = tasks.length < number ? `, ${count(tasks.length)} of them shown` : "";
  const heads = [["Task", "number"], ["Error"], ["Message"], ["Attempts", "number"], ["Last took", "number"]];
  return el("section", {},
    el("h2", {}, title + shown),
    session.texts ? null : el("p", { class: "note plain" }, NOT_YOURS),
    el("div", { class: "scroll cards" }, el("table", {},
      el("thead", {}, el("tr", {}, heads.map(([head, kind]) => el("th", { class: kind }, head)))),
      el("tbody", {}, [...tasks].sort((one, other) => one.index - other.index).map(row)))));
}

export function historyTable(history) {
  const row = (entry) => el("tr", {},
    el("td", {}, moment(entry.at)),
    el("td", {}, entry.event),
    el("td", {}, entry.before ? `${entry.before} → ${entry.after}` : entry.after),
    el("td", { class: "mono" }, entry.actor, entry.address && el("div", { class: "quiet" }, entry.address)),
    el("td", { class: "message" }, entry.detail));
  return el("section", {},
    el("h2", {}, "Who did what"),
    el("div", { class: "scroll cards" }, el("table", {},
      el("thead", {}, el("tr", {}, ["When", "What", "State", "Who", "Why"].map((head) => el("th", {}, head)))),
      el("tbody", {}, history.map(row)))));
}
