import type { Machine, MachineFacts } from '../../src/host/machine.ts';
import type { Ipv4Prefix } from '../../src/host/ipv4.ts';
import type { ForeignQdisc } from '../../src/host/shaper.ts';
import type { Bytes } from '../../src/host/units.ts';
import type { SimulatedNic } from './nics.ts';

/** A machine's link to the fabric. */
export interface SimulatedUplink {
  readonly link?: string;
  readonly prefix: Ipv4Prefix;
  readonly mtu?: number;
  /** A root qdisc that somebody else laid on it; none unless set. */
  readonly qdisc?: Pick<ForeignQdisc, 'type' | 'handle'>;
}

/** A machine to simulate. */
export interface SimulatedMachine {
  readonly name: string;
  readonly ramBytes: Bytes;
  readonly cpus: number;
  readonly cgroupVersion: 1 | 2;
  readonly kernel?: string;
  /**
   * Its link to the fabric that joins all hosts: `eth0`, MTU 1500 and 192.168.77.11/24, .12/24 and so on in their order
   * unless set. Null: it is not plugged in yet.
   */
  readonly uplink?: SimulatedUplink | null;
  /** Its cards with virtual functions, besides or under the uplink; none unless set. */
  readonly nics?: readonly SimulatedNic[];
  /** Has its kernel fq_codel? True unless set. */
  readonly fairQueues?: boolean;
  /** Another firewall on the host, as Docker is: its FORWARD policy; accept unless set. */
  readonly foreignForward?: 'accept' | 'drop';
  /** `net.bridge.bridge-nf-call-iptables`: do bridged frames pass FORWARD too? False unless set. */
  readonly bridgeNfCallIptables?: boolean;
  /** How many of its rules a packet passes in FORWARD, which costs CPU; 0 unless set. */
  readonly foreignRules?: number;
}

/** What the simulated machine says of itself. */
export const createMachine = ({ name, ramBytes, cpus, cgroupVersion, kernel }: SimulatedMachine): Machine => {
  const facts: MachineFacts = {
    hostname: name,
    kernel: kernel ?? '6.18.0-simulated',
    ramBytes,
    cpus,
    cgroupVersion,
    abilities: [{ name: 'cgroup memory controller', present: true, detail: `cgroup v${cgroupVersion}, modelled` }],
  };
  return { describe: async () => facts };
};
