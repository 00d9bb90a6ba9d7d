/** Linux errno names that the port speaks; both backends use the same (errno(3)). */
export type Errno =
  | 'EACCES'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'EAGAIN'
  | 'EBUSY'
  | 'EEXIST'
  | 'EHOSTUNREACH'
  | 'EINVAL'
  | 'EIO'
  | 'EMFILE'
  | 'EMSGSIZE'
  | 'ENETDOWN'
  | 'ENETUNREACH'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOTDIR'
  | 'EOPNOTSUPP'
  | 'EPERM'
  | 'ERANGE'
  | 'ESRCH'
  | 'ETIMEDOUT'
  | 'EXFULL';

const MEANING: Record<Errno, string> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'address in use',
  EADDRNOTAVAIL: 'no such address here',
  EAGAIN: 'try again',
  EBUSY: 'in use',
  EEXIST: 'exists already',
  EHOSTUNREACH: 'no way to that host',
  EINVAL: 'refused as invalid',
  EIO: 'input or output failed',
  EMFILE: 'too many open files',
  EMSGSIZE: 'too large for the way',
  ENETDOWN: 'the link is down',
  ENETUNREACH: 'no route there',
  ENODEV: 'no such device, or it is gone',
  ENOENT: 'does not exist',
  ENOMEM: 'no memory for it',
  ENOSPC: 'no room for it',
  ENOTDIR: 'not a folder',
  EOPNOTSUPP: 'not supported here',
  EPERM: 'not permitted',
  ERANGE: 'out of range',
  ESRCH: 'no such process',
  ETIMEDOUT: 'took too long',
  EXFULL: 'full: it holds no more',
};

/** Is this one of the errno names the port speaks? */
export const isErrno = (code: unknown): code is Errno => typeof code === 'string' && Object.hasOwn(MEANING, code);

/** The one error of the host layer: what failed (`operation`, a verb such as `cgroups.remove`), on what, and why. */
export class HostError extends Error {
  override readonly name = 'HostError';
  readonly code: Errno;
  readonly operation: string;
  readonly target: string;

  constructor(code: Errno, operation: string, target: string, options: { detail?: string; cause?: unknown } = {}) {
    super(`${operation} ${target}: ${options.detail ?? MEANING[code]} (${code})`, { cause: options.cause });
    this.code = code;
    this.operation = operation;
    this.target = target;
  }
}

/** The engine that holds this handle has crashed: nothing it does from here on may change the host. */
export class EngineCrash extends Error {
  override readonly name = 'EngineCrash';
}
