import { statSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { linuxCgroups } from '../../backends/linux/cgroups.ts';
import { linuxMachine } from '../../backends/linux/machine.ts';
import { ownerOf } from '../../backends/linux/owner.ts';
import { foldersOf, runsHere, sweepDeadRuns } from '../../backends/linux/runs.ts';
import { LinuxSupervision } from '../../backends/linux/supervision.ts';
import type { MachineFacts } from '../host/machine.ts';
import { formatBytes } from '../host/units.ts';
import { PARENT } from '../memory/plan.ts';
import { ENTRIES } from './backend/linux.ts';
import { EXIT } from './errors.ts';

/** Something that the doctor found. `remedy` is empty where there is nothing to do. */
interface Finding {
  readonly severity: 'info' | 'warning' | 'error';
  readonly about: string;
  readonly message: string;
  readonly remedy: string;
}

interface DoctorArguments {
  mend: boolean;
  json: boolean;
}

/** `plimsoll doctor`: what this machine can do, what dead runs left on it, and what is wrong with what runs. */
export const doctorCommand: CommandModule<object, DoctorArguments> = {
  command: 'doctor',
  describe: 'Say what this machine can do, what dead runs left on it, and what is wrong',
  builder: (yargs) =>
    yargs
      .option('mend', { type: 'boolean', default: false, describe: 'Remove what dead runs left' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON document on stdout' }),
  handler: async ({ mend, json }) => {
    const findings = await examine(mend);
    const ok = findings.every(({ severity }) => severity !== 'error');
    process.stdout.write(json ? `${JSON.stringify({ ok, findings })}\n` : textOf(findings, ok));
    process.exitCode = ok ? EXIT.held : EXIT.failed;
  },
};

/** Everything there is to say about this machine. Changes nothing unless it is to mend. */
async function examine(mend: boolean): Promise<Finding[]> {
  if (process.platform !== 'linux')
    return [
      {
        severity: 'info',
        about: process.platform,
        message: 'scenarios run on simulated machines here',
        remedy: 'for real cgroups use Linux',
      },
    ];
  const facts = await linuxMachine().describe();
  if (facts.cgroupVersion === null) return aboutMachine(facts);
  return [...aboutMachine(facts), ...(await aboutRuns(mend))];
}

function aboutMachine(facts: MachineFacts): Finding[] {
  const { hostname, kernel, ramBytes, cpus, abilities } = facts;
  return [
    {
      severity: 'info',
      about: hostname,
      message: `kernel ${kernel}, ${formatBytes(ramBytes)} of RAM, ${cpus} CPUs`,
      remedy: '',
    },
    ...abilities.map(({ name, present, detail }): Finding => {
      // What was tried comes first, and after the semicolon what would bring it.
      const [message = detail, remedy = ''] = present ? [detail] : detail.split(/; (?=[^;]*$)/);
      return {
        severity: present ? 'info' : 'warning',
        about: name,
        message: present ? message : `absent: ${message}`,
        remedy,
      };
    }),
  ];
}

async function aboutRuns(mend: boolean): Promise<Finding[]> {
  const removed = mend ? await sweepDeadRuns() : [];
  return [
    ...removed.map((mark): Finding => ({
      severity: 'info',
      about: mark,
      message: 'left by a run whose process is dead; removed',
      remedy: '',
    })),
    ...(await Promise.all(runsHere().map(aboutRun))).flat(),
  ];
}

const aboutRun = async ({ mark, isAlive }: { mark: string; isAlive: boolean }): Promise<Finding[]> =>
  isAlive ? (isOfAnother(mark) ? [unreadable(mark)] : aboutLivingRun(mark)) : [leftover(mark)];

/** Another user's run keeps its folder where this user does not look: what is not seen there may still be. */
function isOfAnother(mark: string): boolean {
  const user = process.geteuid?.();
  const pid = ownerOf(mark)?.pid;
  return user !== 0 && statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid !== user;
}

const unreadable = (mark: string): Finding => ({
  severity: 'info',
  about: mark,
  message: "another user's run is under way; it cannot be examined",
  remedy: 'run the doctor as root',
});

const leftover = (mark: string): Finding => ({
  severity: 'error',
  about: mark,
  message: 'left by a run whose process is dead',
  remedy: 'plimsoll doctor --mend removes it, and so does the next run',
});

/** What must hold of a run at every moment, read without touching it. */
async function aboutLivingRun(mark: string): Promise<Finding[]> {
  const cgroups = linuxCgroups({ root: mark });
  const states = await cgroups.list();
  const supervised = await new LinuxSupervision(
    foldersOf(mark).supervisors,
    ENTRIES.supervisor,
    { root: mark },
    cgroups,
  ).list();
  const running = states.filter(({ path, populated }) => populated && path.startsWith(`${PARENT}/`));
  const error = (message: string): Finding => ({
    severity: 'error',
    about: mark,
    message,
    remedy: 'end the run with Ctrl-C and start it again',
  });
  return [
    { severity: 'info', about: mark, message: `a run is under way, ${running.length} containers`, remedy: '' },
    ...(running.length > 0 && states.find(({ path }) => path === PARENT)?.limitBytes === null
      ? [error('its containers run without a ceiling: if the supervisor dies nothing stops them')]
      : []),
    ...(running.length > 0 && supervised.length === 0 ? [error('its containers run without a supervisor')] : []),
  ];
}

function textOf(findings: readonly Finding[], ok: boolean): string {
  const width = Math.max(...findings.map(({ about }) => about.length));
  const lines = findings.map(({ severity, about, message, remedy }) => {
    const mark = { info: ' ', warning: '!', error: '✗' }[severity];
    return `${mark} ${about.padEnd(width)}  ${message}${remedy === '' ? '' : `; ${remedy}`}`;
  });
  return `${lines.join('\n')}\n${ok ? 'all is well' : 'something is wrong'}\n`;
}
