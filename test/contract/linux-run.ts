import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { findLayout } from '../../backends/linux/cgroup-layout.ts';
import { runFolderOf } from '../../backends/linux/owner.ts';

/** Starts the run to be killed, in a process of its own, and waits until all of it is up. */
export async function startOwner(): Promise<{ readonly owner: ChildProcess; readonly mark: string }> {
  const owner = spawn(
    process.execPath,
    [fileURLToPath(new URL(`linux-owner${extname(import.meta.url)}`, import.meta.url))],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  for await (const line of createInterface({ input: owner.stdout }))
    return { owner, mark: (JSON.parse(line) as { mark: string }).mark };
  throw new Error('the owner ended before it was up');
}

export async function kill(owner: ChildProcess): Promise<void> {
  const gone = once(owner, 'exit');
  owner.kill('SIGKILL');
  await gone;
}

/** Where the kernel shows the cgroups of a run. */
export const mounts = (): string[] => {
  const layout = findLayout()!;
  return layout.version === 1 ? [layout.memoryMount, layout.freezerMount] : [layout.mount];
};

/** Whatever still carries a mark: cgroups, folders, network namespaces, processes. Found with `ps` and by looking, not by what made it. */
export function tracesOf(mark: string): string[] {
  const places = [...mounts(), '/dev/shm', tmpdir()].map((folder) => join(folder, mark));
  const processes = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(mark));
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.startsWith(mark)) : [];
  return [...[...places, runFolderOf(mark)].filter((path) => existsSync(path)), ...namespaces, ...processes];
}
