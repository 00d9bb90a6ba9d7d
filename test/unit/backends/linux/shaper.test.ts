import fc from 'fast-check';
import { expect, test } from 'vitest';
import { commandOf, USUAL_LAYOUT } from '../../../../backends/linux/commands.ts';
import { Attributes, message, messages } from '../../../../backends/linux/netlink-codec.ts';
import { PROGRAM } from '../../../../backends/linux/shaper-filter.ts';
import { classBody, readClass, readPassed, readQdisc } from '../../../../backends/linux/shaper-message.ts';
import { heldClass, markOf, minorOf, type ShaperClass, type ShaperObject } from '../../../../src/host/shaper.ts';

const AT = { namespace: '', name: 'eth0' } as const;
const ASKED: ShaperClass = {
  ...AT,
  kind: 'class',
  minor: 0x1f,
  parentMinor: 1,
  rateBitsPerSec: 10_000_000,
  ceilBitsPerSec: 20_000_000,
  burstBytes: 15_000,
  ceilBurstBytes: 16_000,
  quantumBytes: 1500,
  fairQueue: false,
};

/** From 1 kbit/s, or from where nothing is exact, to 100 Gbit/s, small and large alike; bursts from a byte to a second of it. */
const rates = fc.oneof(
  fc.integer({ min: 8, max: 1_000_000 }),
  fc.integer({ min: 1_000_000, max: 100_000_000_000 }),
  fc.integer({ min: 1, max: 100_000_000 }).map((kbit) => kbit * 1000),
);
const bursts = fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 1_000_000_000 }));
const classes = fc
  .record({ one: rates, other: rates, burstBytes: bursts, ceilBurstBytes: bursts })
  .map(({ one, other, burstBytes, ceilBurstBytes }): ShaperClass => ({
    ...ASKED,
    rateBitsPerSec: Math.min(one, other),
    ceilBitsPerSec: Math.max(one, other),
    burstBytes,
    ceilBurstBytes,
  }));

/** What a kernel that keeps what it is told would tell: the same bytes. */
function told(asked: ShaperClass): ShaperClass {
  const [sent] = messages(message(0, 0, 1, classBody(7, asked)));
  return { ...AT, kind: 'class', ...readClass(sent!.body)!.numbers, fairQueue: asked.fairQueue };
}

test('what is added is what is listed: exactly where the kernel can hold it, else as heldClass says, which is held', () => {
  let exact = 0;
  let beyond32Bits = 0;
  let runs = 0;
  fc.assert(
    fc.property(classes, (asked) => {
      runs += 1;
      const held = heldClass(asked);
      expect(told(asked)).toEqual(held);
      expect(told(held)).toEqual(held);
      expect(heldClass(held)).toEqual(held);
      if (held.ceilBitsPerSec / 8 > 0xffff_ffff) beyond32Bits += 1;
      for (const [rate, burst, is] of [
        [held.rateBitsPerSec, asked.burstBytes, held.burstBytes],
        [held.ceilBitsPerSec, asked.ceilBurstBytes, held.ceilBurstBytes],
      ] as const) {
        // A tick of 64 ns, or what 32 bits of ticks hold.
        const tickBytes = (rate / 8) * 64e-9;
        const most = Math.floor(tickBytes * 0xffff_ffff);
        expect(is).toBeGreaterThanOrEqual(Math.min(burst, most));
        expect(is).toBeLessThan(burst + Math.max(1, tickBytes));
        // Where a tick is no more than a byte.
        expect(tickBytes > 1 || burst > most || is === burst).toBe(true);
        if (is === burst) exact += 1;
      }
    }),
    { numRuns: 2000, seed: 1 },
  );
  expect(exact, `exact: ${exact} of ${2 * runs}`).toBeGreaterThan(runs / 10);
  expect(beyond32Bits, `beyond 32 bits: ${beyond32Bits} of ${runs}`).toBeGreaterThan(runs / 20);
});

test('a millisecond at a rate of whole kilobytes a second is held to the byte, however fast', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12_500_000 }), (kilobytes) => {
      const [rate, burst] = [kilobytes * 8000, kilobytes];
      const asked = { ...ASKED, rateBitsPerSec: rate, ceilBitsPerSec: rate, burstBytes: burst, ceilBurstBytes: burst };
      expect(heldClass(asked)).toEqual(asked);
    }),
    { seed: 1 },
  );
});

