// The process behind one supervised parent: looks, kills, tells. It outlives the engine that started it, reads what it
// must know from one file, and waits for nobody.
import { existsSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { pathToFileURL } from 'node:url';
import * as z from 'zod';
import { type CgroupPlace, linuxCgroups } from '../../backends/linux/cgroups.ts';
import { monotonicMs, pause } from '../../backends/linux/clock.ts';
import { EventWriter } from '../../backends/linux/event-log.ts';
import { Mailbox } from '../../backends/linux/mailbox.ts';
import { self } from '../../backends/linux/owner.ts';
import type { PolicyReference, Supervisor, SupervisorSettings } from '../host/supervision.ts';
import { bytes, milliseconds } from '../host/units.ts';
import { policyByName, policyNames } from '../memory/policies.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { supervisorFactory } from '../memory/supervisor.ts';

/** New settings are taken over within this; it also is the longest that a released supervisor stays. */
const MAIL_EVERY_MS = 100;

/** Mail that is due within this is read at a look: each waking costs more than the look itself. */
const MAIL_EARLY_MS = 25;

/** Less than this before the next look it does not go to sleep: a sleep may last a little longer than asked. */
const SLEEP_FROM_MS = 1;

const wholeBytes = z.number().int().nonnegative().transform(bytes);

const Order = z.object({
  revision: z.string(),
  settings: z.object({
    parent: z.string(),
    policy: z.object({ name: z.string(), file: z.string().exactOptional() }),
    line: z.object({
      hardLimitBytes: wholeBytes,
      killAtBytes: wholeBytes,
      stopAtBytes: wholeBytes,
      ceilingBytes: wholeBytes,
      lookEveryMs: z.number().positive().transform(milliseconds),
    }),
    dry: z.boolean(),
    containers: z.array(
      z.object({
        name: z.string(),
        cgroup: z.string(),
        requestBytes: wholeBytes,
        priority: z.number(),
      }),
    ),
  }),
});

const { folder, place } = JSON.parse(process.argv[2] ?? '{}') as { folder: string; place: CgroupPlace };
const mailbox = new Mailbox(folder);
const cgroups = linuxCgroups(place);
const events = new EventWriter(folder);
const me = self();
const policies = new Map<string, MemoryPolicy>();
const makeSupervisor = supervisorFactory(({ policy }) => policies.get(keyOf(policy))!);

async function run(): Promise<void> {
  let supervisor: Supervisor | undefined;
  let settings: SupervisorSettings | null = null;
  let orderStamp: string | null = null;
  let answerStamp: string | null = null;
  let nextMailMs = 0;
  let nextLookMs = 0;
  for (;;) {
    const nowMs = monotonicMs();
    if (nowMs >= nextMailMs - MAIL_EARLY_MS) {
      nextMailMs = nowMs + MAIL_EVERY_MS;
      const stamp = mailbox.orderStamp();
      const replaced = answerStamp !== null && mailbox.answerStamp() !== answerStamp;
      if (stamp === null || replaced || (settings !== null && !existsSync(cgroups.folder(settings.parent)))) break;
      if (stamp !== orderStamp) {
        orderStamp = stamp;
        const order = await readOrder();
        if (order === null) break;
        if (order.settings !== null) {
          settings = order.settings;
          if (supervisor === undefined) supervisor = makeSupervisor(cgroups, settings, (event) => events.add(event));
          else supervisor.configure(settings);
          nextLookMs = nowMs;
        }
        mailbox.writeAnswer({
          supervisor: me,
          revision: order.revision,
          settings,
          ...(order.refusal === undefined ? {} : { refusal: order.refusal }),
        });
        answerStamp = mailbox.answerStamp();
        if (supervisor === undefined) break;
      }
    }
    if (supervisor !== undefined && nowMs >= nextLookMs) {
      nextLookMs = supervisor.look(nowMs);
      events.flush(nowMs);
    }
    const restMs = Math.min(nextLookMs, nextMailMs) - monotonicMs();
    if (restMs >= SLEEP_FROM_MS) pause(restMs);
  }
  supervisor?.close();
  events.flush(monotonicMs());
}

interface ReadOrder {
  readonly revision: string;
  readonly settings: SupervisorSettings | null;
  readonly refusal?: string;
}

/** The order, checked, its policy loaded; null where it was taken back meanwhile. */
async function readOrder(): Promise<ReadOrder | null> {
  const text = mailbox.readOrder();
  if (text === null) return null;
  let revision = '';
  try {
    const order = Order.parse(JSON.parse(text));
    revision = order.revision;
    await loadPolicy(order.settings.policy);
    return { revision, settings: order.settings };
  } catch (error) {
    const refusal = error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', '; ') : messageOf(error);
    return { revision, settings: null, refusal };
  }
}

async function loadPolicy(reference: PolicyReference): Promise<void> {
  const key = keyOf(reference);
  if (policies.has(key)) return;
  if (reference.file === undefined) {
    const policy = policyByName(reference.name);
    if (policy === undefined)
      throw new Error(`no policy is named "${reference.name}"; there are ${policyNames.join(', ')}`);
    policies.set(key, policy);
    return;
  }
  const module = (await import(pathToFileURL(reference.file).href)) as Record<string, unknown>;
  const policy = [module['default'], ...Object.values(module)].find(isPolicy);
  if (policy === undefined)
    throw new Error(`${reference.file} exports no policy: export default { name, about, needs, limits, decide }`);
  policies.set(key, policy);
}

const isPolicy = (value: unknown): value is MemoryPolicy =>
  typeof value === 'object' && value !== null && 'limits' in value && typeof value.limits === 'function';

const keyOf = ({ name, file }: PolicyReference): string => file ?? name;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** When memory is short this process must be the last to wait and the last to be chosen. Without the right, as it is. */
function comeFirst(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST + 5);
    writeFileSync('/proc/self/oom_score_adj', '-999');
  } catch {
    // It works without, only less surely.
  }
}

comeFirst();
await run();
