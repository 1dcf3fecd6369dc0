// Which view an address names, and moving between them without loading the page again.

import { agentsView } from "./agents.js";
import { HOME, Refused, askJson, isSignedIn, signOut } from "./api.js";
import { auditView } from "./audit.js";
import { compareView } from "./compare.js";
import { costsView } from "./costs.js";
import { el, followTheme } from "./dom.js";
import { functionsView } from "./functions.js";
import { queuesView } from "./queues.js";
import { sessionView } from "./session.js";
import { sessionsView } from "./sessions.js";
import { redeem, signInForm } from "./sign_in.js";
import { repeat } from "./watch.js";

const page = document.getElementById("page");
const bar = document.getElementById("bar");
const VIEWS = [
  [/^$/, sessionsView, "Sessions"],
  [/^sessions\/([a-z0-9.-]+)$/, sessionView, "Session"],
  [/^compare$/, compareView, "Two sessions"],
  [/^agents$/, agentsView, "Agents"],
  [/^queues$/, queuesView, "Queues"],
  [/^functions$/, functionsView, "Functions"],
  [/^costs$/, costsView, "Costs"],
  [/^audit$/, auditView, "Audit"],
];
let leaving = new AbortController();
let turn = null; // of the view that is shown, if it goes to another query of its own address by itself

// Whether the view stays, as it was but for what its query asks.
function turned() {
  if (turn?.path !== location.pathname) return false;
  turn.to(new URLSearchParams(location.search));
  return true;
}

export function go(path) {
  history.pushState(null, "", path);
  const stays = turned();
  if (!stays) show();
  return stays;
}

function askForKey(why = "") {
  leaving.abort();
  turn = null;
  document.title = "Sign in · HTC-Grid";
  bar.replaceChildren();
  page.replaceChildren(signInForm(why, show));
  page.querySelector("input").focus();
}

// What a view cannot do is said in its place; who is signed out is asked to sign in.
function failed(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Refused && error.status === 401) askForKey(isSignedIn() ? "You are signed out: the server was started again, or the key has gone." : "");
  else if (error instanceof Refused && error.status === 403 && !bar.firstChild) askForKey(error.message); // no view is for this key
  else page.replaceChildren(el("p", { class: "note", role: "alert" }, error.message));
}

async function show(why = "") {
  if (!isSignedIn()) {
    askForKey(why);
    return;
  }
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { pathname } = location;
  const path = decoded(pathname.slice(HOME.length)).replace(/\/$/, "");
  turn = null;
  const turns = (to) => { if (!signal.aborted) turn = { path: pathname, to }; };
  const [pattern, view, title] = VIEWS.find(([one]) => one.test(path)) || [/.*/, null, "Nothing here"];
  document.title = `${title} · HTC-Grid`;
  await repeat(signal, async () => {
    const grid = await askJson("/v1/grid", { signal });
    nav(path, grid);
    if (view) await view({ page, go, turns, signal, grid, failed, given: new URLSearchParams(location.search) }, ...pattern.exec(path).slice(1));
    else page.replaceChildren(el("p", { class: "empty" }, "There is nothing at this address."));
  }, failed);
}

function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // no view's
  }
}

function nav(path, grid) {
  const link = (href, text, is) => el("a", { href: HOME + href, "aria-current": is ? "page" : null }, text);
  const leave = async () => { await signOut().catch(() => {}); askForKey(); };
  bar.replaceChildren(el("nav", { "aria-label": "Console" },
    el("a", { class: "brand", href: HOME }, "HTC-Grid"),
    link("", "Sessions", path === "" || path.startsWith("sessions/") || path === "compare"),
    grid.scopes.includes("operate") && link("agents", "Agents", path === "agents"),
    link("queues", "Queues", path === "queues"),
    link("functions", "Functions", path === "functions"),
    link("costs", "Costs", path === "costs"),
    grid.scopes.includes("operate") && link("audit", "Audit", path === "audit"),
    el("span", { class: "space" }),
    el("button", { class: "plain", onclick: leave }, "Sign out")));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.origin !== location.origin || !link.pathname.startsWith(HOME) || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  if (go(link.href)) return;
  page.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("popstate", () => turned() || show());
// Here, since a browser that looks for a relative one late looks beside the view that is shown by then.
document.head.append(el("link", { rel: "icon", type: "image/svg+xml", href: `${HOME}static/icon.svg` }));
followTheme();
redeem().then(show);
