import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { execa } from 'execa';

/** Debian's packages from lists of our own, so that the machine's own sources and lists stay as they are. */
export interface Packages {
  /** Installs these on the machine. Needs root. */
  install(names: readonly string[]): Promise<void>;
  /** Unpacks one into a folder without installing it: its scripts do not run, nothing else of the machine changes. */
  unpack(name: string, into: string): Promise<void>;
  /** What a package that stands for another, such as linux-image-amd64, stands for now. */
  standsFor(name: string): Promise<string>;
}

/** Debian 12 has QEMU 7.2, which has no SR-IOV, so that both QEMU and kernel come from its backports there. */
const NEEDS_BACKPORTS = 'bookworm';

/** @param scratch an empty folder for lists and archives, the caller's to remove */
export async function openPackages(scratch: string, say: (line: string) => void): Promise<Packages> {
  const { VERSION_CODENAME: codename, ID: id } = parseEnv(await readFile('/etc/os-release', 'utf8').catch(() => ''));
  if (id !== 'debian' || codename === undefined || process.arch !== 'x64')
    throw new Error(
      `the guest is made from Debian's packages for amd64, and this is ${id ?? process.platform} on ${process.arch}: run it on Debian 12 or later`,
    );
  const release = codename === NEEDS_BACKPORTS ? `${codename}-backports` : codename;
  const folders = {
    sources: path.join(scratch, 'sources'),
    lists: path.join(scratch, 'lists'),
    archives: path.join(scratch, 'archives'),
  };
  for (const folder of Object.values(folders)) await mkdir(path.join(folder, 'partial'), { recursive: true });
  await deriveSources(folders.sources, codename, release);

  const options = [
    '-qq',
    ...Object.entries({
      'Dir::Etc::sourcelist': '/dev/null',
      'Dir::Etc::sourceparts': folders.sources,
      'Dir::State::Lists': folders.lists,
      'Dir::Cache::archives': folders.archives,
      'Dir::Cache::pkgcache': '',
      'Dir::Cache::srcpkgcache': '',
      'APT::Default-Release': release,
      'APT::Sandbox::User': 'root',
      // Another installation, perhaps another guest's, may be under way.
      'DPkg::Lock::Timeout': '300',
    }).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
  ];
  const environment = { env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' }, stdin: 'ignore' } as const;
  say(`reading the package lists of ${release}`);
  await execa('apt-get', [...options, 'update'], environment);

  return {
    async install(names) {
      say(`installing ${names.join(', ')}`);
      if (process.getuid?.() !== 0) throw new Error(`${names.join(', ')} must be installed: run this once as root`);
      await execa('apt-get', [...options, '-y', '--no-install-recommends', 'install', ...names], environment);
    },
    async unpack(name, into) {
      say(`fetching ${name}`);
      await execa('apt-get', [...options, 'download', name], { ...environment, cwd: folders.archives });
      const archive = (await readdir(folders.archives)).find((file) => file.startsWith(`${name}_`));
      await execa('dpkg', ['-x', path.join(folders.archives, String(archive)), into], environment);
    },
    async standsFor(name) {
      const { stdout } = await execa('apt-cache', [...options, 'depends', `${name}/${release}`], environment);
      const found = /^\s*Depends: (?<name>\S+)/m.exec(stdout)?.groups?.name;
      if (found === undefined) throw new Error(`apt-cache depends ${name}/${release} names no package: ${stdout}`);
      return found;
    },
  };
}

/** Copies the machine's sources of Debian itself, and adds the wanted release where it is another. */
async function deriveSources(into: string, codename: string, release: string): Promise<void> {
  const folder = '/etc/apt/sources.list.d';
  const inFolder = existsSync(folder) ? (await readdir(folder)).map((name) => path.join(folder, name)) : [];
  let found = false;
  for (const [index, file] of ['/etc/apt/sources.list', ...inFolder].entries()) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const isStanzas = file.endsWith('.sources');
    if (!isStanzas && !file.endsWith('.list')) continue;
    const entries = (isStanzas ? text.split(/\n\s*\n/) : text.split('\n')).filter((entry) =>
      isStanzas
        ? new RegExp(`^Suites:.*\\b${codename}\\b`, 'm').test(entry)
        : new RegExp(`^deb\\s.*\\s${codename}(-\\S+)?\\s`).test(entry),
    );
    const derived = entries.map((entry) =>
      isStanzas
        ? entry.replace(/^Suites:.*$/m, `Suites: ${release}`)
        : entry.replace(new RegExp(`\\s${codename}\\s`), ` ${release} `),
    );
    // Only the archive itself has a backports suite, not the security archive.
    const wanted = derived.filter((entry, at) => !/security/.test(entry) && entry !== entries[at]).slice(0, 1);
    found ||= wanted.length > 0 || release === codename;
    await writeFile(
      path.join(into, `${index}${path.extname(file)}`),
      [...entries, ...wanted].join(isStanzas ? '\n\n' : '\n').concat('\n'),
    );
  }
  if (!found) throw new Error(`/etc/apt has no source for ${codename} to derive ${release} from`);
}
