// Handlers that stream, and one whose result is no JSON.
const handlers = {
  whole: async (stream) => {
    stream.write('{"streamed":');
    stream.write("true}");
    stream.end();
  },
  fails_midway: async (stream) => {
    stream.write('{"half":1}');
    const error = new Error("no curve");
    error.name = "PricingError";
    throw error;
  },
  cut_off: async (stream) => {
    stream.write('{"half":1}');
    await new Promise((resolve) => setTimeout(resolve, 100));
    stream.destroy();
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  },
};

exports.handler = awslambda.streamifyResponse(async (event, stream) => handlers[event](stream));
exports.cyclic = async () => {
  const result = {};
  result.itself = result;
  return result;
};
