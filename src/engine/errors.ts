import type { HostError } from '../host/errors.ts';
import { type Step, targetOf } from '../host/steps.ts';

/** The engine could not bring the host to what is asked: which step the host refused. The next tick tries again. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  override readonly cause: HostError;
  readonly step: Step;

  constructor(step: Step, cause: HostError) {
    super(`${cause.message}; wanted because: ${step.why} (${targetOf(step)})`, { cause });
    this.cause = cause;
    this.step = step;
  }
}
