import { expect, test } from 'vitest';
import { insistOnFrames, type SinkCounts } from '../../../../bench/nic/sink.ts';

const counts = (packets: number, bytes: number, tunnelPackets = 0): SinkCounts => ({
  packets,
  bytes,
  tunnelPackets,
});

const check = (after: SinkCounts, payloadBytes: number) => () =>
  insistOnFrames(counts(10, 1000, 1), after, payloadBytes, 'nat');

test('packets of the size that was sent are what was sent, also in a tunnel', () => {
  expect(check(counts(10, 1000, 1), 64)).not.toThrow();
  expect(check(counts(15, 1000 + 5 * 92, 1), 64)).not.toThrow();
  expect(check(counts(15, 1000 + 5 * 92 + 2 * 50, 3), 64)).not.toThrow();
});

test('larger ones are several in one, and it is said what joins them', () => {
  expect(check(counts(12, 1000 + 92 + 28 + 32 * 64, 1), 64)).toThrow(
    'nat: 2 packets of 1084.0 bytes came to the sink instead of 92.0: several datagrams count as one. Switch off what joins them: where they are sent "ethtool -K LINK tx-udp-segmentation off", at the sink "ethtool -K LINK rx-udp-gro-forwarding off rx-gro-list off"',
  );
});

test('smaller ones are not of this flood', () => {
  expect(check(counts(110, 1000 + 100 * 60, 1), 64)).toThrow(
    'nat: 100 packets of 60.0 bytes came to the sink instead of 92.0: somebody else sends to port 9 there',
  );
});
