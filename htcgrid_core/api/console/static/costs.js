// What days cost, by tenant or by a label.

import { HOME, Refused, askJson, query } from "./api.js";
import { count, duration, el } from "./dom.js";
import { costNote, dollars, madeOf, sum } from "./money.js";

const LABEL = "label:";

export async function costsView({ page, go, signal, given }) {
  const values = Object.fromEntries(["from", "to", "by"].map((name) => [name, given.get(name) || ""]));
  page.replaceChildren(el("h1", {}, "Costs"), filters(values, go), ...(await answer(values, signal)));
}

// Days that cannot be summed up are said so below the fields, where they are mended.
async function answer(values, signal) {
  try {
    const found = await askJson(`/v1/costs${query(values)}`, { signal });
    return [found.rows.length ? table(found) : el("p", { class: "empty" }, "No session has ended in these days."), costNote(found)];
  } catch (error) {
    if (error instanceof Refused && error.status === 422) return [el("p", { class: "note", role: "alert" }, error.message)];
    throw error;
  }
}

function filters(values, go) {
  const search = (event) => {
    event.preventDefault();
    const { label, ...form } = Object.fromEntries(new FormData(event.currentTarget));
    go(`${HOME}costs${query({ ...form, by: label.trim() && LABEL + label.trim() })}`);
  };
  const day = (name) => el("input", { type: "date", name, value: values[name], "aria-label": `Days ${name}` });
  return el("form", { class: "bar-row filters", onsubmit: search },
    day("from"), " to ", day("to"),
    el("input", { name: "label", value: values.by.startsWith(LABEL) ? values.by.slice(LABEL.length) : "", maxlength: 256, placeholder: "by a label, not by tenant", "aria-label": "By which label" }),
    el("button", {}, "Show"));
}

function table({ by, rows }) {
  const all = sum(rows.map((row) => row.cost));
  const kind = by.startsWith(LABEL) ? by.slice(LABEL.length) : "Tenant";
  const total = (name) => rows.reduce((whole, row) => whole + row[name], 0);
  const cells = (row) => [el("td", { class: "number", "data-head": "Sessions" }, count(row.sessions)), el("td", { class: "number", "data-head": "Tasks" }, count(row.tasks)),
    el("td", { class: "number", "data-head": "Of work" }, duration(row.task_seconds)), el("td", { class: "number", title: madeOf(row.cost) }, el("b", {}, dollars(row.cost.total))), el("td", { class: "quiet" }, madeOf(row.cost))];
  const heads = ["Day (UTC)", kind, "Sessions", "Tasks", "Of work", "Cost", "Made of"];
  return el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head, at) => el("th", { scope: "col", class: at > 1 && at < 6 ? "number" : null }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, el("td", { class: "main" }, row.day), el("td", {}, row.key || "–"), cells(row))),
      el("tr", { class: "total" }, el("td", { class: "main" }, el("b", {}, "Together")), el("td", {}), cells({ cost: all, sessions: total("sessions"), tasks: total("tasks"), task_seconds: total("task_seconds") })))));
}
