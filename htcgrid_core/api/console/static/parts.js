// Parts of pages that show sessions: the console's and Airflow's.

import { count, el } from "./dom.js";

// Failures that the session tolerates are not what green promises.
export function badge(session) {
  const tolerated = session.state === "COMPLETED" && session.failed;
  return el("span", { class: `badge ${session.state} ${tolerated ? "tolerated" : ""}` }, session.state,
    tolerated ? " with failures" : null);
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
      session.retrying ? el("span", { class: "retrying" }, ` · ${count(session.retrying)} retrying`) : null,
      session.failed ? el("span", { class: "failed" }, ` · ${count(session.failed)} failed`) : null,
      session.cancelled ? ` · ${count(session.cancelled)} cancelled` : null));
}

// A long name breaks before a dot, not within a word.
export function breakable(name) {
  return name.split(/(?=\.)/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
}
