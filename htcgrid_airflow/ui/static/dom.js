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

export const count = (number) => number.toLocaleString("en-US");

export function duration(seconds) {
  if (seconds < 0.95) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function moment(seconds) {
  const date = new Date(seconds * 1000);
  return el("time", { datetime: date.toISOString(), title: date.toISOString() },
    date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }));
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

// Airflow's own theme when embedded in it, else the reader's.
export function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let outer = null;
  try {
    if (window.parent !== window) outer = window.parent.document.documentElement;
  } catch {
    outer = null; // embedded by another origin, which keeps its theme to itself
  }
  const apply = () => {
    const told = outer && ["dark", "light"].find((name) => outer.classList.contains(name));
    document.documentElement.dataset.theme = told || (dark.matches ? "dark" : "light");
  };
  apply();
  dark.addEventListener("change", apply);
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class"] });
}
