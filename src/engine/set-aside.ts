import type { NamespaceName } from '../host/namespaces.ts';
import type { Step } from '../host/steps.ts';
import { vfKey } from '../host/virtual-functions.ts';
import { linkKey } from '../network/functions-plan.ts';
import type { EngineError } from './errors.ts';

/**
 * Containers whose own network the host refused: nothing more is done for them in this round, not even their start, and
 * the others are served. What is refused of what all share ends the round.
 */
export class SetAside {
  readonly #namespaces = new Set<NamespaceName>();
  /** By VF, and by its link's name on the host, the namespace of the container that has it. */
  readonly #holders: ReadonlyMap<string, NamespaceName>;
  #first: EngineError | undefined;

  constructor(holders: ReadonlyMap<string, NamespaceName>) {
    this.#holders = holders;
  }

  /** Is this step of somebody who was set aside? */
  holds(step: Step): boolean {
    const namespace = this.#namespaceOf(step);
    return namespace !== undefined && this.#namespaces.has(namespace);
  }

  /** @throws the error, where the step is of no container alone */
  take(step: Step, error: EngineError): void {
    const namespace = this.#namespaceOf(step);
    if (namespace === undefined) throw error;
    this.#namespaces.add(namespace);
    this.#first ??= error;
  }

  /** @throws the first error, where anybody was set aside */
  demand(): void {
    if (this.#first !== undefined) throw this.#first;
  }

  /** The container's namespace that a step is about; undefined: it is about what all share. */
  #namespaceOf(step: Step): NamespaceName | undefined {
    switch (step.verb) {
      case 'namespaces.create':
      case 'namespaces.remove':
        return step.with;
      case 'links.create': {
        const { kind, namespace } = step.with;
        return (kind.type === 'veth' ? kind.peer.namespace : namespace) || undefined;
      }
      case 'links.move':
        return (
          step.with.to.namespace || this.#holders.get(linkKey(step.with.to)) || this.#holders.get(linkKey(step.with))
        );
      case 'virtualFunctions.set':
      case 'virtualFunctions.bind':
      case 'virtualFunctions.unbind':
        return this.#holders.get(vfKey(step.with));
      case 'links.set':
        return step.with.namespace || this.#holders.get(linkKey(step.with));
      case 'links.remove':
      case 'routing.add':
      case 'routing.remove':
      case 'routing.announce':
      case 'shaper.add':
      case 'shaper.remove':
        return step.with.namespace || undefined;
      case 'containers.start':
        return step.with.namespace;
      case 'cgroups.create':
      case 'cgroups.limit':
      case 'cgroups.remove':
      case 'containers.stop':
      case 'supervision.supervise':
      case 'supervision.release':
      case 'virtualFunctions.enable':
      case 'firewall.apply':
        return undefined;
    }
  }
}
