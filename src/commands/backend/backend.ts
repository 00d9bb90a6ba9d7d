import type { PolicyReference } from '../../host/supervision.ts';
import type { MemoryPolicy } from '../../memory/policy.ts';
import type { EngineFactory, ScenarioBackend } from '../../scenario/run.ts';

/** Finds a policy that was loaded before the run. */
export type FindPolicy = (reference: PolicyReference) => MemoryPolicy;

/** A backend made ready for one scenario, with the engines that work on it. */
export interface OpenBackend {
  readonly backend: ScenarioBackend;
  readonly engineFor: EngineFactory;
  /** Ends everything it made and leaves nothing behind. */
  close(): Promise<void>;
}
