// A provider of OpenID Connect, and a browser that signs in there for a hub. The provider:
//   node oidc.mjs serve PORT HUB [SECRET]
// The browser says as JSON what it got in the end:
//   node oidc.mjs login HUB NAME [other-browser|no-state|twice]
import Provider from "oidc-provider";

const [what, ...rest] = process.argv.slice(2);

function serve(port, hub, secret) {
  // Nobody listens after the one word that is waited for.
  const say = console.log;
  for (const name of ["log", "info", "warn", "error"]) console[name] = () => {};
  const method = secret ? "client_secret_basic" : "none";
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
      client_id: "kinora hub",
      client_secret: secret,
      token_endpoint_auth_method: method,
      redirect_uris: [`${hub}/api/v1/auth/oidc/callback`],
    }],
    pkce: { required: () => true },
    claims: { openid: ["sub"], profile: ["preferred_username"], email: ["email", "email_verified"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id.split("@")[0], email: `${id}@example.org`, email_verified: true }),
    }),
  });
  provider.listen(Number(port), "127.0.0.1", () => say("ready"));
}

class Browser {
  jars = new Map();

  async go(url, form) {
    const { host } = new URL(url);
    const jar = this.jars.get(host) ?? new Map();
    this.jars.set(host, jar);
    const headers = { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; ") };
    const answer = await fetch(url, {
      redirect: "manual",
      headers,
      method: form ? "POST" : "GET",
      body: form && new URLSearchParams(form),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [name, ...value] = line.split(";")[0].split("=");
      if (/max-age=0|1970/i.test(line)) jar.delete(name);
      else jar.set(name, value.join("="));
    }
    return answer;
  }
}

async function login(hub, name, trick) {
  let browser = new Browser();
  let url = `${hub}/api/v1/auth/oidc?next=/health/live`;
  for (let step = 0; step < 20; step += 1) {
    let answer = await browser.go(url);
    if (answer.status === 200 && url.includes("/interaction/")) {
      const page = await answer.text();
      const prompt = /name="prompt" value="(\w+)"/.exec(page)[1];
      const form = prompt === "login" ? { prompt, login: name, password: "x" } : { prompt };
      answer = await browser.go(url, form);
    }
    const place = answer.headers.get("location");
    const done = url.includes("/oidc/callback") || !place;
    if (done) {
      const again = trick === "twice" ? (await browser.go(url)).status : null;
      const cookies = Object.fromEntries(browser.jars.get(new URL(hub).host) ?? []);
      const text = answer.status >= 400 ? await answer.text() : "";
      console.log(JSON.stringify({ status: answer.status, place, cookies, text, again }));
      return;
    }
    url = new URL(place, url).href;
    if (url.includes("/oidc/callback")) {
      if (trick === "other-browser") browser = new Browser();
      if (trick === "no-state") url = url.replace(/state=[^&]*/, "state=");
    }
  }
  throw new Error("it goes round and round");
}

await (what === "serve" ? serve(...rest) : login(...rest));