test('a class is written as tc writes it, of a link layer that needs no table', () => {
  const bytes = Buffer.concat(classBody(7, { ...ASKED, ceilBitsPerSec: 100_000_000_000 }));
  // struct tcmsg: index 7, handle 504c:1f, parent 504c:1.
  expect(bytes.toString('hex', 0, 20)).toBe('00000000070000001f004c5001004c5000000000');
  const options = new Attributes(bytes, 20).nested(2)!;
  // 1,250,000 bytes/s; the ceiling in 64 bits aside; 12 ms in ticks; the burst of the ceiling; 1500.
  expect(options.bytes(1)!.toString('hex')).toBe(
    [
      '0001000000000000d0121300',
      '0001000000000000ffffffff',
      '6cdc0200',
      '14000000',
      'dc050000',
      '00000000',
      '00000000',
    ].join(''),
  );
  expect([options.has(6), options.bytes(7)?.readBigUInt64LE()]).toEqual([false, 12_500_000_000n]);
});

test('classes of other qdiscs and of other kinds are none of ours', () => {
  const body = Buffer.concat(classBody(7, ASKED));
  const foreign = Buffer.from(body);
  foreign.writeUInt32LE(0x1_001f, 8);
  expect([readClass(foreign), readPassed(foreign), readClass(body.subarray(0, 20))]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(readPassed(body)).toEqual({ minor: 0x1f, sentBytes: 0, sentPackets: 0, droppedPackets: 0, queue: 0 });
  expect(readQdisc(body, 8)).toBeUndefined();
});

/** Runs classic BPF of the few instructions that the program has. */
function classidOf(mark: number): number {
  let accumulator = 0;
  for (let at = 0; ; at += 1) {
    const [code, jt, jf, k] = PROGRAM[at]!;
    if (code === 0x20) accumulator = mark;
    else if (code === 0x25) at += accumulator > k ? jt : jf;
    else return code === 0x16 ? accumulator : k;
  }
}

test('the program takes a mark of ours as the class, and no other', () => {
  for (const minor of [1, 2, 0xabc, 0xfffe]) {
    const mark = markOf(minor);
    expect([classidOf(Number(mark)), minorOf(mark)]).toEqual([0x504c_0000 + minor, minor]);
  }
  for (const mark of [0, 1, 0x504b_ffff, 0x504c_0000, 0x504d_0000, 0x504d_0001, 0xffff_ffff]) {
    expect(classidOf(mark)).toBe(0);
    expect(minorOf(`0x${mark.toString(16)}`)).toBeNull();
  }
});

test('commands for a dry run name the namespace, and go back the way they came', () => {
  const lines = (verb: 'shaper.add' | 'shaper.remove', object: ShaperObject): string[] =>
    commandOf(
      { verb, with: object, why: '' },
      { layout: USUAL_LAYOUT, root: 'plimsoll', entries: { workload: '', supervisor: '' } },
    );
  const inside = { namespace: 'web', name: 'eth0' };
  expect([
    ...lines('shaper.add', { ...AT, kind: 'qdisc', defaultMinor: 0x1f }),
    ...lines('shaper.add', { ...ASKED, ...inside, fairQueue: true }),
    ...lines('shaper.remove', { ...AT, kind: 'filter' }),
    ...lines('shaper.remove', ASKED),
    ...lines('shaper.remove', { ...AT, namespace: '/proc/7/ns/net', kind: 'qdisc', defaultMinor: 1 }),
  ]).toEqual([
    'tc qdisc add dev eth0 root handle 504c: htb default 1f',
    'tc -n web class replace dev eth0 parent 504c:1 classid 504c:1f htb rate 10000000bit ceil 20000000bit burst 15000b cburst 16000b quantum 1500',
    'tc -n web qdisc replace dev eth0 parent 504c:1f fq_codel limit 1000 flows 64',
    'tc filter delete dev eth0 parent 504c: protocol all prio 1',
    'tc class delete dev eth0 classid 504c:1f',
    'nsenter --net=/proc/7/ns/net tc qdisc delete dev eth0 root handle 504c:',
  ]);
});
