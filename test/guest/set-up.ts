import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { execa } from 'execa';
import { openPackages, type Packages } from './packages.ts';

/** What a guest boots from, all in a cache outside the checkout. */
export interface GuestFiles {
  /** The uncompressed kernel: it boots through PVH, a second faster than the compressed one. */
  readonly kernel: string;
  /** Its modules, `lib/modules/VERSION`. */
  readonly modules: string;
  readonly initramfs: string;
  /** An empty ext4 of SCRATCH_BYTES, sparse. */
  readonly scratch: string;
}

/** Commands of the machine and the packages that bring them. */
const COMMANDS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  depmod: 'kmod',
  modprobe: 'kmod',
  'mkfs.ext4': 'e2fsprogs',
  xz: 'xz-utils',
  setpriv: 'util-linux',
} as const;

/** What the guest needs before it can see its root: that root, and the scratch disk. The rest is loaded from there. */
const EARLY_MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay', 'virtio_blk', 'ext4'];

const SCRATCH_BYTES = 8 * 2 ** 30;

const here = import.meta.dirname;
const initFile = path.join(here, 'initramfs-init');
const cache = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'plimsoll', 'guest');

/** Changes with everything that a boot folder is made from. */
const inputs = createHash('sha256')
  .update(readFileSync(initFile))
  .update(JSON.stringify([EARLY_MODULES, SCRATCH_BYTES]))
  .digest('hex')
  .slice(0, 16);
const kernelFolder = path.join(cache, 'kernel');
const bootFolder = path.join(cache, `boot-${inputs}`);

/** What keeps a guest from booting here, in words; empty when nothing does. */
export function missing(): string[] {
  const packages = missingPackages();
  return [
    ...(packages.length > 0 ? [`package ${packages.join(', ')}`] : []),
    ...(existsSync(kernelFolder) ? [] : ['a kernel for the guest']),
    ...(existsSync(bootFolder) ? [] : ['an initramfs for the guest']),
  ];
}

/** Makes what is missing: a second call does nothing. Two at once both work, and one result is kept. */
export async function setUp(say: (line: string) => void): Promise<GuestFiles> {
  if (missing().length > 0) {
    await mkdir(cache, { recursive: true });
    const scratch = await mkdtemp(path.join(cache, 'making-'));
    try {
      const packages = missingPackages();
      if (packages.length > 0 || !existsSync(kernelFolder)) {
        const debian = await openPackages(await inside(scratch, 'apt'), say);
        if (packages.length > 0) await debian.install(packages);
        if (!existsSync(kernelFolder))
          await keep(await makeKernel(debian, await inside(scratch, 'kernel')), kernelFolder);
      }
      if (!existsSync(bootFolder)) await keep(await makeBoot(await inside(scratch, 'boot'), say), bootFolder);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
  return {
    kernel: path.join(kernelFolder, 'vmlinux'),
    modules: modulesFolder(kernelFolder),
    initramfs: path.join(bootFolder, 'initramfs'),
    scratch: path.join(bootFolder, 'scratch.ext4'),
  };
}

const missingPackages = (): string[] => [
  ...new Set(
    Object.entries(COMMANDS)
      .filter(([command]) => !FOLDERS.some((folder) => existsSync(path.join(folder, command))))
      .map(([, name]) => name),
  ),
];

const FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

async function inside(folder: string, name: string): Promise<string> {
  const made = path.join(folder, name);
  await mkdir(made);
  return made;
}

/** Puts a finished folder in its place; where another process was first, its result stays. */
async function keep(made: string, place: string): Promise<void> {
  try {
    await rename(made, place);
  } catch (error) {
    if (!existsSync(place)) throw error;
  }
}

function modulesFolder(kernel: string): string {
  const all = path.join(kernel, 'lib', 'modules');
  return path.join(all, String(readdirSync(all)[0]));
}

/** The kernel unpacked, never installed: installing it would build an initrd for this machine. */
async function makeKernel(debian: Packages, into: string): Promise<string> {
  const unpacked = await inside(into, 'unpacked');
  await debian.unpack(await debian.standsFor('linux-image-amd64'), unpacked);
  await debian.unpack('busybox-static', unpacked);
  // Where /lib is a link to usr/lib, a package may bring its modules under either.
  const lib = [unpacked, path.join(unpacked, 'usr')].find((root) => existsSync(path.join(root, 'lib', 'modules')));
  await mkdir(path.join(into, 'lib'));
  await rename(path.join(String(lib), 'lib', 'modules'), path.join(into, 'lib', 'modules'));
  const release = path.basename(modulesFolder(into));
  await execa('depmod', ['-b', into, release], { env: SYSTEM_PATH });
  const image = await readFile(path.join(unpacked, 'boot', `vmlinuz-${release}`));
  await writeFile(path.join(into, 'vmlinux'), await uncompressed(image));
  const busybox = ['usr/bin/busybox', 'bin/busybox'].map((name) => path.join(unpacked, name)).find(existsSync);
  await cp(String(busybox), path.join(into, 'busybox'));
  await rm(unpacked, { recursive: true });
  return into;
}

const SYSTEM_PATH = { PATH: FOLDERS.join(':') };

/** The ELF inside a bzImage: the boot protocol's header says where it lies (Documentation/arch/x86/boot.rst). */
async function uncompressed(image: Buffer): Promise<Uint8Array> {
  const protectedMode = (image.readUInt8(0x1f1) + 1) * 512;
  const start = protectedMode + image.readUInt32LE(0x248);
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c));
  if (payload.readUInt32LE(0) === 0xfd2fb528) return zstdDecompressSync(payload);
  // The payload ends with its uncompressed size, which is not part of the stream.
  const { stdout } = await execa('xz', ['-dc', '--single-stream'], {
    input: payload,
    encoding: 'buffer',
    env: SYSTEM_PATH,
  });
  return stdout;
}

