import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { execa, ExecaError } from 'execa';
import type { GuestFiles } from './set-up.ts';

export interface GuestOptions {
  readonly files: GuestFiles;
  /** Where the command runs; the guest sees the machine's own folders. Changes stay in the guest's memory. */
  readonly folder: string;
  /** Beside the guest's own variables. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly memoryMib: number;
  /** Network cards with virtual functions (igb), all on one hub that leads nowhere. */
  readonly nics: number;
  readonly timeLimitMs: number;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly signal?: AbortSignal;
}

export interface GuestEnd {
  readonly exitCode: number;
  /** From the start of QEMU to the start of the command, on the machine's clock. */
  readonly bootMs: number;
}

/** Boots a guest, runs one command in it as root, and ends it. QEMU never outlives the call, nor the process that calls. */
export async function runInGuest(command: readonly string[], options: GuestOptions): Promise<GuestEnd> {
  await sweep();
  const run = await mkdtemp(path.join(tmpdir(), `${RUN_FOLDER}${process.pid}-`));
  const servers: Server[] = [];
  try {
    await writeFile(path.join(run, 'environment'), `modules=${quoted(options.files.modules)}\n`);
    await writeFile(path.join(run, 'command'), script(command, options));
    const startedAt = performance.now();
    let bootMs = Number.NaN;
    let status = '';
    const ports = [
      await listen(path.join(run, 'out'), (chunk) => passOn(chunk, options.stdout)),
      await listen(path.join(run, 'err'), (chunk) => passOn(chunk, options.stderr)),
      await listen(path.join(run, 'status'), (chunk) => {
        status += chunk.toString();
        if (Number.isNaN(bootMs) && status.includes('started')) bootMs = performance.now() - startedAt;
      }),
    ];
    servers.push(...ports.map((port) => port.server));
    const failure = await execa('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...machine(run, options)], {
      // Debian keeps setpriv and QEMU there; PATH may not.
      env: { PATH: `/usr/sbin:/usr/bin:/sbin:/bin:${process.env['PATH'] ?? ''}` },
      stdin: 'ignore',
      timeout: options.timeLimitMs,
      forceKillAfterDelay: 2000,
      ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    }).then(
      () => null,
      (error: unknown) => error,
    );
    const exitCode = /^exit (?<code>\d+)$/m.exec(status)?.groups?.code;
    if (failure === null && exitCode !== undefined) {
      await Promise.all(ports.map((port) => port.ended));
      return { exitCode: Number(exitCode), bootMs };
    }
    throw await whyItFailed(failure, run, options.timeLimitMs);
  } finally {
    for (const server of servers) server.close();
    await rm(run, { recursive: true, force: true });
  }
}

const RUN_FOLDER = 'plimsoll-guest-';

/** Removes what runs left whose process was killed; their QEMU went with it. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(RUN_FOLDER) && name.slice(RUN_FOLDER.length).split('-')[0];
    if (owner && !existsSync(`/proc/${owner}`)) await rm(path.join(tmpdir(), name), { recursive: true, force: true });
  }
}

interface Port {
  readonly server: Server;
  /** When QEMU has closed its end and everything was passed on. */
  readonly ended: Promise<void>;
}

/** What the guest writes to a port QEMU sends to this socket: a pipe of Node's cannot be opened by name. */
async function listen(file: string, onData: (chunk: Buffer) => Promise<void> | void): Promise<Port> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  const drain = async (socket: Socket): Promise<void> => {
    for await (const chunk of socket) await onData(chunk as Buffer);
  };
  const server = createServer((socket) => void drain(socket).then(resolve, reject));
  // Heard of only where the guest ends well.
  ended.catch(() => {});
  server.listen(file);
  await once(server, 'listening');
  return { server, ended };
}

/** Writes and waits while the reader is behind, so that the guest waits too. */
async function passOn(chunk: Buffer, to: Writable): Promise<void> {
  if (!to.write(chunk) && !to.destroyed) {
    await Promise.race([new Promise((resolve) => to.once('drain', resolve)), finished(to).catch(() => {})]);
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function script(command: readonly string[], { folder, environment }: GuestOptions): string {
  const variables = Object.entries(environment).filter(([, value]) => value !== undefined);
  return [
    ...variables.map(([name, value]) => `export ${name}=${quoted(String(value))}`),
    `cd -- ${quoted(folder)} || exit 125`,
    `exec ${command.map(quoted).join(' ')}`,
    '',
  ].join('\n');
}

/** QEMU's arguments. KVM is not used: where the machine is a guest itself, it does not boot an unmodified kernel. */
function machine(run: string, { files, memoryMib, nics }: GuestOptions): string[] {
  const kernelWords = [
    'console=ttyS0 loglevel=6 panic=-1 nokaslr mitigations=off net.ifnames=0 psi=1',
    'tsc=reliable no_timer_check random.trust_cpu=on',
    `plimsoll.init=${path.join(import.meta.dirname, 'root-init.sh')} plimsoll.run=${run}`,
  ].join(' ');
  return [
    ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ['-machine', 'q35,smm=off,hpet=off', '-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max'],
    ['-smp', '2', '-m', `${memoryMib}`],
    ['-kernel', files.kernel, '-initrd', files.initramfs, '-append', kernelWords],
    ['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
    // What is written goes to a file that QEMU has unlinked already.
    ['-drive', `if=none,id=scratch,file=${files.scratch},format=raw,snapshot=on,cache=unsafe`],
    ['-device', 'virtio-blk-pci,drive=scratch', '-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
    ['out', 'err', 'status'].flatMap((name) => outlet(name, run)),
    ['-serial', `file:${path.join(run, 'console')}`],
    Array.from({ length: nics }, (_, index) => card(index)).flat(),
  ].flat();
}

const outlet = (name: string, run: string): string[] => [
  '-chardev',
  `socket,id=${name},path=${path.join(run, name)}`,
  '-device',
  `virtserialport,chardev=${name},name=${name}`,
];

const card = (index: number): string[] => [
  '-device',
  `pcie-root-port,id=port${index},chassis=${index + 1},slot=${index + 1}`,
  '-netdev',
  `hubport,id=net${index},hubid=0`,
  '-device',
  `igb,bus=port${index},netdev=net${index},mac=52:54:00:76:00:0${index}`,
];

async function whyItFailed(failure: unknown, run: string, timeLimitMs: number): Promise<Error> {
  const console = await readFile(path.join(run, 'console'), 'utf8').catch(() => '');
  const last = console.trimEnd().split('\n').slice(-15).join('\n');
  const what =
    failure instanceof ExecaError && failure.timedOut
      ? `the guest did not end within ${timeLimitMs / 1000} s`
      : failure instanceof ExecaError && failure.isCanceled
        ? 'the guest was stopped'
        : 'the guest ended before its command did';
  return new Error(`${what}; the last lines of its console:\n${last}`, { cause: failure });
}
