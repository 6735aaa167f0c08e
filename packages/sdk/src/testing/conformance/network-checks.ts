// What every network driver must hold to: one check for each sentence, each a plain function.
import assert from "node:assert/strict";
import { networkVerbs } from "../../wire/network-verbs.ts";
import { Bodies, idOf, sampleEndpoint, sampleNetwork } from "./bodies.ts";
import type { SampleEndpoint } from "./bodies.ts";
import { isDelete, networkLife } from "./network-life.ts";
import type { Step } from "./network-life.ts";
import { Rig } from "./rig.ts";
import type { Outcome } from "./rig.ts";
import type { HostFactory, NetworkConformanceOptions } from "./subject.ts";

/** One rule. Rejects, with what was wrong, when the driver breaks it. */
export interface Check<Options> {
  /** The rule as a sentence about the driver. */
  readonly name: string;
  readonly run: (factory: HostFactory, options: Options) => Promise<void>;
}

/** A successful answer; the verbs that a driver may lack may also answer 404. */
export async function mustDo(rig: Rig, { method, body, optional }: Step): Promise<Outcome> {
  const outcome = await rig.call(`NetworkDriver.${method}`, body);
  if (outcome.error === "" || (optional === true && outcome.status === 404)) return outcome;
  throw new Error(`${method} must succeed, but answered: ${outcome.error}`);
}

function mustRefuse(what: string, { error, status }: Outcome): void {
  assert.notEqual(error, "", `${what} must be refused, but was a success`);
  assert.notEqual(status, undefined, `${what} must be refused, but was not answered: ${error}`);
  assert.notEqual(status, 404, `${what} must be refused with a reason: ${error}`);
}

const repeats: Check<NetworkConformanceOptions> = {
  name: "answers a repeated call as it answered the first",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    for (const step of networkLife(options)) {
      const first = await mustDo(rig, step);
      const second = await mustDo(rig, step);
      assert.deepEqual(second.reply, first.reply, `${step.method} answered otherwise when repeated`);
    }
    await rig.mustLeaveNothing("after a life in which every call came twice");
  },
};

const repeatsAfterRestart: Check<NetworkConformanceOptions> = {
  name: "answers a call that is repeated to the next process as the last one did",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    for (const step of networkLife(options)) {
      const first = await mustDo(rig, step);
      await rig.killAndStart();
      const second = await mustDo(rig, step);
      assert.deepEqual(second.reply, first.reply, `${step.method} answered otherwise after a restart`);
    }
    await rig.mustLeaveNothing("after a life in which every call came to two processes");
  },
};

const lateDeletes: Check<NetworkConformanceOptions> = {
  name: "lets deletes of what it does not know succeed",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(options);
    const network = sampleNetwork(1);
    const stranger = sampleEndpoint(sampleNetwork(2), 9);
    const removeAll = async (endpoint: SampleEndpoint): Promise<void> => {
      const body = bodies.endpoint(endpoint);
      await mustDo(rig, { method: "RevokeExternalConnectivity", body, optional: true, onFailure: [] });
      await mustDo(rig, { method: "Leave", body, onFailure: [] });
      await mustDo(rig, { method: "DeleteEndpoint", body, onFailure: [] });
    };
    await removeAll(stranger);
    await rig.must("NetworkDriver.DeleteNetwork", { NetworkID: idOf("nobody's network") });
    await rig.must("NetworkDriver.CreateNetwork", bodies.createNetwork(network));
    await removeAll(sampleEndpoint(network, 9));
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
    await rig.mustLeaveNothing("after deletes of what never was");
  },
};

const operInfo: Check<NetworkConformanceOptions> = {
  name: "never fails EndpointOperInfo, for which 20.10 and 26.1 would refuse to start a container",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const unknown = sampleEndpoint(sampleNetwork(2), 9);
    await rig.must("NetworkDriver.EndpointOperInfo", new Bodies(options).endpoint(unknown));
  },
};

