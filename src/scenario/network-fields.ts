import { z } from 'zod';
import { AddressError, formatAddress, parseAddress, parsePrefix } from '../host/ipv4.ts';
import { LINK_NAME_LENGTH_MAX } from '../host/links.ts';
import type { VfKnobs } from '../host/virtual-functions.ts';
import { exactlyOne, kindOf, name, rate, strict } from './fields.ts';
import type { Attachment, NetworkSpec, PublishedPort } from './scenario.ts';

/** Ethernet's least, and the most that Linux gives a veth (ETH_MIN_MTU, ETH_MAX_MTU). */
export const mtu = z.int().min(68).max(65_535);

/** Payloads that IPv4 and UDP can carry: 65 535 less 28 bytes of headers. */
export const PAYLOAD_MAX_BYTES = 65_507;

/** A text that is read by `parse`, whose error becomes the problem. */
const readAs = (what: string, parse: (text: string) => string) =>
  z.unknown().transform((written, context): string => {
    try {
      if (typeof written === 'string') return parse(written);
      context.addIssue({ code: 'custom', message: `${kindOf(written)} is not ${what}` });
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
    return z.NEVER;
  });

/** `10.0.0.5` */
export const address = readAs('an IPv4 address: write one like 10.0.0.5', (text) => formatAddress(parseAddress(text)));

/** `10.0.0.5/24` */
export const prefix = readAs('an IPv4 prefix: write one like 10.0.0.0/24', (text) => {
  if (!text.includes('/')) throw new AddressError(`"${text}" has no length: write one like ${text}/24`);
  const segment = parsePrefix(text);
  return `${formatAddress(segment.address)}/${segment.bits}`;
});

/** `02:70:6c:00:00:01` */
export const mac = z
  .string()
  .regex(/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i, 'no MAC address: write one like 02:00:00:00:00:01')
  .transform((text) => text.toLowerCase());

/** What the kernel takes for a link's name (dev_valid_name, net/core/dev.c). */
export const linkName = z
  .string()
  .max(LINK_NAME_LENGTH_MAX, `longer than the ${LINK_NAME_LENGTH_MAX} characters that a link's name may have`)
  .regex(/^(?!\.{1,2}$)[^\s/:]+$/, 'no name for a link: no spaces, no "/" and no ":"');

/** A card's maker as sysfs writes it, `0x8086`. */
const vendor = z.string().regex(/^0x[0-9a-f]{4}$/, 'no vendor: write it as sysfs does, 0x8086');

const KINDS = ['bridge', 'overlay', 'intranet', 'sriov'] as const;

const SELECT = { pf: linkName.optional(), driver: z.string().min(1).optional(), vendor: vendor.optional() };

/** The knobs of a VF in the kernel's words, but camelCase; what a driver lacks is the product's to say. */
export const KNOBS = {
  vlan: z.int().min(0).max(4095).optional(),
  qos: z.int().min(0).max(7).optional(),
  proto: z.enum(['802.1Q', '802.1ad']).optional(),
  spoofCheck: z.boolean().optional(),
  trust: z.boolean().optional(),
  linkState: z.enum(['auto', 'enable', 'disable']).optional(),
  minRate: rate.optional(),
  maxRate: rate.optional(),
};

/** What is written of them as the port has it. */
export const knobsOf = ({ minRate, maxRate, ...knobs }: KnobsWritten): Partial<Omit<VfKnobs, 'mac'>> => ({
  ...given<Omit<KnobsWritten, 'minRate' | 'maxRate'>>(knobs),
  ...(minRate !== undefined && { minRateBitsPerSec: minRate }),
  ...(maxRate !== undefined && { maxRateBitsPerSec: maxRate }),
});
type KnobsWritten = { readonly [K in keyof typeof KNOBS]?: z.infer<(typeof KNOBS)[K]> };

/** Without what is not set. */
const given = <T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as never;

/** `{ overlay: 10.0.0.0/24, internal: true }`; what does not fit together is the product's to say. */
export const network = strict({
  bridge: prefix.optional(),
  overlay: prefix.optional(),
  intranet: prefix.optional(),
  sriov: prefix.optional(),
  internal: z.boolean().optional(),
  nat: z.boolean().optional(),
  mtu: mtu.optional(),
  by: z.enum(['routed', 'macvlan', 'vf']).optional(),
  gateway: address.optional(),
  vfs: z.int().min(1).optional(),
  takeDownLink: z.boolean().optional(),
  ...SELECT,
  ...KNOBS,
})
  .superRefine(exactlyOne(KINDS, 'a network'))
  .transform(
    ({
      bridge,
      overlay,
      intranet,
      sriov,
      internal = false,
      nat,
      mtu: size,
      by,
      gateway,
      vfs: count,
      takeDownLink,
      pf,
      driver,
      vendor: id,
      ...written
    }): Omit<NetworkSpec, 'name'> => {
      const pools = { bridge, overlay, intranet, sriov };
      const kind = KINDS.find((each) => pools[each] !== undefined)!;
      const [select, knobs] = [given({ pf, driver, vendor: id }), knobsOf(written)];
      const demand = { select, ...given({ count, takeDownLink }), knobs };
      const asksForVfs = Object.keys({ ...select, ...knobs, ...given({ count, takeDownLink }) }).length > 0;
      return {
        kind,
        pool: pools[kind]!,
        internal,
        nat: nat ?? (kind === 'bridge' && !internal),
        ...given({ mtu: size, by, gateway }),
        ...((kind === 'sriov' || by === 'vf' || asksForVfs) && { vf: demand }),
      };
    },
  );

const PUBLISHED =
  /^(?:(?<hostAddress>[\d.]+):)?(?<hostPort>\d{1,5}):(?<containerPort>\d{1,5})(?:\/(?<protocol>tcp|udp))?$/;

/** `8080:80`, `5353:53/udp`, `192.168.77.11:8081:81`, as Docker writes it. */
const published = z.unknown().transform((written, context): PublishedPort => {
  const parts = typeof written === 'string' ? PUBLISHED.exec(written)?.groups : undefined;
  if (parts === undefined) {
    context.addIssue({
      code: 'custom',
      message: `${kindOf(written)} is no published port: write '8080:80', '5353:53/udp' or '192.168.77.11:8081:81'`,
    });
    return z.NEVER;
  }
  const { hostAddress, hostPort, containerPort, protocol = 'tcp' } = parts;
  return {
    protocol: protocol as PublishedPort['protocol'],
    ...(hostAddress !== undefined && { hostAddress }),
    hostPort: Number(hostPort),
    containerPort: Number(containerPort),
  };
});

const PLACE = { address: address.optional(), publish: z.array(published).optional() };

const placed = ({
  network: of,
  address: wanted,
  publish = [],
}: {
  network: string;
  address?: string | undefined;
  publish?: PublishedPort[] | undefined;
}): Attachment => ({ network: of, ...(wanted !== undefined && { address: wanted }), publish });

/** A network's name, or `{ name: office, address: 192.168.77.130 }`. */
export const attachment = z.unknown().transform((written, context): Attachment => {
  const result = typeof written === 'string' ? name.safeParse(written) : strict({ name, ...PLACE }).safeParse(written);
  if (!result.success) {
    for (const issue of result.error.issues) context.issues.push({ ...issue, input: written } as never);
    return z.NEVER;
  }
  const found = typeof result.data === 'string' ? { name: result.data } : result.data;
  return placed({ ...found, network: found.name });
});

/** `{ container: c1, network: office, address: 192.168.77.130 }` */
export const attach = strict({ container: name, network: name, ...PLACE }).transform(({ container, ...place }) => ({
  container,
  attachment: placed(place),
}));
