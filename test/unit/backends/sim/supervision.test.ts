import { describe, expect, it } from 'vitest';
import type { SupervisorFactory, SupervisorSettings } from '../../../../src/host/supervision.ts';
import { mib, pass, settingsFor, simulate, startInPen } from './harness.ts';

/** Notes what is done to it. */
function recording(): { readonly log: string[]; readonly factory: SupervisorFactory } {
  const log: string[] = [];
  const factory: SupervisorFactory = (_cgroups, settings, emit) => {
    let current: SupervisorSettings = settings;
    return {
      look(nowMs) {
        log.push(`${current.parent} looks at ${nowMs}`);
        emit({ kind: 'look', atMs: nowMs, totalBytes: 0 });
        return nowMs + current.line.lookEveryMs;
      },
      configure(settings) {
        current = settings;
        log.push(`${current.parent} is told ${settings.line.lookEveryMs}`);
      },
      close: () => log.push(`${current.parent} closes`),
    };
  };
  return { log, factory };
}

describe('supervision', () => {
  it('looks at once and then when the supervisor asks to, each parent at its own pace', async () => {
    const { log, factory } = recording();
    const simulation = simulate({ supervisor: factory });
    const host = await startInPen(simulation, {});
    await simulation.run(async () => {
      await host.cgroups.create([{ path: 'other' }]);
      await host.supervision.supervise([settingsFor('pen', 100), settingsFor('other', 250)]);
    });
    await pass(simulation, 260);
    expect(log).toEqual(
      ['pen', 'other', 'pen', 'pen', 'other'].map((who, i) => `${who} looks at ${[0, 0, 100, 200, 250][i]}`),
    );
    expect(host.supervision.take().map(({ atMs }) => atMs)).toEqual([0, 0, 100, 200, 250]);
  });

  it('tells new settings to the one that lives, and keeps its pace', async () => {
    const { log, factory } = recording();
    const simulation = simulate({ supervisor: factory });
    const host = await startInPen(simulation, {});
    await simulation.run(() => host.supervision.supervise([settingsFor('pen', 100)]));
    await pass(simulation, 50);
    await simulation.run(() => host.supervision.supervise([settingsFor('pen', 30)]));
    await pass(simulation, 85);
    expect(log).toEqual(['pen looks at 0', 'pen is told 30', 'pen looks at 100', 'pen looks at 130']);
    expect(await host.supervision.list()).toEqual([settingsFor('pen', 30)]);
  });

  it('release closes it: it looks no more, not even where it was due at that moment', async () => {
    const { log, factory } = recording();
    const simulation = simulate({ supervisor: factory });
    const host = await startInPen(simulation, {});
    await simulation.run(async () => {
      await host.supervision.supervise([settingsFor('pen')]);
      await host.supervision.release(['pen']);
    });
    await pass(simulation, 500);
    expect(log).toEqual(['pen closes']);
  });

  it('refuses settings that nobody can work by, and leaves the old ones in force', async () => {
    const simulation = simulate({
      supervisor: (_cgroups, settings) => ({
        look: (nowMs) => nowMs + settings.line.lookEveryMs,
        configure() {
          throw new Error('there is no policy nonesuch');
        },
        close: () => undefined,
      }),
    });
    const host = await startInPen(simulation, {});
    await simulation.run(async () => {
      expect(await host.supervision.supervise([settingsFor('pen', 10)])).toEqual({ applied: 1 });
      const { applied, error } = await host.supervision.supervise([settingsFor('pen', 20)]);
      expect([applied, error?.code]).toEqual([0, 'EINVAL']);
      expect(error?.message).toMatch(/there is no policy nonesuch/);
    });
    expect(await host.supervision.list()).toEqual([settingsFor('pen', 10)]);
  });

  it('time goes on even if a supervisor asks to look again at once', async () => {
    let looks = 0;
    const simulation = simulate({
      supervisor: () => ({
        look(nowMs) {
          looks++;
          return nowMs;
        },
        configure: () => undefined,
        close: () => undefined,
      }),
    });
    const host = await startInPen(simulation, {});
    await simulation.run(() => host.supervision.supervise([settingsFor('pen')]));
    await pass(simulation, 10);
    expect(looks).toBeGreaterThan(50);
    expect(looks).toBeLessThan(200);
  });

  it('reads and kills as the host does', async () => {
    const simulation = simulate({
      supervisor: (cgroups, settings) => {
        const reader = cgroups.open('pen');
        return {
          look(nowMs) {
            if (reader.usageBytes() > mib(50)) cgroups.kill('pen/a');
            return nowMs + settings.line.lookEveryMs;
          },
          configure: () => undefined,
          close: () => reader.close(),
        };
      },
    });
    const leak = { kind: 'leak', from: mib(0), bytesPerSecond: mib(100) } as const;
    const host = await startInPen(simulation, { a: { memory: leak } });
    await simulation.run(() => host.supervision.supervise([settingsFor('pen', 100)]));
    await pass(simulation, 599);
    expect((await host.containers.list())[0]?.phase).toBe('running');
    await pass(simulation, 10);
    expect((await host.containers.list())[0]).toMatchObject({ phase: 'exited', oomKilled: false });
  });
});