const emptyBodies: Check<NetworkConformanceOptions> = {
  name: "refuses a call that lost its body, and does nothing",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const life = networkLife(options);
    const made = life.filter((step) => !isDelete(step));
    for (const step of made) await mustDo(rig, step);
    const before = await rig.host.inventory();
    for (const [verb, { needsBody }] of Object.entries(networkVerbs)) {
      if (needsBody) mustRefuse(`${verb} with an empty body`, await rig.call(verb));
    }
    assert.deepEqual(await rig.host.inventory(), before, "a call without a body changed something");
    for (const step of life.filter(isDelete)) await mustDo(rig, step);
    await rig.mustLeaveNothing("after calls without a body");
  },
};

const replies: Check<NetworkConformanceOptions> = {
  name: "never answers a field of an endpoint that dockerd has decided",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(options);
    const network = sampleNetwork(1);
    const endpoint = sampleEndpoint(network, 2);
    await rig.must("NetworkDriver.CreateNetwork", bodies.createNetwork(network));
    for (let time = 1; time <= 2; time += 1) {
      const body = bodies.createEndpoint(endpoint, options.chosenMac === false ? undefined : "02:42:c0:ff:ee:01");
      const reply = await rig.must("NetworkDriver.CreateEndpoint", body);
      const answered = (reply.Interface ?? {}) as Readonly<Record<string, unknown>>;
      for (const [name, given] of Object.entries(body.Interface as Record<string, string>)) {
        assert.ok(given === "" || !answered[name], `the reply repeats ${name}, which dockerd takes for a change`);
      }
    }
    await rig.must("NetworkDriver.DeleteEndpoint", bodies.endpoint(endpoint));
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
  },
};

const internal: Check<NetworkConformanceOptions> = {
  name: "names no gateway on an internal network, where dockerd would install it",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(options);
    const network = sampleNetwork(1);
    const endpoint = sampleEndpoint(network, 2);
    const wish = bodies.createNetwork(network, { internal: true });
    if (options.internal === false) {
      mustRefuse("an internal network", await rig.call("NetworkDriver.CreateNetwork", wish));
      await rig.mustLeaveNothing("after an internal network was refused");
      return;
    }
    await rig.must("NetworkDriver.CreateNetwork", wish);
    await rig.must("NetworkDriver.CreateEndpoint", bodies.createEndpoint(endpoint));
    const reply = await rig.must("NetworkDriver.Join", bodies.join(endpoint));
    for (const name of ["Gateway", "GatewayIPv6"])
      assert.ok(!reply[name], `Join on an internal network named a ${name}`);
    const ids = bodies.endpoint(endpoint);
    // Revoke comes all the same, though nothing was ever programmed.
    await mustDo(rig, { method: "RevokeExternalConnectivity", body: ids, optional: true, onFailure: [] });
    await rig.must("NetworkDriver.Leave", ids);
    await rig.must("NetworkDriver.DeleteEndpoint", ids);
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
    await rig.mustLeaveNothing("after an internal network");
  },
};

const rejoins: Check<NetworkConformanceOptions> = {
  name: "keeps an endpoint between Leave and the next Join, as a refresh of legacy links needs it",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(options);
    const network = sampleNetwork(1);
    const endpoint = sampleEndpoint(network, 2);
    await rig.must("NetworkDriver.CreateNetwork", bodies.createNetwork(network));
    await rig.must("NetworkDriver.CreateEndpoint", bodies.createEndpoint(endpoint));
    const first = await rig.must("NetworkDriver.Join", bodies.join(endpoint));
    await rig.must("NetworkDriver.Leave", bodies.endpoint(endpoint));
    const second = await rig.must("NetworkDriver.Join", bodies.join(endpoint));
    assert.deepEqual(second, first, "the second Join answered otherwise");
    await rig.must("NetworkDriver.Leave", bodies.endpoint(endpoint));
    await rig.must("NetworkDriver.DeleteEndpoint", bodies.endpoint(endpoint));
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
    await rig.mustLeaveNothing("after a second Join");
  },
};

