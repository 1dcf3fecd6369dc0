// All sessions: searched on the server, page by page, and live.

import { HOME, askJson, query } from "./api.js";
import { duration, el, moment } from "./dom.js";
import { drawer } from "./draw.js";
import { badge, breakable, progress } from "./parts.js";
import { repeat } from "./watch.js";

const STATES = ["SUBMITTED", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED"];
const SPAN = "span"; // between two moments of the viewer's choice
const SINCE = [["", "any time"], ["3600", "the last hour"], ["86400", "the last day"], ["604800", "the last 7 days"], [SPAN, "from … to"]];
const PAGES = ["50", "200", "1000"]; // sessions of one page
const LIVE_MS = 1500;
const NEWS_SECONDS = 20;
const ASKED = ["text", "state", "tenant", "function", "since", "from", "to", "show", "cursor"];

export async function sessionsView({ page, go, signal, given, failed }) {
  const values = Object.fromEntries(ASKED.map((name) => [name, given.get(name) || ""]));
  const list = el("div", {});
  const draw = drawer(list);
  const rowOf = keptRows();
  page.replaceChildren(el("h1", {}, "Sessions"), filters(values, go), list);
  let news = null;
  await repeat(signal, async (well) => {
    const found = await askJson(`/v1/sessions${query(asked(values))}`, { signal });
    well();
    const isLive = found.sessions.some((session) => !session.ended_at);
    draw([found, isLive && Math.floor(Date.now() / 1000)], () => [table(found.sessions, values, rowOf), pager(found, values)]);
    if (isLive) return LIVE_MS;
    const wait = { sessions: [], until: "change", news, timeout: NEWS_SECONDS };
    ({ news } = await askJson("/v1/wait", { method: "POST", body: wait, signal }));
    return 300;
  }, failed);
}

function asked({ text, state, tenant, function: name, since, from, to, show, cursor }) {
  const after = since === SPAN ? from : since && Date.now() / 1000 - Number(since);
  return { text, state, tenant, function: name, cursor, submitted_after: after, submitted_before: since === SPAN ? to : "",
    limit: PAGES.includes(show) ? show : PAGES[0] };
}

// A moment as the viewer's clock shows it, and as the address has it: seconds, which are the same for whoever is sent it.
const local = (seconds) => (seconds ? new Date((seconds - 60 * new Date(seconds * 1000).getTimezoneOffset()) * 1000).toISOString().slice(0, 16) : "");
const seconds = (text) => (text ? String(new Date(text).getTime() / 1000) : "");

function filters(values, go) {
  const search = (event) => {
    event.preventDefault();
    const form = Object.fromEntries(new FormData(event.currentTarget));
    const [from, to] = form.since === SPAN ? [seconds(form.from), seconds(form.to)] : ["", ""];
    go(HOME + query({ ...form, from, to }));
  };
  const send = (event) => event.target.form.requestSubmit();
  const select = (name, label, options, onchange = send) => el("select", { name, "aria-label": label, onchange },
    options.map(([value, text]) => el("option", { value, selected: value === values[name] }, text)));
  const moments = ["from", "to"].map((name) => el("input", { type: "datetime-local", name, value: local(Number(values[name])), "aria-label": `Submitted ${name}` }));
  const span = el("span", { class: "span", hidden: values.since !== SPAN }, moments[0], " to ", moments[1]);
  const since = select("since", "Submitted", SINCE, (event) => {
    span.hidden = event.target.value !== SPAN;
    if (span.hidden) send(event);
  });
  return el("form", { class: "bar-row filters", role: "search", onsubmit: search },
    el("input", { type: "search", name: "text", value: values.text, maxlength: 256, placeholder: "name, label or id",
      "aria-label": "What a name, a label or an id contains" }),
    select("state", "State", [["", "every state"], ...STATES.map((state) => [state, state])]),
    since, span,
    el("input", { name: "tenant", value: values.tenant, maxlength: 32, pattern: "[a-z0-9][a-z0-9\\-]*", placeholder: "tenant", "aria-label": "Tenant" }),
    el("input", { name: "function", value: values.function, maxlength: 512, placeholder: "function", "aria-label": "Function" }),
    select("show", "Sessions of a page", PAGES.map((number, at) => [at ? number : "", `${Number(number).toLocaleString("en-US")} a page`])),
    el("button", {}, "Search"));
}

// A row is drawn again only if what it shows has changed: a page may have a thousand of them.
function keptRows() {
  const kept = new Map();
  return (session, now) => {
    const key = JSON.stringify([session, !session.ended_at && Math.floor(now)]);
    const before = kept.get(session.id);
    if (before?.key === key) return before.node;
    const node = row(session, now);
    kept.set(session.id, { key, node });
    return node;
  };
}

function row(session, now) {
  return el("tr", {},
    el("td", { class: "main" },
      el("a", { class: "name", href: `${HOME}sessions/${session.id}`, "data-key": session.id }, session.name || session.id),
      el("div", { class: "id quiet mono" }, session.id), labels(session.labels)),
    el("td", {}, badge(session)),
    el("td", { class: "bar" }, progress(session)),
    el("td", { class: "mono quiet" }, breakable(session.function)),
    el("td", { class: "quiet" }, session.tenant),
    el("td", {}, moment(session.submitted_at)),
    el("td", { class: "number" }, duration(Math.max(0, (session.ended_at || now) - session.submitted_at))));
}

function table(sessions, values, rowOf) {
  if (!sessions.length) {
    const isAsked = ASKED.some((name) => name !== "show" && values[name]);
    return el("p", { class: "empty" }, isAsked ? "No session here fits." : "No session yet.");
  }
  const now = Date.now() / 1000;
  return el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, ["Session", "State", "Progress", "Function", "Tenant", "Submitted"].map((head) => el("th", { scope: "col" }, head)),
      el("th", { scope: "col", class: "number" }, "Took"))),
    el("tbody", {}, sessions.map((session) => rowOf(session, now)))));
}

function labels(found) {
  const pairs = Object.entries(found);
  return pairs.length ? el("div", { class: "chips" }, pairs.slice(0, 4).map(([name, value]) => el("a",
    { class: "chip", href: `${HOME}${query({ text: `${name}=${value}` })}` }, `${name}=${value}`)),
  pairs.length > 4 && el("span", { class: "chip" }, `${pairs.length - 4} more`)) : null;
}

function pager(found, values) {
  const first = values.cursor && el("a", { href: `${HOME}${query({ ...values, cursor: "" })}`, "data-key": "first" }, "← newest");
  const next = found.next_cursor && el("a", { href: `${HOME}${query({ ...values, cursor: found.next_cursor })}`, "data-key": "next" }, "older →");
  return first || next ? el("nav", { class: "bar-row pager", "aria-label": "Pages" }, first, el("span", { class: "space" }), next) : null;
}
