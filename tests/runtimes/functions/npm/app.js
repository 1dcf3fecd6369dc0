// The same handler as in Python, called by AWS's client for Node.
const fs = require("fs");
const path = require("path");

const forever = () => new Promise((resolve) => setTimeout(resolve, 60_000));

const handlers = {
  tell: (event, context) => ({
    request_id: context.awsRequestId,
    function: context.functionName,
    version: context.functionVersion,
    memory_mb: Number(context.memoryLimitInMB),
    milliseconds_left: context.getRemainingTimeInMillis(),
    desk: process.env.DESK,
    folder: path.basename(process.cwd()),
    secret: process.env.HTCGRID_TEST_SECRET || "",
  }),
  print: (event) => {
    process.stdout.write(`to stdout ${event.n}\n`); // console.log is AWS's: with time and request id
    process.stderr.write(`to stderr ${event.n}\n`);
    return event.n;
  },
  raise: (event) => {
    const error = new Error(`no price for desk ${event.n}`);
    error.name = "ValueError";
    throw error;
  },
  exit_hard: () => process.exit(7),
  kill_self: () => process.kill(process.pid, "SIGKILL"),
  meet: async (event) => {
    fs.writeFileSync(`${event.folder}/${event.n}-${process.pid}`, "");
    while (fs.readdirSync(event.folder).length < event.count) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return process.pid;
  },
  sleep: forever,
  sleep_with_child: (event) => {
    const child = require("child_process").spawn("sleep", ["60"], { stdio: "ignore" });
    fs.writeFileSync(event.file, String(child.pid));
    return forever();
  },
  huge: () => "x".repeat(65 << 20),
};

exports.handler = async (event, context) => {
  const handler = (event && handlers[event.how]) || ((same) => same);
  return handler(event, context);
};
