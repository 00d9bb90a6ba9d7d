import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The files of an empty cgroup as version 2 has them. */
function writeCgroup(path: string): void {
  mkdirSync(path, { recursive: true });
  const files = {
    'memory.max': 'max',
    'memory.peak': '0',
    'cgroup.events': 'populated 0',
    'memory.events.local': 'oom_kill 0',
    'cgroup.procs': '',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), `${text}\n`);
}

const module = (path: string): string => JSON.stringify(new URL(`../../../../backends/linux/${path}`, import.meta.url));

test.runIf(process.platform === 'linux').each([0, 2, 3])(
  'with %i file descriptors left, start and stop answer as batches do',
  (left) => {
    for (const path of ['run', 'run/pen', 'run/pen/a']) writeCgroup(join(folder, path));
    const script = `
      import { closeSync, openSync } from 'node:fs';
      import { linuxCgroups } from ${module('cgroups.ts')};
      import { ProcessContainers } from ${module('containers.ts')};
      import { NetworkRoot } from ${module('netns.ts')};
      const network = new NetworkRoot({ mark: 'run', own: null });
      const place = { root: 'run', cgroupMount: ${JSON.stringify(folder)} };
      const containers = new ProcessContainers(linuxCgroups(place), { entry: '/nowhere', place, sharedFolder: '/', cacheFolder: '/', network });
      const held = [];
      try { for (;;) held.push(openSync('/dev/null')); } catch {}
      for (let count = 0; count < ${left}; count++) closeSync(held.pop());
      const spec = { name: 'a', cgroup: 'pen/a', workload: { memory: { kind: 'constant', bytes: 1 }, processes: 2 } };
      const started = await containers.start([spec]);
      const stopped = await containers.stop(['a']);
      for (const fd of held) closeSync(fd);
      console.log(JSON.stringify([started, stopped]));
    `;
    const text = execFileSync(
      'sh',
      ['-c', 'ulimit -n 64; exec "$1" --input-type=module-typescript -e "$2"', 'sh', process.execPath, script],
      { encoding: 'utf8' },
    );
    const [started, stopped] = JSON.parse(text) as unknown[];
    const refusal = { applied: 0, error: { name: 'HostError', code: 'EMFILE', target: 'a' } };
    expect(started).toMatchObject(refusal);
    expect(stopped).toMatchObject(left === 0 ? refusal : { applied: 1 });
  },
);
