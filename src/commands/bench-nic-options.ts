import type { Options } from 'yargs';
import type { GeneratorName } from '../../bench/nic/generator.ts';
import { UsageError } from './errors.ts';

/** What `plimsoll bench nic` may be told besides. */
export interface NicArguments {
  readonly quick: boolean;
  readonly sizes: string | undefined;
  readonly ratios: string | undefined;
  readonly generator: GeneratorName;
  readonly calibrate: boolean;
  readonly pf: string | undefined;
  readonly peer: string | undefined;
  readonly sink: boolean;
  readonly listen: string | undefined;
  readonly 'take-down-link': boolean;
}

const group = 'Of nic:';

export const NIC_OPTIONS = {
  quick: { type: 'boolean', default: false, group, describe: 'Costs and rates alone, 64 bytes, in under a minute' },
  sizes: { type: 'string', group, describe: 'Bytes of UDP payload, 1,64,256' },
  ratios: { type: 'string', group, describe: 'How many containers send at once, 1,4' },
  generator: {
    choices: ['sendmmsg', 'udp-segment', 'trafgen', 'pktgen'] as const,
    default: 'sendmmsg' as const,
    group,
    describe: 'What sends at full rate: as programs do, or faster than any',
  },
  calibrate: {
    type: 'boolean',
    default: false,
    group,
    describe: 'Write calibration.json, for plimsoll run --calibration',
  },
  pf: { type: 'string', group, describe: 'A card with SR-IOV to measure, ens1; it is taken for the time of the bench' },
  peer: { type: 'string', group, describe: "The other end of the card's wire: where --sink runs, ADDRESS[:PORT]" },
  sink: { type: 'boolean', default: false, group, describe: 'Be the other end of --peer, until Ctrl-C' },
  'take-down-link': {
    type: 'boolean',
    default: false,
    group,
    describe:
      'Take the card although the host uses it: its IPv4 addresses and routes come back, what stands on it does not',
  },
  listen: { type: 'string', group, describe: 'Where a sink waits for its client, ADDRESS:PORT' },
} as const satisfies Record<string, Options>;

/** @throws UsageError where an option of nic is given to another bench */
export function withoutNicOptions(options: NicArguments, bench: string): void {
  for (const name of Object.keys(NIC_OPTIONS) as (keyof typeof NIC_OPTIONS)[])
    if (options[name] !== undefined && options[name] !== false && options[name] !== NIC_OPTIONS.generator.default)
      throw new UsageError(`--${name}: it is an option of "bench nic", not of "bench ${bench}"`);
}

/** What does not go together. @throws UsageError */
export function checkNicOptions(
  options: NicArguments & { readonly out: string | undefined },
  sizes: readonly number[],
): void {
  const { calibrate, out, pf, listen, sink } = options;
  if (calibrate && out === undefined)
    throw new UsageError('--calibrate: name the folder to write to, too: --out FOLDER');
  if (calibrate && pf !== undefined)
    throw new UsageError('--calibrate: it is for paths on a wire of their own: leave --pf away');
  if (calibrate && sizes.length < 2)
    throw new UsageError('--calibrate: what a byte costs needs two sizes or more; leave --quick away, or name --sizes');
  if (listen !== undefined && !sink) throw new UsageError('--listen: it is where a --sink waits');
  if (options['take-down-link'] && pf === undefined)
    throw new UsageError('--take-down-link: name the card, too: --pf ens1');
}

/** `1,64,256`. @throws UsageError */
export function numbersOf(option: string, text: string, [least, most]: readonly [number, number]): number[] {
  const numbers = text.split(',').map((each) => (/^\d+$/.test(each.trim()) ? Number(each) : Number.NaN));
  const isRight = numbers.every((number) => number >= least && number <= most);
  if (!isRight || new Set(numbers).size !== numbers.length)
    throw new UsageError(
      `--${option} ${text}: write whole numbers of ${least} to ${most}, each once, with commas between`,
    );
  return numbers.toSorted((a, b) => a - b);
}

/** `HOST`, `HOST:PORT`. @throws UsageError */
export function placeOf(option: string, text: string): { readonly host: string; readonly port?: number } {
  const [, host, port] = /^([^:\s]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (host === undefined || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)))
    throw new UsageError(`--${option} ${text}: write an address, and with a colon a port of 1 to 65535`);
  return { host, ...(port !== undefined && { port: Number(port) }) };
}
