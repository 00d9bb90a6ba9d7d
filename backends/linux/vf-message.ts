import type { VfKnobs } from '../../src/host/virtual-functions.ts';
import { IFLA, linkHeader, type LinkRecord, readLink, RTM_GETLINK, withFunctions } from './link-message.ts';
import { attribute, Attributes, attributesIn, mac, nested, text } from './netlink-codec.ts';
import type { Netlink } from './netlink.ts';

// include/uapi/linux/if_link.h: each value is a struct that begins with the VF's number.
const VF_INFO = 1;
const VF = { mac: 1, vlan: 2, spoofCheck: 4, linkState: 5, rate: 6, trust: 9, vlanList: 12 } as const;
const VLAN_INFO = 1;
/** MAX_ADDR_LEN. */
const MAC_BYTES = 32;
const LINK_STATES = ['auto', 'enable', 'disable'] as const;
const PROTOS = { '802.1Q': 0x8100, '802.1ad': 0x88a8 } as const;
const BITS_PER_MBIT = 1_000_000;
/** Of a representor, a link that stands for another function of the same card: `pf0vf1`, `c1pf0sf2` (net/devlink/port.c). */
const REPRESENTOR = /^(?:c\d+)?pf\d+(?:[vs]f\d+)?$/;

/** A link with what it tells of the VFs of its card. */
export interface FunctionRecord extends LinkRecord {
  /** By number; a driver that tells nothing of them leaves them out. */
  readonly vfs: ReadonlyMap<number, VfKnobs>;
}

/** The links of a namespace that stand for a card or a function themselves. */
export const dumpFunctions = (netlink: Netlink): FunctionRecord[] =>
  netlink.dump(RTM_GETLINK, [linkHeader(), withFunctions], (body) => {
    const record = readFunctions(body);
    return record.device === undefined || record.isRepresentor ? undefined : record;
  });

/** One link. @throws Refusal ENODEV */
export const getFunctions = (netlink: Netlink, name: string): FunctionRecord =>
  readFunctions(netlink.get(RTM_GETLINK, [linkHeader(), text(IFLA.ifname, name), withFunctions]));

function readFunctions(body: Buffer): FunctionRecord & { readonly isRepresentor: boolean } {
  const attributes = new Attributes(body, 16);
  const list = attributes.bytes(IFLA.vfInfoList);
  return {
    ...readLink(body),
    isRepresentor: REPRESENTOR.test(attributes.text(IFLA.portName) ?? ''),
    vfs: new Map(
      list === undefined ? [] : Array.from(attributesIn(list), ({ value }) => readVf(new Attributes(value))),
    ),
  };
}

function readVf(told: Attributes): [number, VfKnobs] {
  const address = told.bytes(VF.mac)!;
  const vlan = told.bytes(VF.vlan);
  const tags = told.bytes(VF.vlanList);
  const tag = tags === undefined ? undefined : [...attributesIn(tags)][0]?.value;
  const rate = told.bytes(VF.rate);
  return [
    address.readUInt32LE(),
    {
      mac: address.toString('hex', 4, 10).match(/../g)!.join(':'),
      vlan: vlan?.readUInt32LE(4) ?? 0,
      qos: vlan?.readUInt32LE(8) ?? 0,
      proto: tag?.readUInt16BE(12) === PROTOS['802.1ad'] ? '802.1ad' : '802.1Q',
      spoofCheck: told.bytes(VF.spoofCheck)?.readInt32LE(4) === 1,
      trust: told.bytes(VF.trust)?.readInt32LE(4) === 1,
      linkState: LINK_STATES[told.bytes(VF.linkState)?.readUInt32LE(4) ?? 0] ?? 'auto',
      minRateBitsPerSec: (rate?.readUInt32LE(4) ?? 0) * BITS_PER_MBIT,
      maxRateBitsPerSec: (rate?.readUInt32LE(8) ?? 0) * BITS_PER_MBIT,
    },
  ];
}

/** Knobs that the kernel takes together, each group one attribute. */
export type KnobGroup = 'mac' | 'vlan' | 'rate' | 'spoofCheck' | 'linkState' | 'trust';

/** A request that sets these groups of knobs of one VF to these values. */
export const functionRequest = (
  link: number,
  index: number,
  groups: readonly KnobGroup[],
  knobs: VfKnobs,
): Buffer[] => [
  linkHeader({ index: link }),
  nested(IFLA.vfInfoList, [
    nested(
      VF_INFO,
      groups.map((group) => knobAttribute(group, index, knobs)),
    ),
  ]),
];

function knobAttribute(group: KnobGroup, index: number, knobs: VfKnobs): Buffer {
  switch (group) {
    case 'mac': {
      const address = Buffer.alloc(4 + MAC_BYTES);
      address.writeUInt32LE(index);
      // Without the attribute's own header.
      mac(VF.mac, knobs.mac).copy(address, 4, 4);
      return attribute(VF.mac, address);
    }
    case 'vlan': {
      const tag = Buffer.alloc(16);
      words(index, knobs.vlan, knobs.qos).copy(tag);
      tag.writeUInt16BE(PROTOS[knobs.proto], 12);
      return nested(VF.vlanList, [attribute(VLAN_INFO, tag)]);
    }
    case 'rate':
      return attribute(
        VF.rate,
        words(index, knobs.minRateBitsPerSec / BITS_PER_MBIT, knobs.maxRateBitsPerSec / BITS_PER_MBIT),
      );
    case 'spoofCheck':
      return attribute(VF.spoofCheck, words(index, Number(knobs.spoofCheck)));
    case 'linkState':
      return attribute(VF.linkState, words(index, LINK_STATES.indexOf(knobs.linkState)));
    case 'trust':
      return attribute(VF.trust, words(index, Number(knobs.trust)));
  }
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeUInt32LE(value, at * 4);
  return bytes;
}