const lostDeletes: Check<NetworkConformanceOptions> = {
  name: "removes with a network the endpoints whose deletes never came",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(options);
    const network = sampleNetwork(1);
    await rig.must("NetworkDriver.CreateNetwork", bodies.createNetwork(network));
    for (const host of [2, 3])
      await rig.must("NetworkDriver.CreateEndpoint", bodies.createEndpoint(sampleEndpoint(network, host)));
    await rig.must("NetworkDriver.Join", bodies.join(sampleEndpoint(network, 2)));
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
    await rig.mustLeaveNothing("after a network was deleted with its endpoints");
  },
};

const addressAgain: Check<NetworkConformanceOptions> = {
  name: "drops an endpoint that dockerd has forgotten when its address comes with another",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(options);
    const network = sampleNetwork(1);
    const forgotten = sampleEndpoint(network, 2, "forgotten");
    const successor = sampleEndpoint(network, 2, "successor");
    await rig.must("NetworkDriver.CreateNetwork", bodies.createNetwork(network));
    await rig.must("NetworkDriver.CreateEndpoint", bodies.createEndpoint(forgotten));
    const alone = await rig.host.inventory();
    // dockerd crashed, kept no driver loaded, and said nothing of the endpoint (protocol: forced clean-up at boot).
    await rig.must("NetworkDriver.CreateEndpoint", bodies.createEndpoint(successor));
    const replaced = await rig.host.inventory();
    assert.equal(replaced.length, alone.length, `two endpoints with one address: ${replaced.join("; ")}`);
    await rig.must("NetworkDriver.Join", bodies.join(successor));
    await rig.must("NetworkDriver.DeleteEndpoint", bodies.endpoint(successor));
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
    await rig.mustLeaveNothing("after an endpoint took another's address");
  },
};

const options: Check<NetworkConformanceOptions> = {
  name: "refuses options that it cannot take, by name, and makes nothing",
  async run(factory, given) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(given);
    for (const refused of given.refusedOptions ?? []) {
      const outcome = await rig.call(
        "NetworkDriver.CreateNetwork",
        bodies.createNetwork(sampleNetwork(1), { options: refused }),
      );
      const names = Object.keys(refused);
      mustRefuse(`-o ${Object.entries(refused).flat().join("=")}`, outcome);
      assert.ok(
        names.some((name) => outcome.error.includes(name)),
        `the refusal names none of ${names.join(", ")}: ${outcome.error}`,
      );
      await rig.mustLeaveNothing(`after the refusal of ${names.join(", ")}`);
    }
  },
};

const unknownNetwork: Check<NetworkConformanceOptions> = {
  name: "refuses endpoints of a network and joins of an endpoint that it does not know",
  async run(factory, given) {
    await using rig = await Rig.open(factory);
    const bodies = new Bodies(given);
    const network = sampleNetwork(1);
    const endpoint = sampleEndpoint(network, 2);
    mustRefuse(
      "an endpoint on an unknown network",
      await rig.call("NetworkDriver.CreateEndpoint", bodies.createEndpoint(endpoint)),
    );
    mustRefuse("a join on an unknown network", await rig.call("NetworkDriver.Join", bodies.join(endpoint)));
    await rig.must("NetworkDriver.CreateNetwork", bodies.createNetwork(network));
    mustRefuse("a join of an unknown endpoint", await rig.call("NetworkDriver.Join", bodies.join(endpoint)));
    await rig.must("NetworkDriver.DeleteNetwork", bodies.deleteNetwork(network));
    await rig.mustLeaveNothing("after refusals");
  },
};

export const networkChecks: readonly Check<NetworkConformanceOptions>[] = [
  repeats,
  repeatsAfterRestart,
  lateDeletes,
  operInfo,
  emptyBodies,
  replies,
  internal,
  rejoins,
  lostDeletes,
  addressAgain,
  options,
  unknownNetwork,
];
