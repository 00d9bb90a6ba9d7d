import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';

/** A real etcd of a test's own. */
export interface EtcdServer {
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  /** The member that leads, by its own word; waits for one. */
  leader(): Promise<EtcdMember>;
  /** Ends all of it, and removes its data. */
  close(): Promise<void>;
}

export interface EtcdMember {
  readonly endpoint: string;
  /** Starts it with the data it had, and waits until it listens. */
  start(): Promise<void>;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP or SIGCONT: it hangs, and goes on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
}

/** Null: it can be had here. */
export const whyNoEtcd = (): string | null => {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  const missing = ['etcd', 'setpriv'].filter((name) => !folders.some((folder) => existsSync(path.join(folder, name))));
  return missing.length === 0 ? null : `there is no ${missing.join(' and no ')} (Debian: etcd-server, util-linux)`;
};

const FOLDER = 'plimsoll-etcd-';

/** A start takes 0.3 s; on a busy machine many times that. */
const START_LIMIT_MS = 30_000;

/**
 * Elections in half a second, so that a lease may be as short as 1 s (etcd: one and a half election timeouts, rounded up).
 * Nothing of it is left when the tester is killed: `setpriv` has the kernel kill it, too (PR_SET_PDEATHSIG); the data
 * folders of killed testers go with the next start.
 */
export async function startEtcd(count: 1 | 3): Promise<EtcdServer> {
  removeOrphans();
  const folder = mkdtempSync(path.join(tmpdir(), `${FOLDER}${process.pid}-`));
  const ports = await freePorts(2 * count);
  const urls = Array.from({ length: count }, (_, index) => ({
    name: `m${index}`,
    client: `http://127.0.0.1:${ports[2 * index]}`,
    peer: `http://127.0.0.1:${ports[2 * index + 1]}`,
  }));
  const cluster = urls.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const members = urls.map(({ name, client, peer }) => {
    const settings = {
      name,
      'data-dir': path.join(folder, name),
      'initial-cluster': cluster,
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'heartbeat-interval': '50',
      'election-timeout': '500',
      logger: 'zap',
    };
    const words = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    return createMember(client, path.join(folder, `${name}.log`), words);
  });
  const close = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.kill()));
    rmSync(folder, { recursive: true, force: true });
  };
  const server: EtcdServer = {
    members,
    endpoints: members.map(({ endpoint }) => endpoint),
    close,
    leader: () => until(async () => await leaderOf(members), 'a leader'),
  };
  try {
    await Promise.all(members.map((member) => member.start()));
    await server.leader();
    return server;
  } catch (error) {
    await close();
    throw error;
  }
}

function createMember(endpoint: string, log: string, words: readonly string[]): EtcdMember {
  let child: ChildProcess | undefined;
  const isRunning = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;
  return {
    endpoint,
    async start() {
      const output = openSync(log, 'a');
      child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'etcd', ...words], { stdio: ['ignore', output, output] });
      closeSync(output);
      const failed = once(child, 'error').then(([error]) => Promise.reject(error as Error));
      const ready = until(async () => {
        if (!isRunning()) throw new Error(`etcd has ended: ${readFileSync(log, 'utf8').slice(-1000)}`);
        return (await statusOf(endpoint)) ?? undefined;
      }, `etcd to listen at ${endpoint}`);
      await Promise.race([failed, ready]);
    },
    async kill() {
      if (child === undefined || !isRunning()) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
    signal: (signal) => void child?.kill(signal),
  };
}

const Status = z.object({ leader: z.string().optional(), header: z.object({ member_id: z.string() }) });

/** Asked over its JSON gateway, by another way than the store's; null: it does not answer. */
async function statusOf(endpoint: string): Promise<z.infer<typeof Status> | null> {
  try {
    const signal = AbortSignal.timeout(1000);
    const response = await fetch(`${endpoint}/v3/maintenance/status`, { method: 'POST', body: '{}', signal });
    return response.ok ? Status.parse(await response.json()) : null;
  } catch {
    return null;
  }
}

async function leaderOf(members: readonly EtcdMember[]): Promise<EtcdMember | undefined> {
  const states = await Promise.all(members.map(({ endpoint }) => statusOf(endpoint)));
  return members.find((_, index) => {
    const state = states[index];
    return state !== null && state !== undefined && state.leader === state.header.member_id;
  });
}

async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const untilMs = performance.now() + START_LIMIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > untilMs) throw new Error(`waited ${START_LIMIT_MS} ms for ${what}`);
    await sleep(50);
  }
}

/** All held at once, so that no two are the same. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  return await Promise.all(
    servers.map(async (server) => {
      const { port } = server.address() as { port: number };
      server.close();
      await once(server, 'close');
      return port;
    }),
  );
}

function removeOrphans(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(FOLDER) ? /^\d+/.exec(name.slice(FOLDER.length))?.[0] : undefined;
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(path.join(tmpdir(), name), { recursive: true, force: true });
  }
}
