import type { FloodOrder, Sent } from '../packet-order.ts';
import { PacketProcesses } from '../packet-processes.ts';
import {
  cpusHere,
  type Flood,
  type FloodPlace,
  type Generating,
  type GeneratorName,
  together,
  warmUp,
} from '../generator.ts';
import { FLOOD_PORT } from '../sink.ts';

/** Processes that send by system calls. */
export class Senders {
  readonly #name: GeneratorName;
  readonly #processes = new PacketProcesses();

  constructor(name: GeneratorName) {
    this.#name = name;
  }

  async start(place: FloodPlace, flood: Flood, segments?: number): Promise<Generating> {
    const { containers, payloadBytes, packetsPerSec } = flood;
    await warmUp(place, containers);
    const cpus = cpusHere();
    const processes = containers.map(() => this.#processes.take());
    try {
      await Promise.all(
        containers.map(async ({ namespace, target }, index) => {
          const order: FloodOrder = {
            work: 'flood',
            namespaceFile: place.root.pathOf(namespace),
            target,
            port: FLOOD_PORT,
            payloadBytes,
            cpu: cpus[index % cpus.length]!,
            ...(packetsPerSec !== undefined && { packetsPerSec }),
            ...(segments !== undefined && { segments }),
          };
          await processes[index]!.begin(order, `sends from ${namespace} (${this.#name})`);
        }),
      );
      await Promise.all(processes.map((each) => each.ask('go')));
    } catch (error) {
      await this.#processes.end(processes);
      throw error;
    }
    return {
      cpuUs: () => processes.reduce((sum, each) => sum + each.spentUs(), 0),
      sent: async () => together(await Promise.all(processes.map((each) => each.ask<Sent>('count')))),
      stop: async () => {
        try {
          const sent = together(await Promise.all(processes.map((each) => each.ask<Sent>('stop'))));
          for (const each of processes) each.spentUs();
          this.#processes.giveBack(processes);
          return sent;
        } catch (error) {
          await this.#processes.end(processes);
          throw error;
        }
      },
    };
  }

  async close(): Promise<void> {
    await this.#processes.close();
  }
}
