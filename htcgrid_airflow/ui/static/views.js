// What a session looks like, in a list and by itself.

import { address, count, duration, el, moment } from "./dom.js";

export function badge(state) {
  return el("span", { class: `badge ${state}` }, state);
}

export function progress(session) {
  const share = (tasks) => (session.total ? `${(100 * tasks) / session.total}%` : "0%");
  const done = session.completed + session.failed + session.cancelled;
  const kinds = ["completed", "failed", "cancelled"].filter((kind) => session[kind]);
  const bar = { class: "progress", role: "progressbar", "aria-label": "tasks ended", "aria-valuemin": 0,
    "aria-valuemax": session.total, "aria-valuenow": done };
  return el("div", {},
    el("div", bar, kinds.map((kind) => el("i", { class: kind, width: share(session[kind]) }))),
    el("div", { class: "counts" },
      el("b", {}, session.total ? `${Math.floor((100 * session.completed) / session.total)}%` : "–"),
      ` · ${count(session.completed)} of ${count(session.total)} tasks`,
      session.failed ? el("span", { class: "failed" }, ` · ${count(session.failed)} failed`) : null,
      session.cancelled ? ` · ${count(session.cancelled)} cancelled` : null));
}

export function sessionTable(sessions, connection) {
  const row = (session) => {
    const href = address("session", { conn_id: connection, session_id: session.session_id });
    return el("tr", { class: "leads", onclick: () => { location.href = href; } },
      el("td", {}, el("a", { class: "name", href }, session.name || session.session_id),
        el("div", { class: "id quiet mono" }, session.session_id)),
      el("td", {}, badge(session.state)),
      el("td", {}, progress(session)),
      el("td", { class: "quiet" }, step(session.labels)),
      el("td", {}, moment(session.submitted_at)),
      el("td", { class: "number" }, duration(session.seconds)));
  };
  const heads = ["Session", "State", "Progress", "Step", "Submitted", "Took"];
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { class: head === "Took" ? "number" : null }, head)))),
    el("tbody", {}, sessions.map(row))));
}

function step(labels) {
  const step = [labels["airflow.dag"], labels["airflow.task"], labels["airflow.map_index"]].filter(Boolean).join(" · ");
  return step || Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(", ");
}

export function sessionCard(session) {
  const fact = (name, ...value) => [el("div", {}, el("dt", {}, name), el("dd", {}, ...value))];
  const labels = Object.entries(session.labels);
  const left = session.total - session.completed - session.failed - session.cancelled;
  return el("section", { class: "card large" },
    el("div", { class: "bar-row" },
      el("h1", {}, session.name || session.session_id), badge(session.state), el("span", { class: "space" })),
    progress(session),
    session.reason ? el("p", { class: `note ${session.state === "FAILED" ? "" : "plain"}` }, session.reason) : null,
    session.problem ? el("p", { class: "note" }, session.problem) : null,
    el("dl", { class: "facts" },
      fact("Session", el("code", {}, session.session_id)),
      fact("Function", el("code", {}, breakable(session.function))),
      fact("Pool, priority", `${session.pool}, ${session.priority}`),
      fact("Submitted", moment(session.submitted_at)),
      fact(session.ended_at ? "Took" : "Running for", duration(session.seconds)),
      fact("Speed", session.rate ? `${session.rate >= 10 ? count(Math.round(session.rate)) : session.rate.toFixed(2)} tasks/s` : "–"),
      !session.ended_at && left && session.rate ? fact("Left, about", duration(left / session.rate)) : [],
      session.parent_id ? fact("Runs again what failed in", el("code", {}, session.parent_id)) : [],
      labels.length
        ? el("div", { class: "whole" }, el("dt", {}, "Labels"), el("dd", { class: "chips" },
          labels.map(([name, value]) => el("span", { class: "chip" }, `${name}=${value}`))))
        : []));
}

// A long name breaks before a dot, not within a word.
function breakable(name) {
  return name.split(/(?=\.)/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
}

export function failureTable(session, isOpen, opened) {
  if (!session.failed) return null;
  const row = (task) => {
    const text = [task.traceback, task.stdout && `stdout\n${task.stdout}`, task.stderr && `stderr\n${task.stderr}`];
    const said = text.filter(Boolean).join("\n\n");
    const more = said && el("details", { open: isOpen(task.index), ontoggle: (event) => opened(task.index, event.target.open) },
      el("summary", {}, task.traceback ? "traceback and output" : "output"), el("pre", {}, said));
    return el("tr", {},
      el("td", { class: "number mono" }, count(task.index)),
      el("td", {}, el("code", {}, task.error_type)),
      el("td", { class: "message" }, task.error_message, more || null),
      el("td", { class: "number" }, count(task.attempts)),
      el("td", { class: "number" }, duration(task.seconds)));
  };
  const shown = session.failures.length < session.failed ? `, the first ${count(session.failures.length)}` : "";
  const heads = [["Task", "number"], ["Error"], ["Message"], ["Attempts", "number"], ["Last took", "number"]];
  return el("section", {},
    el("h2", {}, `Failed tasks: ${count(session.failed)}${shown}`),
    session.texts ? null : el("p", { class: "note plain" }, "What they said is for those who may read the DAG's task logs."),
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, heads.map(([head, kind]) => el("th", { class: kind }, head)))),
      el("tbody", {}, session.failures.map(row)))));
}

export function historyTable(history) {
  const row = (entry) => el("tr", {},
    el("td", {}, moment(entry.at)),
    el("td", {}, entry.event),
    el("td", {}, entry.before ? `${entry.before} → ${entry.after}` : entry.after),
    el("td", { class: "mono" }, entry.actor),
    el("td", { class: "message" }, entry.detail));
  return el("section", {},
    el("h2", {}, "Who did what"),
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ["When", "What", "State", "Who", "Why"].map((head) => el("th", {}, head)))),
      el("tbody", {}, history.map(row)))));
}
