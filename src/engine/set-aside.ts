import type { LinkName } from '../host/links.ts';
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
  readonly #holdersOf: () => ReadonlyMap<string, NamespaceName>;
  #holders: ReadonlyMap<string, NamespaceName> | undefined;
  #first: EngineError | undefined;

  /** @param holders by VF, and by link on the host, the namespace of the container that has it; asked only where something is refused */
  constructor(holders: () => ReadonlyMap<string, NamespaceName>) {
    this.#holdersOf = holders;
  }

  /** Is this step of somebody who was set aside? */
  holds(step: Step): boolean {
    if (this.#namespaces.size === 0) return false;
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
        return this.#inOrOf(step.with.to) ?? this.#inOrOf(step.with);
      case 'virtualFunctions.set':
      case 'virtualFunctions.bind':
      case 'virtualFunctions.unbind':
        return this.#holder(vfKey(step.with));
      case 'links.set':
      case 'links.remove':
      case 'shaper.add':
      case 'shaper.remove':
        return this.#inOrOf(step.with);
      case 'routing.add':
      case 'routing.remove':
        return step.with.kind === 'rule' ? step.with.namespace || undefined : this.#inOrOfLink(step.with);
      case 'routing.announce':
        return this.#inOrOfLink(step.with);
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

  /** Of a link in a container's namespace that one; of a link on the host the container's whose it is. */
  #inOrOf(link: LinkName): NamespaceName | undefined {
    return link.namespace || this.#holder(linkKey(link));
  }

  #inOrOfLink({ namespace, link }: { readonly namespace: NamespaceName; readonly link: string }) {
    return this.#inOrOf({ namespace, name: link });
  }

  #holder(key: string): NamespaceName | undefined {
    this.#holders ??= this.#holdersOf();
    return this.#holders.get(key);
  }
}
