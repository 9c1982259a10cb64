// Verifies requests that tripline sent with standardwebhooks from npm.
//
// Input: {"requests": [{"headers", "body"}, …], "secrets": ["whsec_…"]}.
// Output: for each request a list with a verdict for each secret: "ok" or why not.

const { Webhook } = require("standardwebhooks");

function verdict(request, secret) {
  try {
    new Webhook(secret).verify(request.body, request.headers);
    return "ok";
  } catch (error) {
    return error.message;
  }
}

const wanted = JSON.parse(require("fs").readFileSync(0, "utf8"));
const verdicts = wanted.requests.map((request) =>
  wanted.secrets.map((secret) => verdict(request, secret)),
);
process.stdout.write(JSON.stringify(verdicts));
