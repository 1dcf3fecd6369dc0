// Asking the server: the cookie goes by itself, the page's half of the sign-in as a header.

// Where the server's paths begin, whatever a proxy has put before them: this file is at ROOT/console/static/.
export const ROOT = new URL("../../", import.meta.url).pathname;
export const HOME = `${ROOT}console/`;
const HEADER = "htcgrid-console";
const HALF = HEADER + ROOT; // two grids behind one proxy are two sign-ins

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Unreachable extends Error {}

// What is over when the server, or the way there, is well again.
export const passes = (error) => error instanceof Unreachable || (error instanceof Refused && (error.status >= 500 || error.status === 429));

const reached = (promise) => promise.catch((error) => {
  throw error.name === "AbortError" ? error : new Unreachable("The server cannot be reached.");
});

export const isSignedIn = () => localStorage.getItem(HALF) !== null;

const half = () => (isSignedIn() ? { [HEADER]: localStorage.getItem(HALF) } : {});

async function problem(answer) {
  const told = await answer.json().catch(() => ({}));
  return new Refused(answer.status, told.detail || told.title || `the server answered ${answer.status}`);
}

export async function ask(path, { method = "GET", body, signal, headers } = {}) {
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await reached(fetch(ROOT + path.slice(1), { method, signal, headers: { ...half(), ...json, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body) }));
  if (!answer.ok) throw await problem(answer);
  return answer;
}

export const askJson = async (path, options) => reached((await ask(path, options)).json());

export const askBytes = async (path, options) => new Uint8Array(await reached((await ask(path, options)).arrayBuffer()));

export async function askLines(path, options) {
  const text = await reached((await ask(path, options)).text());
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

// The pieces of an answer as they come.
export async function* askPieces(path, options) {
  const reader = (await ask(path, options)).body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reached(reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // whoever stops early wants no more of it
  }
}

export async function signIn(with_) {
  const { page } = await askJson("/console/sign-in", { method: "POST", body: { ...with_, root: ROOT } });
  localStorage.setItem(HALF, page); // this origin's alone: other tabs have it too, other ports have not
}

export async function signOut() {
  await ask("/console/sign-out", { method: "POST" }).finally(() => localStorage.removeItem(HALF));
}

export const query = (values) => {
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const given = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};
