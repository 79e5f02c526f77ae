// An application built on the official JavaScript SDK; its argument is the protocol: http or grpc.
"use strict";
const { CommunicationProtocolEnum, DaprServer, HttpMethod, LogLevel } = require("@dapr/dapr");

const grpc = process.argv[2] === "grpc";
const communicationProtocol = grpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP;
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol,
  clientOptions: {
    daprHost: "127.0.0.1",
    daprPort: grpc ? process.env.DAPR_GRPC_PORT : process.env.DAPR_HTTP_PORT,
    communicationProtocol,
  },
  logger: { level: LogLevel.Error },
});

function report(seen) {
  process.stdout.write(JSON.stringify(seen) + "\n");
}

async function main() {
  await server.pubsub.subscribe("pubsub", "orders", async (data) => {
    report({ route: "orders", data });
  });
  await server.pubsub.subscribeBulk("pubsub", "bulk", async (data) => {
    report({ route: "bulk", data });
  });
  await server.invoker.listen(
    "echo",
    async (request) => ({ echo: JSON.parse(request.body), type: request.metadata.contentType }),
    { method: HttpMethod.POST },
  );
  await server.invoker.listen("hello", async () => ({ hello: "world" }), {
    method: HttpMethod.GET,
  });
  await server.binding.receive("tick", async (data) => {
    report({ route: "tick", data: data ?? null });
  });
  await server.start();
  report({ route: "started" });
}

process.on("SIGTERM", () => process.exit(0));
main();
