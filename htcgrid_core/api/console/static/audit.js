// Who did what to the grid and to its sessions, newest first.

import { HOME, ask, askJson, query } from "./api.js";
import { el, moment } from "./dom.js";

const PAGE = 100;

export async function auditView({ page, signal, given }) {
  const values = { cursor: given.get("cursor") || "", limit: PAGE };
  const found = await askJson(`/v1/audit${query(values)}`, { signal });
  const first = values.cursor && el("a", { href: `${HOME}audit`, "data-key": "first" }, "← newest");
  const next = found.next_cursor && el("a", { href: `${HOME}audit${query({ cursor: found.next_cursor })}`, "data-key": "next" }, "older →");
  const note = el("p", { class: "note", role: "alert", hidden: true });
  page.replaceChildren(
    el("div", { class: "bar-row" }, el("h1", {}, "Audit"), el("span", { class: "space" }), el("button", { type: "button", onclick: () => save(signal, note) }, "Export all")), note,
    found.entries.length ? table(found.entries) : el("p", { class: "empty" }, next || first ? "Nothing here that you may see." : "Nobody has done anything yet."),
    ...(first || next ? [el("nav", { class: "bar-row pager", "aria-label": "Pages" }, first || null, el("span", { class: "space" }), next)] : []));
}

// As JSON Lines, the last of which is the grid's signature of those before.
async function save(signal, note) {
  try {
    const answer = await ask("/v1/audit/export", { signal });
    const address = URL.createObjectURL(await answer.blob());
    el("a", { href: address, download: "audit.jsonl" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    note.textContent = error.message;
    note.hidden = false;
  }
}

function table(entries) {
  const row = (entry) => el("tr", {},
    el("td", {}, moment(entry.at)),
    el("td", { class: "main mono" }, entry.actor, entry.address && el("div", { class: "quiet" }, entry.address)),
    el("td", {}, entry.event),
    el("td", {}, entry.session ? el("a", { href: `${HOME}sessions/${entry.session}` }, entry.session) : "the grid"),
    el("td", {}, entry.before ? `${entry.before} → ${entry.after}` : entry.after),
    el("td", { class: "message" }, entry.detail));
  return el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, ["When", "Who", "What", "To", "State", "Why"].map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, entries.map(row))));
}
