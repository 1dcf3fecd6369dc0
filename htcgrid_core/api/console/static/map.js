// All tasks of a session on a canvas, one cell each. Where many are one pixel, the most severe of them shows: a pyramid of
// maxima, so that one failed task among a million is seen however small the map is.

import { count, el } from "./dom.js";

export const CODES = ["waiting", "completed", "cancelled", "running", "retrying", "still to be read", "failed"];
const COLOURS = ["--track", "--good", "--ended", "--busy", "--warn", "--unread", "--bad"];
const HEIGHT = 300;
const LARGEST = 22; // pixels of a cell that is not zoomed
const CLOSEST = 36;
const MARK = 5; // pixels of a failed task, at least
const MARKED = 300; // that are marked so, at most
const LINES_FROM = 5; // pixels of a cell, from which on cells are told apart by lines

export function taskMap(pick) {
  const canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": "Map of all tasks", "aria-describedby": "map-help" });
  const said = el("p", { class: "counts", "aria-live": "polite" });
  const legend = el("div", { class: "legend" });
  let codes = new Uint8Array(0);
  let levels = []; // { width, height, cells, bitmap }, each of half the size of the one before
  let columns = 1;
  let fit = 1;
  let view = { x: 0, y: 0, scale: 1 };
  let at = -1;
  let due = 0;

  const ratio = () => devicePixelRatio || 1;
  const rows = () => Math.ceil(codes.length / columns);

  function update(next) {
    const isNew = next.length !== codes.length;
    codes = next;
    if (isNew) layOut();
    else build();
    const totals = new Array(CODES.length).fill(0);
    for (const code of codes) totals[code] += 1;
    legend.replaceChildren(...totals.map((number, code) => ({ number, code })).filter(({ number }) => number).map(({ number, code }) =>
      el("span", {}, el("i", { class: `code-${code}` }), `${CODES[code]} ${count(number)}`)));
    canvas.setAttribute("aria-label", `Map of ${count(codes.length)} tasks: ${totals.map((number, code) => number && `${count(number)} ${CODES[code]}`).filter(Boolean).join(", ")}`);
  }

  function layOut() {
    const width = canvas.clientWidth || 600;
    const size = Math.min(LARGEST, Math.sqrt((width * HEIGHT) / Math.max(1, codes.length)));
    const whole = size >= 2 ? Math.floor(size) : size;
    columns = Math.max(1, Math.min(codes.length, Math.floor(width / whole)));
    fit = Math.min(whole, width / columns, HEIGHT / rows());
    canvas.style.height = `${Math.max(24, Math.ceil(rows() * fit))}px`;
    canvas.width = Math.round(width * ratio());
    canvas.height = Math.round(canvas.clientHeight * ratio());
    view = { x: 0, y: 0, scale: fit };
    build();
  }

  function build() {
    let [width, height] = [columns, rows()];
    let cells = new Uint8Array(width * height); // 0 is nothing, and below every state
    for (let index = 0; index < codes.length; index += 1) cells[index] = codes[index] + 1;
    levels = [{ width, height, cells }];
    while (width > 32 || height > 32) {
      [cells, width, height] = halved(cells, width, height);
      levels.push({ width, height, cells });
    }
    paintSoon();
  }

  function paintSoon() {
    if (!due) due = requestAnimationFrame(paint);
  }

  function paint() {
    due = 0;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!codes.length) return;
    const scale = view.scale * ratio();
    const number = Math.min(levels.length - 1, Math.max(0, Math.ceil(Math.log2(1 / scale))));
    const level = levels[number];
    level.bitmap ??= bitmap(level);
    const cell = scale * 2 ** number;
    context.imageSmoothingEnabled = false;
    context.drawImage(level.bitmap, -view.x * scale, -view.y * scale, level.width * cell, level.height * cell);
    if (cell < MARK * ratio()) marks(context, level, cell, scale);
    if (view.scale >= LINES_FROM) lines(context, scale);
    if (at >= 0) outline(context, scale);
    canvas.dataset.painted = codes.length;
    canvas.dataset.view = `${view.x.toFixed(2)},${view.y.toFixed(2)},${view.scale.toFixed(3)}`;
  }

  // Of failed tasks that are smaller than what the eye finds, and not told by colour alone.
  function marks(context, level, cell, scale) {
    level.worst ??= worst(level);
    const style = getComputedStyle(document.documentElement);
    const size = MARK * ratio();
    for (const [fill, grown] of [["--paper", 2 * ratio()], ["--bad", 0]]) {
      context.fillStyle = style.getPropertyValue(fill);
      for (const place of level.worst) {
        const x = ((place % level.width) + 0.5) * cell - view.x * scale;
        const y = (Math.floor(place / level.width) + 0.5) * cell - view.y * scale;
        context.fillRect(x - (size + grown) / 2, y - (size + grown) / 2, size + grown, size + grown);
      }
    }
  }

  function lines(context, scale) {
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
    const thick = Math.max(1, Math.round(ratio()));
    for (let x = Math.floor(view.x); (x - view.x) * scale < canvas.width; x += 1) context.fillRect(Math.round((x - view.x) * scale), 0, thick, canvas.height);
    for (let y = Math.floor(view.y); (y - view.y) * scale < canvas.height; y += 1) context.fillRect(0, Math.round((y - view.y) * scale), canvas.width, thick);
  }

  function outline(context, scale) {
    const size = Math.max(scale, 6 * ratio());
    const [x, y] = [at % columns, Math.floor(at / columns)].map((place, axis) => (place + 0.5 - (axis ? view.y : view.x)) * scale - size / 2);
    context.lineWidth = 2 * ratio();
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    context.strokeRect(x, y, size, size);
  }

  function move(x, y, scale = view.scale) {
    const [wide, high] = [canvas.clientWidth / scale, canvas.clientHeight / scale];
    view = { scale, x: Math.max(0, Math.min(x, columns - wide)), y: Math.max(0, Math.min(y, rows() - high)) };
    canvas.classList.toggle("zoomed", scale > fit);
    paintSoon();
  }

  // The cell under a place of the canvas stays under it.
  function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
    const scale = Math.max(fit, Math.min(Math.max(CLOSEST, fit), view.scale * factor));
    move(view.x + px / view.scale - px / scale, view.y + py / view.scale - py / scale, scale);
  }

  function look(index, { follow = true } = {}) {
    at = Math.max(0, Math.min(codes.length - 1, index));
    said.textContent = `Task ${count(at)}: ${CODES[codes[at]]}`;
    const [x, y] = [at % columns, Math.floor(at / columns)];
    const [wide, high] = [canvas.clientWidth / view.scale, canvas.clientHeight / view.scale];
    const isSeen = x >= view.x && x < view.x + wide && y >= view.y && y < view.y + high;
    if (follow && !isSeen) move(x - wide / 2, y - high / 2);
    else paintSoon();
  }

  function nextFailed() {
    const worst = CODES.length - 1;
    let found = codes.indexOf(worst, at + 1);
    if (found < 0) found = codes.indexOf(worst);
    if (found < 0) {
      said.textContent = "No task has failed.";
      return;
    }
    look(found);
    canvas.focus();
  }

  const indexAt = (event) => {
    const [x, y] = [Math.floor(view.x + event.offsetX / view.scale), Math.floor(view.y + event.offsetY / view.scale)];
    const index = y * columns + x;
    return x >= 0 && x < columns && index < codes.length ? index : -1;
  };

  let grabbed = null;
  canvas.addEventListener("pointerdown", (event) => {
    grabbed = { x: event.offsetX, y: event.offsetY, from: view, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) {
      const index = indexAt(event);
      if (index >= 0) said.textContent = `Task ${count(index)}: ${CODES[codes[index]]}`;
      return;
    }
    const [dx, dy] = [event.offsetX - grabbed.x, event.offsetY - grabbed.y];
    grabbed.moved ||= Math.hypot(dx, dy) > 4;
    if (grabbed.moved) move(grabbed.from.x - dx / view.scale, grabbed.from.y - dy / view.scale);
  });
  canvas.addEventListener("pointerup", (event) => {
    const index = grabbed && !grabbed.moved ? indexAt(event) : -1;
    grabbed = null;
    if (index < 0) return;
    look(index, { follow: false });
    pick(index);
  });
  canvas.addEventListener("pointercancel", () => { grabbed = null; });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls, as pages do
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity };
    const keys = { "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => move(0, 0, fit), n: nextFailed,
      Enter: () => at >= 0 && pick(at) };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) look(at < 0 && Math.abs(steps[event.key]) < Infinity ? 0 : at + steps[event.key]);
    else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
  });

  const button = (text, label, onclick) => el("button", { type: "button", class: "plain", "aria-label": label, title: label, onclick }, text);
  const tools = el("div", { class: "bar-row tools" }, legend, el("span", { class: "space" }),
    button("next failed", "Go to the next failed task", nextFailed), button("−", "Smaller", () => zoom(1 / 2)),
    button("+", "Larger", () => zoom(2)), button("fit", "Fit the whole map", () => move(0, 0, fit)));
  const help = el("p", { class: "hidden", id: "map-help" }, "Arrows move from task to task, plus and minus zoom, n goes to the next failed task, Enter opens a task.");

  let width = 0;
  const resized = new ResizeObserver(() => {
    if (canvas.clientWidth !== width && codes.length) layOut();
    width = canvas.clientWidth;
  });
  const themed = new MutationObserver(build);
  resized.observe(canvas);
  themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  const close = () => {
    resized.disconnect();
    themed.disconnect();
  };
  return { element: el("div", { class: "map" }, tools, canvas, said, help), update, close };
}

function halved(cells, width, height) {
  const [wide, high] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const found = new Uint8Array(wide * high);
  for (let y = 0; y < height; y += 1) {
    const to = (y >> 1) * wide;
    const from = y * width;
    for (let x = 0; x < width; x += 1) {
      const cell = cells[from + x];
      if (cell > found[to + (x >> 1)]) found[to + (x >> 1)] = cell;
    }
  }
  return [found, wide, high];
}

function worst({ cells }) {
  const found = [];
  for (let at = cells.indexOf(CODES.length); at >= 0 && found.length <= MARKED; at = cells.indexOf(CODES.length, at + 1)) found.push(at);
  return found.length <= MARKED ? found : []; // so many are seen as they are
}

function bitmap({ width, height, cells }) {
  const style = getComputedStyle(document.documentElement);
  const palette = new Uint32Array([0, ...COLOURS.map((name) => pixel(style.getPropertyValue(name).trim()))]);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < cells.length; at += 1) pixels[at] = palette[cells[at]];
  const found = new OffscreenCanvas(width, height);
  found.getContext("2d").putImageData(image, 0, 0);
  return found;
}

// #rrggbb as a pixel in memory: red first, and the machine is little endian.
function pixel(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}