async function makeBoot(into: string, say: (line: string) => void): Promise<string> {
  say('making the initramfs and the scratch disk');
  const root = await inside(into, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'modules']) await mkdir(path.join(root, name));
  await cp(path.join(kernelFolder, 'busybox'), path.join(root, 'bin', 'busybox'));
  await writeFile(path.join(root, 'init'), await readFile(initFile), { mode: 0o755 });
  const order = await earlyModules();
  for (const file of order) {
    const { stdout } = file.endsWith('.xz')
      ? await execa('xz', ['-dc', file], { encoding: 'buffer', env: SYSTEM_PATH })
      : { stdout: await readFile(file) };
    await writeFile(path.join(root, 'modules', moduleName(file)), stdout);
  }
  await writeFile(path.join(root, 'modules.order'), order.map(moduleName).join('\n'));
  const busybox = path.join(root, 'bin', 'busybox');
  await execa('sh', ['-c', 'find . | "$0" cpio -o -H newc >../initramfs', busybox], { cwd: root });
  await rm(root, { recursive: true });

  const scratch = path.join(into, 'scratch.ext4');
  await writeFile(scratch, '');
  await truncate(scratch, SCRATCH_BYTES);
  await execa('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1', scratch], {
    env: SYSTEM_PATH,
  });
  return into;
}

const moduleName = (file: string): string => path.basename(file).replace(/\.xz$/, '');

/** Files to insert, each after what it depends on; those built into the kernel need none. */
async function earlyModules(): Promise<string[]> {
  const release = path.basename(modulesFolder(kernelFolder));
  const { stdout } = await execa(
    'modprobe',
    [
      '--dirname',
      kernelFolder,
      '--set-version',
      release,
      '--show-depends',
      '--ignore-install',
      '--all',
      ...EARLY_MODULES,
    ],
    { env: SYSTEM_PATH },
  );
  const files = stdout.split('\n').flatMap((line) => /^insmod (?<file>\S+)/.exec(line)?.groups?.file ?? []);
  return [...new Set(files)];
}
