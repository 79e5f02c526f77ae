// A client built on the official JavaScript SDK; its argument is the protocol: http or grpc.
"use strict";
const { CommunicationProtocolEnum, DaprClient, HttpMethod, LogLevel } = require("@dapr/dapr");

const grpc = process.argv[2] === "grpc";
const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: grpc ? process.env.DAPR_GRPC_PORT : process.env.DAPR_HTTP_PORT,
  communicationProtocol: grpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP,
  logger: { level: LogLevel.Error },
});
const store = "statestore";
const prefix = process.argv[2];

// How the SDK presents a failed call.
async function errorOf(call) {
  try {
    const answer = await call();
    return answer && answer.error ? String(answer.error.message ?? answer.error) : "none";
  } catch (error) {
    return String((error.error ?? error).message); // over gRPC some calls throw { error }
  }
}

const sections = {
  async state() {
    await client.state.save(store, [
      { key: `${prefix}-1`, value: { a: 1 } },
      { key: `${prefix}-2`, value: "text" },
    ]);
    const one = await client.state.get(store, `${prefix}-1`);
    const bulk = await client.state.getBulk(store, [`${prefix}-1`, `${prefix}-2`]);
    const etag = bulk.find((item) => item.key === `${prefix}-1`).etag;
    const stale = await errorOf(() => client.state.delete(store, `${prefix}-1`, { etag: "99" }));
    await client.state.delete(store, `${prefix}-1`, { etag });
    return {
      one,
      bulk: Object.fromEntries(bulk.map((item) => [item.key.slice(5), item.data])),
      stale,
      deleted: await client.state.get(store, `${prefix}-1`),
    };
  },
  async transaction() {
    await client.state.transaction(store, [
      { operation: "upsert", request: { key: `${prefix}-t`, value: "new" } },
      { operation: "delete", request: { key: `${prefix}-2` } },
    ]);
    return [
      await client.state.get(store, `${prefix}-t`),
      await client.state.get(store, `${prefix}-2`),
    ];
  },
  async publish() {
    await client.pubsub.publish("pubsub", "orders", { id: 1, by: prefix });
    await client.pubsub.publish("pubsub", "orders", `text by ${prefix}`);
    const bulk = await client.pubsub.publishBulk("pubsub", "bulk", [
      { b: 1, by: prefix },
      { b: 2, by: prefix },
    ]);
    return {
      failed: bulk.failedMessages.length,
      error: await errorOf(() => client.pubsub.publish("nowhere", "t", { a: 1 })),
    };
  },
  async invoke() {
    const app = process.env.APP_ID;
    return {
      post: await client.invoker.invoke(app, "echo", HttpMethod.POST, { x: 1 }),
      get: await client.invoker.invoke(app, "hello", HttpMethod.GET),
      unknown: await errorOf(() => client.invoker.invoke("no-such-app", "m", HttpMethod.GET)),
    };
  },
  async secret() {
    return {
      one: await client.secret.get("secrets", "plain"),
      bulk: await client.secret.getBulk("secrets"),
      missing: await errorOf(() => client.secret.get("secrets", "nope")),
    };
  },
  async lock() {
    const taken = await client.lock.lock("lockstore", `${prefix}-door`, "me", 60);
    const refused = await client.lock.lock("lockstore", `${prefix}-door`, "you", 60);
    const freed = await client.lock.unlock("lockstore", `${prefix}-door`, "me");
    return [taken.success, refused.success, freed.status];
  },
  async binding() {
    await client.binding.send("redis", "create", `bound ${prefix}`, { key: `${prefix}-b` });
    const answer = await client.binding.send("redis", "get", "", { key: `${prefix}-b` });
    return answer.data ? Buffer.from(answer.data).toString() : answer;
  },
  async metadata() {
    await client.metadata.set("made-by", prefix);
    const found = await client.metadata.get();
    const extended = found.extendedMetadata ?? found.extended;
    const components = (found.components ?? found.registeredComponents ?? []).map((c) => c.name);
    return {
      id: found.id,
      madeBy: typeof extended.get === "function" ? extended.get("made-by") : extended["made-by"],
      components: components.sort(),
    };
  },
  async health() {
    return await client.health.isHealthy();
  },
};

if (grpc) {
  sections.configuration = async () => {
    const first = await client.configuration.get("configstore", ["color"]);
    let changed;
    const change = new Promise((resolve) => (changed = resolve));
    const stream = await client.configuration.subscribeWithKeys("configstore", ["color"], changed);
    // The SDK says nothing when its subscription stands: change until the change is seen.
    const timer = setInterval(
      () => client.binding.send("redis", "create", "blue||2", { key: "color" }),
      100,
    );
    const data = await change;
    clearInterval(timer);
    stream.stop();
    return { first: first.items.color.value, change: data.items.color.value };
  };
}

async function main() {
  const seen = {};
  await client.start();
  for (const [name, run] of Object.entries(sections)) {
    try {
      seen[name] = (await run()) ?? null;
    } catch (error) {
      seen[name] = { raised: String(error.stack) };
    }
  }
  await client.stop();
  process.stdout.write(JSON.stringify(seen) + "\n", () => process.exit(0));
}

main();
