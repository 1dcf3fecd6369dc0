// AWS's SDK for JavaScript, as it is, on a grid: prints what came back, as JSON.
import { createRequire } from "node:module";

const require = createRequire(process.argv[2]);
const { InvokeCommand, LambdaClient, ListFunctionsCommand } = require("@aws-sdk/client-lambda");

const client = new LambdaClient({ endpoint: process.env.HTCGRID_URL, region: "eu-west-1" });
const text = (payload) => (payload?.length ? JSON.parse(Buffer.from(payload).toString()) : null);

async function invoke(event, options = {}) {
  const answer = await client.send(
    new InvokeCommand({ FunctionName: "echo", Payload: JSON.stringify(event), ...options }),
  );
  return {
    status: answer.StatusCode,
    error: answer.FunctionError ?? null,
    payload: text(answer.Payload),
    log: answer.LogResult ? Buffer.from(answer.LogResult, "base64").toString() : null,
    id: answer.$metadata.requestId,
  };
}

async function refused(command) {
  try {
    await client.send(command);
  } catch (error) {
    return [error.name, error.$metadata?.httpStatusCode, error.$metadata?.attempts];
  }
  return null;
}

const large = await invoke("x".repeat(3_000_000));
console.log(
  JSON.stringify({
    tail: await invoke({ book: 1 }, { LogType: "Tail" }),
    event: await invoke(2, { InvocationType: "Event" }),
    dry: await invoke(3, { InvocationType: "DryRun" }),
    raised: await invoke("raise"),
    many: (await Promise.all(Array.from({ length: 20 }, (_, n) => invoke(n)))).map((one) => one.payload),
    large: large.payload.length,
    missing: await refused(new InvokeCommand({ FunctionName: "nobodys" })),
    denied: await refused(new ListFunctionsCommand({})),
  }),
);
