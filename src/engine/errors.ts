/**
 * The engine could not bring the host to what is asked; the next tick tries again. Its cause is the host's refusal
 * (HostError) or what the policy did wrong (PolicyFault), where there is one.
 */
export class EngineError extends Error {
  override readonly name = 'EngineError';

  constructor(message: string, cause?: Error) {
    super(message, { cause });
  }
}
