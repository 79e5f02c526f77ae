// The actors of actors_app.cjs; clients need only the names of their methods.
"use strict";
const { AbstractActor, Temporal } = require("@dapr/dapr");

function report(seen) {
  process.stdout.write(JSON.stringify(seen) + "\n");
}

function duration(milliseconds) {
  return milliseconds === undefined ? undefined : Temporal.Duration.from({ milliseconds });
}

class Ledger extends AbstractActor {
  fired = 0;

  async onActivate() {
    report({ event: "activate", actor: this.getActorId().getId() });
  }

  async onDeactivate() {
    report({ event: "deactivate", actor: this.getActorId().getId() });
  }

  async where() {
    return process.env.APP_NAME;
  }

  async echo(data) {
    return { echo: data, id: this.getActorId().getId() };
  }

  async put(key, value) {
    await this.getStateManager().setState(key, value);
    await this.getStateManager().saveState();
  }

  async read(key) {
    const [found, value] = await this.getStateManager().tryGetState(key);
    return { found, value: found ? value : null };
  }

  async drop(key) {
    return { removed: await this.getStateManager().tryRemoveState(key) };
  }

  async fail(message) {
    throw new Error(message);
  }

  async call(id) {
    const { ActorProxyBuilder, ActorId } = require("@dapr/dapr");
    const other = new ActorProxyBuilder(Ledger, this.getDaprClient()).build(new ActorId(id));
    return { through: this.getActorId().getId(), got: await other.echo("from an actor") };
  }

  async startTimer(name, callback, due, period, data) {
    await this.registerActorTimer(name, callback, duration(due), duration(period), undefined, data);
  }

  async tick(data) {
    this.fired += 1;
    report({ event: "timer", actor: this.getActorId().getId(), data, count: this.fired });
  }

  async tickUntilThree(data) {
    await this.tick(data);
    if (this.fired === 3) {
      await this.unregisterActorTimer("stops");
      report({ event: "timer stopped", actor: this.getActorId().getId() });
    }
  }

  async remind(name, due, period, data) {
    await this.registerActorReminder(name, duration(due), duration(period), undefined, data);
  }

  async forget(name) {
    await this.unregisterActorReminder(name);
  }

  async receiveReminder(data) {
    this.fired += 1;
    report({ event: "reminder", actor: this.getActorId().getId(), data, count: this.fired });
    if (this.fired === 3) {
      await this.unregisterActorReminder("periodic");
      report({ event: "reminder stopped", actor: this.getActorId().getId() });
    }
  }
}

module.exports = { Ledger, report };
