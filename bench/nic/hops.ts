import type { HopCounts } from '../../backends/sim/packet-costs.ts';
import { createSimulation } from '../../backends/sim/simulation.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import type { PathSpec } from './paths.ts';
import { layPicture } from './picture.ts';
import { FLOOD_PORT } from './sink.ts';
import { OWN_WIRE, ownWire } from './wire.ts';

const HOST = 'host';

/** What a packet meets on a path, up to the sink: by the walk through the same path in the simulator. */
export async function hopsOf(path: PathSpec): Promise<HopCounts> {
  const { foreign, bridgeCalls = true } = path;
  const simulation = createSimulation({
    seed: 1,
    hosts: [
      {
        name: HOST,
        ramBytes: bytes(GIB),
        cpus: 2,
        cgroupVersion: 2,
        uplink: null,
        bridgeNfCallIptables: bridgeCalls,
        ...(foreign && { foreignRules: foreign.passed }),
      },
    ],
    supervisor: () => {
      throw new Error('nothing runs here that would need a supervisor');
    },
  });
  const picture = path.picture(1, OWN_WIRE);
  await simulation.run(async () => {
    const host = simulation.host(HOST);
    await layPicture(host, ownWire());
    await layPicture(host, picture);
  });
  const { namespace, target } = picture.containers[0]!;
  const hops = simulation.hopsOf(HOST, { from: namespace, to: target, port: FLOOD_PORT, payloadBytes: 64 });
  if (hops === null) throw new Error(`${path.name}: in the simulator nothing arrives`);
  const { tunnel, translate, ...others } = hops[HOST]!;
  return {
    ...others,
    // The sink throws away what comes off the wire, before a tunnel's end takes it out.
    tunnel: Math.min(tunnel, 1),
    translate: translate + (foreign?.translates === true ? 1 : 0),
  };
}
