import type { NamespaceName } from '../host/namespaces.ts';
import type { Step } from '../host/steps.ts';
import type { EngineError } from './errors.ts';

/**
 * Containers whose own network the host refused: nothing more is done for them in this round, not even their start, and
 * the others are served. What is refused of what all share ends the round.
 */
export class SetAside {
  readonly #namespaces = new Set<NamespaceName>();
  #first: EngineError | undefined;

  /** Is this step of somebody who was set aside? */
  holds(step: Step): boolean {
    const namespace = namespaceOf(step);
    return namespace !== undefined && this.#namespaces.has(namespace);
  }

  /** @throws the error, where the step is of no container alone */
  take(step: Step, error: EngineError): void {
    const namespace = namespaceOf(step);
    if (namespace === undefined) throw error;
    this.#namespaces.add(namespace);
    this.#first ??= error;
  }

  /** @throws the first error, where anybody was set aside */
  demand(): void {
    if (this.#first !== undefined) throw this.#first;
  }
}

/** The container's namespace that a step is about; undefined: it is about what all share. */
function namespaceOf(step: Step): NamespaceName | undefined {
  switch (step.verb) {
    case 'namespaces.create':
    case 'namespaces.remove':
      return step.with;
    case 'links.create': {
      const { kind, namespace } = step.with;
      return (kind.type === 'veth' ? kind.peer.namespace : namespace) || undefined;
    }
    case 'links.set':
    case 'links.remove':
    case 'routing.add':
    case 'routing.remove':
      return step.with.namespace || undefined;
    case 'containers.start':
      return step.with.namespace;
    case 'cgroups.create':
    case 'cgroups.limit':
    case 'cgroups.remove':
    case 'containers.stop':
    case 'supervision.supervise':
    case 'supervision.release':
    case 'firewall.apply':
      return undefined;
  }
}
