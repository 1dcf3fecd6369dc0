// What a session looks like, in a list and by itself.

import { address, count, duration, el, moment, outerLink } from "./dom.js";
import { badge, breakable, progress } from "./parts.js";

export function sessionTable(sessions, where) {
  const row = (session) => {
    const href = address("session", { ...where, session_id: session.session_id });
    return el("tr", { class: "leads", onclick: (event) => { if (!event.target.closest("a")) location.href = href; } },
      el("td", {}, el("a", { class: "name", href }, session.name || session.session_id),
        el("div", { class: "id quiet mono" }, session.session_id)),
      el("td", {}, badge(session)),
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

// The step of a workflow that submitted it, as a link to its task instance in Airflow's own pages.
function step(labels) {
  const [dag, run, task, mapIndex] = ["dag", "run", "task", "map_index"].map((name) => labels[`airflow.${name}`]);
  const text = [dag, task, mapIndex].filter(Boolean).join(" · ");
  if (!(dag && run && task)) return text || Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(", ");
  const parts = ["dags", dag, "runs", run, "tasks", task, ...(mapIndex ? ["mapped", mapIndex] : [])];
  return outerLink(`../${parts.map(encodeURIComponent).join("/")}`, text);
}

export function sessionCard(session) {
  const fact = (name, ...value) => [el("div", {}, el("dt", {}, name), el("dd", {}, ...value))];
  const labels = Object.entries(session.labels);
  const left = session.total - session.completed - session.failed - session.cancelled;
  return el("section", { class: "card large" },
    el("div", { class: "bar-row" },
      el("h1", {}, session.name || session.session_id), badge(session), el("span", { class: "space" })),
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
      session.labels["airflow.dag"] ? fact("Step", step(session.labels)) : [],
      session.parent_id ? fact("Runs again what failed in", el("code", {}, session.parent_id)) : [],
      labels.length
        ? el("div", { class: "whole" }, el("dt", {}, "Labels"), el("dd", { class: "chips" },
          labels.map(([name, value]) => el("span", { class: "chip" }, `${name}=${value}`))))
        : []));
}
