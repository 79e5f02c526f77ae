// Hosts actors with the official JavaScript SDK.
"use strict";
const { CommunicationProtocolEnum, DaprServer, LogLevel } = require("@dapr/dapr");
const { Ledger, report } = require("./actors_types.cjs");

const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  clientOptions: {
    daprHost: "127.0.0.1",
    daprPort: process.env.DAPR_HTTP_PORT,
    communicationProtocol: CommunicationProtocolEnum.HTTP,
    actor: {
      actorIdleTimeout: process.env.IDLE ?? "1h",
      drainOngoingCallTimeout: "5s",
      drainRebalancedActors: true,
    },
  },
  logger: { level: LogLevel.Error },
});

async function main() {
  await server.actor.init();
  await server.actor.registerActor(Ledger);
  await server.start();
  report({ event: "started" });
}

process.on("SIGTERM", () => process.exit(0));
main();
