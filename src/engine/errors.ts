import type { HostError } from '../host/errors.ts';

/** The engine could not bring the host to what is asked. The next tick tries again. */
export class EngineError extends Error {
  override readonly name = 'EngineError';

  constructor(message: string, cause?: HostError) {
    super(message, { cause });
  }
}
