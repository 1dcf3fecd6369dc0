// Elements, made of text only: what tasks print or raise is never read as HTML.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "width") node.style.width = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Made once: a page of a thousand sessions has thousands of both.
const NUMBERS = new Intl.NumberFormat("en-US");
const MOMENTS = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const count = (number) => NUMBERS.format(number);

export function duration(seconds) {
  if (seconds < 0.00005) return "under 0.1 ms";
  if (seconds < 0.00995) return `${(1000 * seconds).toFixed(1)} ms`;
  if (seconds < 0.95) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const hours = Math.floor(whole / 3600);
  return hours < 48 ? `${hours} h ${Math.floor((whole % 3600) / 60)} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function size(bytes) {
  const units = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
  const [unit, each] = units.find(([, each]) => bytes >= each) || units.at(-1);
  const number = bytes / each;
  return `${number < 10 ? number.toFixed(1) : count(Math.round(number))} ${unit}`;
}

export function moment(seconds) {
  const date = new Date(seconds * 1000);
  return el("time", { datetime: date.toISOString(), title: date.toISOString() },
    MOMENTS.format(date));
}

// A plus sign in a run's id is a plus sign, which URLSearchParams would take for a space.
export function parameters() {
  const pairs = location.search.slice(1).split("&").filter(Boolean).map((pair) => pair.split("="));
  return Object.fromEntries(pairs.map(([name, value = ""]) => [decodeURIComponent(name), decodeURIComponent(value)]));
}

export function address(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  const query = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return query ? `${path}?${query}` : path;
}

// A link out of the page to one of Airflow's own. Its frame may not navigate the page around it; that page itself may.
export function outerLink(href, text) {
  const follow = (event) => {
    const outer = outerDocument();
    if (!outer || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const link = outer.createElement("a");
    link.href = event.currentTarget.href;
    outer.body.append(link);
    link.click();
    link.remove();
  };
  return el("a", { href, onclick: follow }, text);
}

function outerDocument() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null; // embedded by another origin, which keeps its pages to itself
  }
}

// What of Airflow's own colours the page takes when it is embedded, by the names that Chakra gives them.
const COLOURS = { "--paper": "bg", "--line": "border", "--ink": "fg", "--quiet": "fg-muted" };

// Airflow's own theme when embedded in it, else the reader's.
export function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const outer = outerDocument()?.documentElement;
  const apply = () => {
    const told = outer && ["dark", "light"].find((name) => outer.classList.contains(name));
    const page = document.documentElement;
    page.dataset.theme = told || (dark.matches ? "dark" : "light");
    for (const [ours, theirs] of Object.entries(told ? COLOURS : {})) {
      const colour = window.parent.getComputedStyle(outer).getPropertyValue(`--chakra-colors-${theirs}`).trim();
      if (colour) page.style.setProperty(ours, colour);
    }
  };
  apply();
  dark.addEventListener("change", apply);
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class"] });
}
