import type { Cgroups } from '../../src/host/cgroups.ts';
import { HostError } from '../../src/host/errors.ts';
import type {
  Supervision,
  Supervisor,
  SupervisorEvent,
  SupervisorFactory,
  SupervisorSettings,
} from '../../src/host/supervision.ts';
import { inOrder } from './batch.ts';
import type { Event, EventQueue } from './events.ts';

/** What befalls a look: it comes later, or the supervisor dies of it. */
export interface LookFault {
  readonly delayMs: number;
  readonly dies: boolean;
}

export interface SupervisionParts {
  readonly events: EventQueue;
  /** The host's own: what `supervise` checks its parents by. */
  readonly cgroups: Cgroups;
  /** What the supervisors read and kill through. */
  readonly access: Pick<Cgroups, 'open' | 'kill'>;
  readonly factory: SupervisorFactory;
  /** Asked before every look, where faults were declared. */
  readonly lookFault?: (() => LookFault | null) | undefined;
}

/** A supervisor at work. */
interface Watch {
  settings: SupervisorSettings;
  readonly supervisor: Supervisor;
  /** Its next look: one object for all of them. */
  readonly event: Event;
  late: boolean;
}

/** Supervisors in virtual time: every look is a synchronous event. They live on when an engine crashes. */
export function createSupervision({ events, cgroups, access, factory, lookFault }: SupervisionParts): Supervision {
  const watches = new Map<string, Watch>();
  let untaken: SupervisorEvent[] = [];

  const end = (parent: string): void => {
    const watch = watches.get(parent);
    if (watch === undefined) return;
    watch.event.cancelled = true;
    watch.supervisor.close();
    watches.delete(parent);
  };

  const look = (watch: Watch): void => {
    const { nowMs } = events;
    if (lookFault !== undefined && !watch.late) {
      const fault = lookFault();
      if (fault?.dies === true) {
        end(watch.settings.parent);
        return;
      }
      if (fault !== null && fault.delayMs > 0) {
        watch.late = true;
        events.again(watch.event, nowMs + fault.delayMs);
        return;
      }
    }
    watch.late = false;
    events.again(watch.event, Math.max(watch.supervisor.look(nowMs), nowMs + LOOK_MS_MIN));
  };

  const begin = (settings: SupervisorSettings): void => {
    const known = watches.get(settings.parent);
    if (known !== undefined) {
      known.supervisor.configure(settings);
      known.settings = settings;
      return;
    }
    cgroups.open(settings.parent).close();
    const supervisor = factory(access, settings, (event) => untaken.push(event));
    const watch: Watch = {
      settings,
      supervisor,
      event: events.at(events.nowMs, () => look(watch)),
      late: false,
    };
    watches.set(settings.parent, watch);
  };

  return {
    supervise: (settings) =>
      inOrder(settings, (one) => {
        try {
          begin(one);
        } catch (cause) {
          const code = cause instanceof HostError ? cause.code : 'EINVAL';
          const detail = cause instanceof Error ? cause.message : String(cause);
          throw new HostError(code, 'supervision.supervise', one.parent, { detail, cause });
        }
      }),
    release: (parents) => inOrder(parents, end),
    list: async () => [...watches.values()].map(({ settings }) => settings),
    take() {
      const taken = untaken;
      untaken = [];
      return taken;
    },
  };
}

/** Two looks are at least this far apart, whatever a supervisor asks for: time must go on. */
const LOOK_MS_MIN = 0.1;
