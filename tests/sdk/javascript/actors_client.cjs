// Calls the actors of actors_app.cjs by the official JavaScript SDK's proxies; prints what it saw.
"use strict";
const {
  ActorId,
  ActorProxyBuilder,
  CommunicationProtocolEnum,
  DaprClient,
  LogLevel,
} = require("@dapr/dapr");
const { Ledger } = require("./actors_types.cjs");

const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: process.env.DAPR_HTTP_PORT,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  logger: { level: LogLevel.Error },
});
const builder = new ActorProxyBuilder(Ledger, client);

function ledger(name) {
  return builder.build(new ActorId(name));
}

const sections = {
  async proxies() {
    const one = ledger("an id@with spaces");
    return { where: await one.where(), echo: await one.echo({ n: [1, "é", null] }) };
  },
  async grpc() {
    const over = new DaprClient({
      daprHost: "127.0.0.1",
      daprPort: process.env.DAPR_GRPC_PORT,
      communicationProtocol: CommunicationProtocolEnum.GRPC,
      logger: { level: LogLevel.Error },
    });
    const one = new ActorProxyBuilder(Ledger, over).build(new ActorId("over gRPC"));
    try {
      return await one.echo({ n: [1, "é", null] });
    } finally {
      await over.stop();
    }
  },
  async state() {
    const one = ledger("state");
    await one.put("a", { deep: [1, 2] });
    await one.put("b", "text");
    return {
      a: await one.read("a"),
      missing: await one.read("never"),
      removed: await one.drop("b"),
      b: await one.read("b"),
    };
  },
  async chain() {
    return ledger("first").call("second");
  },
  async error() {
    try {
      return { answered: await ledger("errors").fail("out of ink") };
    } catch (error) {
      return { raised: String(error.message) };
    }
  },
  async works() {
    return ledger("errors").echo(1);
  },
  // What the SDK's host gets as an object it turns into "[object Object]": text is what works.
  async timers() {
    await ledger("timers").startTimer("once", "tick", 200, undefined, "timed");
    await ledger("counting").startTimer("stops", "tickUntilThree", 0, 200, "x");
    return null;
  },
  async reminders() {
    await ledger("reminders").remind("once", 200, undefined, "reminded");
    await ledger("periodic").remind("periodic", 100, 300, "text");
    await ledger("reminders").remind("gone", 600000, undefined, "x");
    await ledger("reminders").remind("later", 600000, 60000, "kept");
    await ledger("reminders").forget("gone");
    return null;
  },
};

async function main() {
  const seen = {};
  for (const [name, section] of Object.entries(sections)) {
    try {
      seen[name] = (await section()) ?? null;
    } catch (error) {
      seen[name] = { raised: String(error.stack) };
    }
  }
  process.stdout.write(JSON.stringify(seen) + "\n");
  process.exit(0);
}

main();
