/** A replay cannot be done as asked: what stands against it, and what to do. */
export class ReplayError extends Error {
  override readonly name = 'ReplayError';
}
