import { z } from 'zod';
import { duration, exactlyOne, kindOf, name, strict } from './fields.ts';
import { address, KNOBS, linkName, mac, mtu, prefix } from './network-fields.ts';

/** A container, and which of its networks where it has several: `c5`, `c5@office`. */
const holder = z
  .string()
  .regex(/^[^@\s]+(?:@[^@\s]+)?$/, 'write the name of a container, c5, or with one of its networks, c5@office');

const ofOurs = strict({ bridgeOf: name.optional(), vxlanOf: name.optional(), portOf: holder.optional() }).superRefine(
  exactlyOne(['bridgeOf', 'vxlanOf', 'portOf'], 'a link of ours'),
);

/** A link by its name, or one of Plimsoll's by whose it is: `{ vxlanOf: blue }`. */
const link = z.union(
  [linkName, ofOurs],
  'no link: write its name, or { bridgeOf: web }, { vxlanOf: blue }, { portOf: c1 }',
);
export type LinkWritten = z.infer<typeof link>;

/** An address, or the name of a host for its own. */
const hostAddress = z.string().min(1);
const netns = name.optional();
const table = z.int().min(1).max(0xffff_ffff).optional();

/** Lines of tables, in the words of ip, bridge and nft. */
const ENTRIES = {
  address: strict({ address: prefix, dev: link, netns }),
  route: strict({ route: prefix, dev: link, via: address.optional(), src: address.optional(), table, netns }),
  rule: strict({ rule: address, table: z.int().min(1).max(0xffff_ffff), netns }),
  neighbour: strict({ neighbour: address, lladdr: mac, dev: link, netns }),
  proxy: strict({ proxy: address, dev: link, netns }),
  fdb: strict({ fdb: mac, dev: link, dst: hostAddress.optional(), netns }),
  fdbOf: strict({ fdbOf: holder, dst: hostAddress.optional() }),
  neighbourOf: strict({ neighbourOf: holder, lladdr: mac.optional() }),
  bindingOf: strict({ bindingOf: holder }),
  firewall: strict({
    firewall: z.union(
      [
        z.literal('all'),
        strict({
          set: z.string().min(1),
          family: z.enum(['inet', 'bridge']).default('inet'),
          key: z.array(z.union([z.string(), z.number(), ofOurs])).min(1),
          value: z
            .array(z.union([z.string(), z.number()]))
            .min(1)
            .optional(),
        }),
      ],
      'write all, or an element: { set: closed, key: [{ bridgeOf: blue }] }',
    ),
  }),
};

const LINKS = {
  namespace: strict({ namespace: name }),
  bridge: strict({ bridge: linkName, mtu: mtu.optional(), mac: mac.optional(), netns }),
  vxlan: strict({
    vxlan: linkName,
    vni: z
      .int()
      .min(1)
      .max(2 ** 24 - 1),
    local: hostAddress,
    udpPort: z.int().min(1).max(65_535).default(4789),
    mtu: mtu.optional(),
    netns,
  }),
  veth: strict({
    veth: linkName,
    peer: strict({ name: linkName, mtu: mtu.optional(), mac: mac.optional(), netns }),
    mtu: mtu.optional(),
    mac: mac.optional(),
    netns,
  }),
  macvlan: strict({ macvlan: linkName, parent: linkName, mtu: mtu.optional(), netns }),
  // Kinds that need nothing said of them but their handle (tc(8)).
  qdisc: strict({
    qdisc: z.enum(['htb', 'pfifo', 'bfifo']),
    handle: z.string().regex(/^[0-9a-f]{1,4}:$/, "no handle: write it as tc does, '1:'"),
    dev: linkName,
    netns,
  }),
};

const GONE = {
  namespace: LINKS.namespace,
  link: strict({ link, netns }),
  qdisc: strict({ qdisc: z.literal('root', 'write qdisc: root'), dev: linkName, netns }),
};

/** A VF of a card, `{ pf: ens1, index: 0 }`. */
export const VF = { pf: linkName, index: z.int().min(0).max(255) };
const vf = strict(VF);

/** Into a namespace, or to the host's own by default; under the name it has unless another is given. */
const move = strict({
  vf: vf.optional(),
  link: linkName.optional(),
  netns,
  to: netns,
  as: linkName.optional(),
}).superRefine(exactlyOne(['vf', 'link'], 'what moves'));
export type MoveWritten = z.infer<typeof move>;

/** One of several forms, told apart by the key that only it has. */
const oneOf = <Forms extends Record<string, z.ZodType>>(forms: Forms) =>
  z.unknown().transform((written, context): { [K in keyof Forms]: z.infer<Forms[K]> }[keyof Forms] => {
    const known = Object.keys(forms);
    const isMap = typeof written === 'object' && written !== null && !Array.isArray(written);
    const key = isMap ? known.find((each) => Object.hasOwn(written, each)) : undefined;
    if (key === undefined) {
      context.addIssue({ code: 'custom', message: `${kindOf(written)} is none of ${known.join(', ')}` });
      return z.NEVER;
    }
    const result = forms[key]!.safeParse(written);
    if (result.success) return result.data as never;
    for (const issue of result.error.issues) context.issues.push({ ...issue, input: written } as never);
    return z.NEVER;
  });

/** One, or a list of them. */
const listed = <T extends z.ZodType>(one: T) =>
  z
    .unknown()
    .transform((written) => (Array.isArray(written) ? (written as unknown[]) : [written]))
    .pipe(z.array(one).min(1));

const BY_HAND = {
  enable: listed(strict({ pf: linkName, vfs: z.int().min(0).max(256) })).optional(),
  unbind: listed(vf).optional(),
  vf: listed(strict({ ...VF, set: strict({ mac: mac.optional(), ...KNOBS }) })).optional(),
  bind: listed(vf).optional(),
  flap: listed(strict({ nic: linkName, for: duration })).optional(),
  hold: listed(strict({ namespace: name, for: duration })).optional(),
  hide: listed(vf).optional(),
  create: listed(oneOf(LINKS)).optional(),
  move: listed(move).optional(),
  set: listed(
    strict({
      link,
      netns,
      up: z.boolean().optional(),
      mtu: mtu.optional(),
      mac: mac.optional(),
      master: z.union([link, z.null()]).optional(),
      learning: z.boolean().optional(),
      hairpin: z.boolean().optional(),
      forwarding: z.boolean().optional(),
      ipv6: z.boolean().optional(),
    }),
  ).optional(),
  delete: listed(oneOf(GONE)).optional(),
  add: listed(oneOf(ENTRIES)).optional(),
  remove: listed(oneOf(ENTRIES)).optional(),
};

/** `{ host: h1, remove: { fdbOf: c2 } }`: several things are done in the order in which they stand in `BY_HAND`. */
export const byHand = strict({ host: name.optional(), ...BY_HAND }).refine(
  (written) => (Object.keys(BY_HAND) as (keyof typeof BY_HAND)[]).some((verb) => written[verb] !== undefined),
  `by hand nothing is done: write one of ${Object.keys(BY_HAND).join(', ')}`,
);
export type ByHandWritten = z.infer<typeof byHand>;
export type EntryWritten = NonNullable<ByHandWritten['add']>[number];
