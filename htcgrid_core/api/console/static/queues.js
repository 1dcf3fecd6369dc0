// What waits in each pool, and the messages that queues gave up.

import { HOME, askJson } from "./api.js";
import { count, duration, el, moment } from "./dom.js";
import { drawer } from "./draw.js";
import { repeat } from "./watch.js";

const EVERY_MS = 2000;

export async function queuesView({ page, signal, failed, grid }) {
  const places = { pools: el("div", {}), letters: el("div", {}) };
  const draw = drawer(places.pools);
  page.replaceChildren(el("h1", {}, "Queues"), places.pools, places.letters);
  await Promise.all([
    repeat(signal, async () => {
      const load = await askJson("/v1/load", { signal });
      draw(load, () => pools(load));
      return EVERY_MS;
    }, failed),
    grid.scopes.includes("operate") && grid.dead_letters && deadLetters(places.letters, signal),
  ]);
}

function pools(load) {
  const row = (pool) => el("tr", {},
    el("td", { class: "main name" }, pool.pool),
    el("td", { class: "number" }, count(pool.agents)),
    el("td", { class: "number" }, `${count(pool.busy)} of ${count(pool.slots)}`),
    el("td", { class: "number" }, count(pool.sessions)),
    el("td", { class: "number" }, count(pool.tasks)),
    el("td", { class: "number" }, pool.work_seconds ? duration(pool.work_seconds) : "–"));
  const heads = ["Pool", "Agents", "Slots busy", "Sessions", "Tasks waiting", "Work waiting"];
  return el("section", {}, el("h2", {}, "Pools"), el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head, at) => el("th", { scope: "col", class: at ? "number" : null }, head)))),
    el("tbody", {}, load.pools.map(row)))));
}

// Looked at once: whoever looks hides them from the reconciler for a moment.
async function deadLetters(place, signal) {
  const again = el("button", { type: "button", class: "plain", onclick: () => deadLetters(place, signal) }, "Look again");
  const told = (...parts) => place.replaceChildren(el("section", {}, el("div", { class: "bar-row" }, el("h2", {}, "Dead letters"), el("span", { class: "space" }), again), ...parts));
  try {
    const { letters } = await askJson("/v1/dead-letters", { signal });
    told(letters.length ? letterTable(letters) : el("p", { class: "empty" }, "No dead letter."));
  } catch (error) {
    if (signal.aborted) return;
    told(el("p", { class: "note plain", role: "status" }, error.message));
  }
}

function letterTable(letters) {
  const row = (letter) => el("tr", {},
    el("td", { class: "main" }, letter.session ? el("a", { href: `${HOME}sessions/${letter.session}` }, letter.session) : "not one of this grid's"),
    el("td", { class: "mono" }, letter.bundle || "–"),
    el("td", {}, letter.pool),
    el("td", { class: "number", "data-head": "Sent again" }, count(letter.sent_again)),
    el("td", {}, moment(letter.sent_at)));
  const heads = ["Session", "Bundle", "Pool", "Sent again", "Sent"];
  return el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col", class: head === "Sent again" ? "number" : null }, head)))),
    el("tbody", {}, letters.map(row))));
}
