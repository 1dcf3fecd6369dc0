// One task: what it was given, what came of it, and what it said. Results are other people's: shown as text, and cut.

import { askJson, askPieces } from "./api.js";
import { attemptsTable } from "./attempts.js";
import { count, el } from "./dom.js";
import { taskCard } from "./tasks.js";

const READ_BYTES = 1 << 20; // of a task or an event, at most
const SHOWN = 20_000; // characters

// What the API says of a task, as the shared parts have it.
export const lineOf = (line) => ({
  index: line.index, state: line.state, attempts: line.attempts || 0, seconds: line.duration, agent: line.agent,
  error_type: line.error?.type || "", error_message: line.error?.message || "", traceback: line.error?.traceback || "",
  stdout: line.stdout || "", stderr: line.stderr || "",
});

export async function taskParts(session, index, signal, isOpen, opened) {
  const path = `/v1/sessions/${session.id}`;
  const [task, event, attempts] = await Promise.all([read(`${path}/tasks/${index}`, signal), read(`${path}/events?start=${index}&limit=1`, signal),
    askJson(`${path}/tasks/${index}/attempts`, { signal })]);
  const found = task.value;
  return [
    found ? taskCard({ ...session, texts: true, task: lineOf(found) }) : el("p", { class: "note plain" }, `Task ${count(index)} is too large to be shown here.`),
    attemptsTable(attempts, isOpen, opened),
    el("div", { class: "pair" },
      preview("Input", event.value === null ? "A pickle, which only Python reads." : shown(event)),
      found && found.state !== "COMPLETED" ? null
        : preview("Result", found?.pickled ? "A pickle, which only Python reads." : found ? shown({ value: found.result, text: "" }) : shown(task))),
  ];
}

async function read(path, signal) {
  let text = "";
  for await (const piece of askPieces(path, { signal })) {
    text += piece;
    if (text.length > READ_BYTES) return { text, value: undefined };
  }
  return { text, value: text.trim() ? JSON.parse(text) : undefined };
}

function shown({ value, text }) {
  const all = value === undefined ? text : JSON.stringify(value, null, 2);
  return all.length > SHOWN ? `${all.slice(0, SHOWN)}\n… cut here` : all;
}

const preview = (title, text) => el("section", {}, el("h3", {}, title), el("pre", { tabindex: 0 }, text));
