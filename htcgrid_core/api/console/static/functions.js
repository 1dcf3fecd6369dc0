// Deployed functions, and all versions of one.

import { HOME, askJson, query } from "./api.js";
import { el, moment } from "./dom.js";

export async function functionsView({ page, go, signal, given }) {
  const name = given.get("name");
  const tenant = given.get("tenant") || "";
  const path = name ? `/v1/functions/${encodeURIComponent(name)}` : "/v1/functions";
  const { functions } = await askJson(`${path}${query({ tenant })}`, { signal });
  const search = (event) => {
    event.preventDefault();
    go(`${HOME}functions${query(Object.fromEntries(new FormData(event.currentTarget)))}`);
  };
  page.replaceChildren(
    el("h1", {}, name ? `Versions of ${name}` : "Functions"),
    el("form", { class: "bar-row filters", onsubmit: search },
      name && el("a", { href: `${HOME}functions${query({ tenant })}` }, "← all functions"),
      el("span", { class: "space" }),
      el("input", { name: "tenant", value: tenant, placeholder: "tenant", "aria-label": "Tenant", maxlength: 32 })),
    functions.length ? table(name ? [...functions].reverse() : functions, name, tenant)
      : el("p", { class: "empty" }, "No function is deployed here. See htcgrid functions deploy."));
}

// Long ones are opened where somebody wants to read them.
function schema(title, found) {
  return found && el("details", {}, el("summary", {}, title), el("pre", {}, JSON.stringify(found, null, 2)));
}

function table(functions, name, tenant) {
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  const row = (one) => el("tr", {},
    el("td", { class: "main" }, name ? el("b", {}, String(one.version))
      : el("a", { class: "name", href: `${HOME}functions${query({ name: one.function, tenant })}` }, one.function),
    el("div", { class: "quiet" }, one.description),
    schema("What its events are", one.events_schema),
    schema("What its results are", one.results_schema),
    el("div", {}, el("a", { href: `${HOME}${query({ function: name ? `${one.function}:${one.version}` : one.function, tenant })}` }, "its sessions"))),
    name ? null : el("td", { class: "number" }, String(one.version)),
    el("td", { class: "mono" }, one.handler),
    el("td", {}, one.runtime),
    el("td", { class: "number" }, megabytes(one.package_bytes)),
    el("td", {}, moment(one.deployed_at)),
    el("td", { class: "mono quiet" }, one.deployed_by));
  const heads = [name ? "Version" : "Function", !name && "Latest version", "Handler", "Runtime", "Package", "Deployed", "By"];
  const numbers = ["Latest version", "Package"];
  return el("div", { class: "scroll cards" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.filter(Boolean).map((head) => el("th", { scope: "col", class: numbers.includes(head) ? "number" : null }, head)))),
    el("tbody", {}, functions.map(row))));
}
