import { EngineCrash } from '../../host/errors.ts';
import type { Host } from '../../host/host.ts';

/** A handle of a host that can be cut, as a crash cuts it: from then on every call throws EngineCrash. */
export interface SeverableHost {
  readonly host: Host;
  readonly sever: () => void;
}

/** Makes a host's handle severable. What is under way when it is cut may still take effect, but nobody learns of it. */
export function severable(host: Host): SeverableHost {
  let severed = false;
  const check = (): void => {
    if (severed) throw new EngineCrash('the engine has crashed');
  };
  const guard = <T extends object>(capability: T): T =>
    new Proxy(capability, {
      get(target, key) {
        const member: unknown = Reflect.get(target, key, target);
        if (typeof member !== 'function') return member;
        return (...words: unknown[]): unknown => {
          check();
          const answer: unknown = Reflect.apply(member, target, words);
          return answer instanceof Promise ? answer.finally(check) : answer;
        };
      },
    });
  return {
    host: {
      name: host.name,
      clock: guard(host.clock),
      machine: guard(host.machine),
      cgroups: guard(host.cgroups),
      containers: guard(host.containers),
      supervision: guard(host.supervision),
      namespaces: guard(host.namespaces),
      links: guard(host.links),
      virtualFunctions: guard(host.virtualFunctions),
      routing: guard(host.routing),
      firewall: guard(host.firewall),
      shaper: guard(host.shaper),
      probes: guard(host.probes),
      store: guard(host.store),
    },
    sever: () => {
      severed = true;
    },
  };
}
