import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, closeSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Applied } from '../../src/host/batch.ts';
import type { CgroupPath } from '../../src/host/cgroups.ts';
import { HostError } from '../../src/host/errors.ts';
import type { Supervision, SupervisorEvent, SupervisorSettings } from '../../src/host/supervision.ts';
import type { CgroupPlace, LinuxCgroups } from './cgroups.ts';
import { linuxClock, monotonicMs } from './clock.ts';
import { inOrder } from './errors.ts';
import { EventReader } from './event-log.ts';
import { type Answer, Mailbox } from './mailbox.ts';
import { isAlive, sendKill } from './owner.ts';

/** A supervisor answers within this: Node starts in 50 ms on an idle machine, in seconds on a drowning one. */
const ANSWER_WITHIN_MS = 60_000;

/** A released supervisor notices within 50 ms; one that does not in this time is killed. */
const LEAVE_WITHIN_MS = 2000;

/** What SIGKILL was sent to is gone within this. */
const DIE_WITHIN_MS = 30_000;

const POLL_MS = 4;

/** One supervisor process a parent. It outlives the engine, and is found again by the answer it left in its folder. */
export class LinuxSupervision implements Supervision {
  readonly #folder: string;
  readonly #entry: string;
  readonly #place: CgroupPlace;
  readonly #cgroups: LinuxCgroups;
  readonly #readers = new Map<string, EventReader>();
  #orders = 0;

  constructor(folder: string, entry: string, place: CgroupPlace, cgroups: LinuxCgroups) {
    this.#folder = folder;
    this.#entry = entry;
    this.#place = place;
    this.#cgroups = cgroups;
  }

  supervise(settings: readonly SupervisorSettings[]): Promise<Applied> {
    return inOrder(
      settings,
      'supervision.supervise',
      ({ parent }) => parent,
      (each) => this.#supervise(each),
    );
  }

  release(parents: readonly CgroupPath[]): Promise<Applied> {
    return inOrder(
      parents,
      'supervision.release',
      (parent) => parent,
      (parent) => this.#release(this.#mailbox(parent)),
    );
  }

  async list(): Promise<readonly SupervisorSettings[]> {
    return this.#mailboxes().flatMap((mailbox) => {
      const settings = livingAnswer(mailbox)?.settings;
      return settings === undefined || settings === null ? [] : [settings];
    });
  }

  take(): readonly SupervisorEvent[] {
    const events = this.#mailboxes().flatMap(({ folder }) => {
      const reader = this.#readers.get(folder) ?? new EventReader(folder);
      this.#readers.set(folder, reader);
      return reader.take();
    });
    return events.sort((a, b) => a.atMs - b.atMs);
  }

  /** Ends every supervisor of this host. */
  async close(): Promise<void> {
    await Promise.all(this.#mailboxes().map((mailbox) => this.#release(mailbox)));
  }

  async #supervise(settings: SupervisorSettings): Promise<void> {
    const { parent } = settings;
    if (!existsSync(this.#cgroups.folder(parent))) throw new HostError('ENOENT', 'supervision.supervise', parent);
    const mailbox = this.#mailbox(parent);
    const before = livingAnswer(mailbox);
    const revision = `${process.pid}-${monotonicMs()}-${this.#orders++}`;
    mailbox.writeOrder({ revision, settings });
    const process_ = before === null ? this.#spawn(mailbox) : null;
    const answer = await this.#answerTo(revision, parent, process_);
    if (answer.refusal === undefined) return;
    if (before?.settings) mailbox.writeOrder({ revision: before.revision, settings: before.settings });
    else await this.#release(mailbox);
    throw new HostError('EINVAL', 'supervision.supervise', parent, { detail: answer.refusal });
  }

  #spawn(mailbox: Mailbox): ChildProcess {
    mailbox.removeAnswer();
    const log = openSync(join(mailbox.folder, 'log'), 'w');
    try {
      const child = spawn(
        process.execPath,
        [this.#entry, JSON.stringify({ folder: mailbox.folder, place: this.#place })],
        { detached: true, stdio: ['ignore', 'ignore', log], env: { PATH: process.env['PATH'] }, cwd: '/' },
      );
      // A failed spawn is told by an event; #answerTo asks for it again.
      child.on('error', () => {});
      child.unref();
      return child;
    } finally {
      closeSync(log);
    }
  }

  async #answerTo(revision: string, parent: CgroupPath, child: ChildProcess | null): Promise<Answer> {
    const mailbox = this.#mailbox(parent);
    const untilMs = monotonicMs() + ANSWER_WITHIN_MS;
    let failure: unknown;
    child?.on('error', (error) => (failure = error));
    while (monotonicMs() < untilMs) {
      const answer = mailbox.readAnswer();
      if (answer?.revision === revision) return answer;
      const gone =
        child === null ? livingAnswer(mailbox) === null : child.exitCode !== null || child.signalCode !== null;
      if (gone || failure !== undefined)
        throw new HostError('EIO', 'supervision.supervise', parent, {
          detail: `the supervisor process ended before it could begin: ${reasonIn(join(mailbox.folder, 'log'))}`,
          cause: failure,
        });
      await linuxClock.sleep(POLL_MS);
    }
    // One that began too late must not begin at all.
    if (child !== null && child.pid !== undefined) await killed(child);
    throw new HostError('ETIMEDOUT', 'supervision.supervise', parent, {
      detail: `the supervisor process did not answer within ${ANSWER_WITHIN_MS / 1000} s`,
    });
  }

  async #release(mailbox: Mailbox): Promise<void> {
    mailbox.removeOrder();
    const beganMs = monotonicMs();
    for (let answer = livingAnswer(mailbox); answer !== null; answer = livingAnswer(mailbox)) {
      const { pid } = answer.supervisor;
      if (monotonicMs() > beganMs + LEAVE_WITHIN_MS) sendKill(pid);
      if (monotonicMs() > beganMs + LEAVE_WITHIN_MS + DIE_WITHIN_MS)
        throw new HostError('ETIMEDOUT', 'supervision.release', mailbox.folder, {
          detail: `process ${pid} survives SIGKILL`,
        });
      await linuxClock.sleep(POLL_MS);
    }
    mailbox.removeAnswer();
  }

  #mailbox(parent: CgroupPath): Mailbox {
    return new Mailbox(join(this.#folder, encodeURIComponent(parent)));
  }

  #mailboxes(): Mailbox[] {
    // It is made by the first supervise.
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder)
      .sort()
      .map((name) => new Mailbox(join(this.#folder, name)));
  }
}

/** The supervisor processes of one host that live, those included that have not answered yet: by their arguments. */
export function supervisorPids(folder: string): number[] {
  const begins = `{"folder":${JSON.stringify(`${folder}/`).slice(0, -1)}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => argumentsOf(pid).some((argument) => argument.startsWith(begins)))
    .map(Number);
}

function argumentsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    // It ended while we were looking.
    return [];
  }
}

/** Kills a process of ours and waits for its end. */
async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  const untilMs = monotonicMs() + DIE_WITHIN_MS;
  while (child.exitCode === null && child.signalCode === null && monotonicMs() < untilMs)
    await linuxClock.sleep(POLL_MS);
}

function livingAnswer(mailbox: Mailbox): Answer | null {
  const answer = mailbox.readAnswer();
  return answer !== null && isAlive(answer.supervisor) ? answer : null;
}

/** The line of a log that says most: the first that names an error, else the last. */
function reasonIn(path: string): string {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  return lines.find((line) => /^\w*Error/.test(line)) ?? lines.at(-1) ?? 'it left no log';
}
