// The process behind one supervised parent: looks, kills, tells. It outlives the engine that started it, reads what it
// must know from one file, and waits for nobody.
import { existsSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import * as z from 'zod';
import { type CgroupPlace, linuxCgroups } from '../../backends/linux/cgroups.ts';
import { monotonicMs, pause } from '../../backends/linux/clock.ts';
import { EventWriter } from '../../backends/linux/event-log.ts';
import { type Answer, Mailbox } from '../../backends/linux/mailbox.ts';
import { self } from '../../backends/linux/owner.ts';
import { loadPolicy } from '../commands/policy.ts';
import type { PolicyReference, Supervisor, SupervisorSettings } from '../host/supervision.ts';
import { bytes, milliseconds } from '../host/units.ts';
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
  let supervisor = undefined as Supervisor | undefined;
  let settings = null as SupervisorSettings | null;
  let orderStamp: string | null = null;
  let answerStamp: string | null = null;
  /** What could not be written yet. */
  let answer: Answer | undefined;
  let nextMailMs = 0;
  let nextLookMs = 0;

  /** Takes over an order whole, or says why not and goes on with what it had. */
  const takeOver = async (text: string): Promise<Answer> => {
    let revision = '';
    try {
      const order = JSON.parse(text) as { revision?: unknown };
      revision = String(order.revision);
      const next = Order.parse(order).settings;
      policies.set(keyOf(next.policy), (await loadPolicy(keyOf(next.policy))).policy);
      if (supervisor === undefined) supervisor = makeSupervisor(cgroups, next, (event) => events.add(event));
      else supervisor.configure(next);
      settings = next;
      return { supervisor: me, revision, settings };
    } catch (error) {
      const refusal = error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', '; ') : messageOf(error);
      return { supervisor: me, revision, settings, refusal };
    }
  };

  for (;;) {
    const nowMs = monotonicMs();
    if (nowMs >= nextMailMs - MAIL_EARLY_MS) {
      nextMailMs = nowMs + MAIL_EVERY_MS;
      const stamp = mailbox.orderStamp();
      const replaced = answerStamp !== null && mailbox.answerStamp() !== answerStamp;
      if (stamp === null || replaced || (settings !== null && !existsSync(cgroups.folder(settings.parent)))) break;
      try {
        if (stamp !== orderStamp) {
          const text = mailbox.readOrder();
          if (text === null) break;
          orderStamp = stamp;
          answer = await takeOver(text);
          nextLookMs = nowMs;
        }
        if (answer !== undefined) {
          mailbox.writeAnswer(answer);
          answerStamp = mailbox.answerStamp();
          answer = undefined;
          if (settings === null) break;
        }
      } catch (error) {
        // A full folder, say: containers are watched over all the same, and the mail is tried again.
        events.add({ kind: 'trouble', atMs: nowMs, message: `the engine cannot be answered: ${messageOf(error)}` });
      }
    }
    if (supervisor !== undefined && nowMs >= nextLookMs) {
      nextLookMs = supervisor.look(nowMs);
      events.flush(nowMs);
    }
    const restMs = Math.min(supervisor === undefined ? nextMailMs : nextLookMs, nextMailMs) - monotonicMs();
    if (restMs >= SLEEP_FROM_MS) pause(restMs);
  }
  supervisor?.close();
  events.flush(monotonicMs());
}

const keyOf = ({ name, file }: PolicyReference): string => file ?? name;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What a policy prints goes nowhere: nobody reads it, and it would fill the folder. What ends the process is still logged. */
function beQuiet(): void {
  for (const stream of [process.stdout, process.stderr]) stream.write = () => true;
}

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
beQuiet();
await run();
