// Looking again and again while somebody sees it, and a session's progress as it is told.

import { askPieces, passes, query } from "./api.js";

const AGAIN_MS = 1000;
const SLOWEST_MS = 15_000; // between two tries while the server cannot be reached
const failing = new Map(); // what cannot be looked at for now, and why

const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

// A browser opens six connections to a server: a tab that is not seen must not keep one of them.
const shown = (signal) => new Promise((done) => {
  const look = () => {
    if (document.hidden && !signal.aborted) return;
    document.removeEventListener("visibilitychange", look);
    done();
  };
  document.addEventListener("visibilitychange", look);
  signal.addEventListener("abort", look, { once: true });
  look();
});

function tellTrouble(who, error) {
  if (error) failing.set(who, error.message);
  else failing.delete(who);
  const note = document.getElementById("trouble");
  const [why] = failing.values();
  const text = failing.size ? `${why} What is shown may be old; the page keeps trying.` : "";
  if (note.textContent !== text) note.textContent = text;
  note.hidden = !text;
}

// Until refresh(well) returns no time after which to look again. What passes by itself is tried again, ever more rarely, with
// what was last seen still there; what does not is told to failed(), and ends it.
// A refresh that goes on waiting once it has seen something says so with well().
export async function repeat(signal, refresh, failed) {
  const who = {};
  let tries = 0;
  const well = () => {
    tries = 0;
    tellTrouble(who, null);
  };
  try {
    while (!signal.aborted) {
      await shown(signal);
      if (signal.aborted) return;
      let wait;
      try {
        wait = await refresh(well);
        well();
      } catch (error) {
        if (signal.aborted) return;
        if (!passes(error)) {
          failed(error);
          return;
        }
        tellTrouble(who, error);
        wait = Math.min(SLOWEST_MS, AGAIN_MS * 2 ** tries);
        tries += 1;
      }
      if (wait === undefined) return;
      await pause(wait, signal);
    }
  } finally {
    tellTrouble(who, null);
  }
}

// A session's progress over one stream, which ends while its tab is hidden; with that many seconds between two events.
export async function watch(id, everySeconds, signal, tell, failed) {
  await repeat(signal, async (well) => {
    const seen = new AbortController();
    const stop = () => seen.abort();
    const hidden = () => document.hidden && stop();
    signal.addEventListener("abort", stop, { once: true });
    document.addEventListener("visibilitychange", hidden);
    try {
      return (await follow(id, everySeconds, seen.signal, (now) => { well(); tell(now); })) ? undefined : AGAIN_MS;
    } catch (error) {
      if (seen.signal.aborted) return AGAIN_MS;
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      document.removeEventListener("visibilitychange", hidden);
    }
  }, failed);
}

async function follow(id, everySeconds, signal, tell) {
  let text = "";
  for await (const piece of askPieces(`/v1/sessions/${id}/watch${query({ every: everySeconds })}`, { signal })) {
    const events = (text + piece).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const lines = event.split("\n").map((line) => line.split(/: ?(.*)/s));
      const { event: name, data } = Object.fromEntries(lines);
      if (data) tell(JSON.parse(data));
      if (name === "end") return true;
    }
  }
  return false;
}
