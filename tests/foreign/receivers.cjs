// Receivers in the style of Kii's server code and of DreamFactory's scripts.
//
// Input, its first line: {}. Output: a line {"port"}; then, when the input ends, path -> what the
// receiver there understood, one call after the other.

const http = require("http");
const readline = require("readline");

// Kii: functions of the server code by the name of their endpoint.
const endpoints = {
  "on-score": (params, context) => [
    context.getAppID(),
    params.objectScope.userID,
    params.bucketID,
    params.objectID,
    params.uri,
  ],
  "on-user": (params, _context) => [params.userID],
};

function kii(body) {
  const { params, context } = JSON.parse(body);
  const endpoint = endpoints[context.endpoint];
  if (!endpoint) throw new Error(`there is no endpoint ${context.endpoint}`);
  return endpoint(params, { getAppID: () => context.appID, getAccessToken: () => null });
}

// DreamFactory: the text of a script, which finds `event`.
const script = `
  var answer = [event.request.method, event.request.service, event.resource];
  if (event.response) answer.push(event.response.status_code);
  return answer;
`;

function dreamfactory(body) {
  return new Function("event", "platform", script)(JSON.parse(body), {});
}

const receivers = { "/kii": kii, "/dreamfactory": dreamfactory };
const seen = {};

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    let understood;
    try {
      understood = receivers[request.url](Buffer.concat(chunks).toString("utf8"));
      response.statusCode = 200;
    } catch (error) {
      understood = { refused: error.message };
      response.statusCode = 400;
    }
    (seen[request.url] ??= []).push(understood);
    response.end();
  });
});

server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
readline.createInterface({ input: process.stdin }).on("close", () => {
  process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0));
});
