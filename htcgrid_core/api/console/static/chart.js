// Bars without a library: one row of numbers, or two of them to be told apart.

import { el } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 90;
const SVG = "http://www.w3.org/2000/svg";

// Of two rows each bar is half as wide, and they stand side by side.
export function chart(title, note, rows, what, from, to) {
  const top = Math.max(...rows.flat(), 1e-9);
  const wide = WIDTH / rows[0].length;
  const thick = (wide * 0.84) / rows.length;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${what}${note && `, ${note}`}` });
  rows.forEach((numbers, row) => {
    const bars = numbers.map((number, at) => {
      const high = number && Math.max(2, (number / top) * (HEIGHT - 6));
      return `M${(at * wide + wide * 0.08 + row * thick).toFixed(2)},${HEIGHT}v${(-high).toFixed(2)}h${thick.toFixed(2)}v${high.toFixed(2)}z`;
    });
    picture.append(svg("path", { d: bars.join(""), class: `row-${row}` }));
  });
  return el("section", { class: "chart" }, el("div", { class: "bar-row" }, el("h2", {}, title), el("span", { class: "counts" }, note)),
    picture, el("div", { class: "bar-row counts ends" }, from, el("span", { class: "space" }), to));
}

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
