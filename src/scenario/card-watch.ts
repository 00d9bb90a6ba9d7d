import type { FunctionsObservation, QdiscsObservation } from '../engine/observation.ts';
import { vfKey } from '../host/virtual-functions.ts';
import type { CardClaim } from './cards.ts';
import type { Bystander } from './run.ts';

type Seen = Omit<FunctionsObservation, 'atMs'> | Omit<QdiscsObservation, 'atMs'>;

/** Looks at what a scenario's expectations claim of cards. */
export class CardWatch {
  readonly #claims: readonly CardClaim[];
  readonly #bystander: (host: string) => Bystander;

  constructor(claims: readonly CardClaim[], bystander: (host: string) => Bystander) {
    this.#claims = claims;
    this.#bystander = bystander;
  }

  get moments(): readonly number[] {
    return this.#claims.flatMap((claim) => momentsOf(claim));
  }

  /** What is to be seen of one host, whenever something was done there; nothing where nobody asks. */
  async look(host: string): Promise<readonly { readonly host: string; readonly seen: Seen }[]> {
    const isAsked = this.#claims.some((claim) => claim.host === host && claim.kind !== 'foreignQdisc');
    return isAsked ? [{ host, seen: await this.#functions(host) }] : [];
  }

  /** What the claims of one moment ask for, of each host once. */
  async lookAt(momentMs: number): Promise<readonly { readonly host: string; readonly seen: Seen }[]> {
    const found: { host: string; seen: Seen }[] = [];
    const claims = this.#claims.filter((claim) => momentsOf(claim).includes(momentMs));
    for (const [host, some] of Map.groupBy(claims, (claim) => claim.host)) {
      if (some.some(({ kind }) => kind !== 'foreignQdisc'))
        found.push({ host, seen: { ...(await this.#functions(host)), momentMs } });
      const links = some.flatMap((claim) =>
        claim.kind === 'foreignQdisc' ? [{ namespace: '', name: claim.link }] : [],
      );
      if (links.length === 0) continue;
      const { foreign } = await this.#bystander(host).shaper.list(links);
      found.push({ host, seen: { kind: 'qdiscs', momentMs, foreign } });
    }
    return found;
  }

  async #functions(host: string): Promise<Omit<FunctionsObservation, 'atMs'>> {
    const bystander = this.#bystander(host);
    const { physical, virtual } = await bystander.virtualFunctions.list(await bystander.namespaces.list());
    return {
      kind: 'functions',
      physical: physical.map(({ pf, driver, vfCount, carrier }) => ({ pf, driver, vfCount, carrier })),
      virtual,
      held: (await bystander.held()).map(vfKey),
    };
  }
}

function momentsOf(claim: CardClaim): readonly number[] {
  if (claim.kind === 'distinctVfs') return [];
  return claim.kind === 'vfsAsBefore' && claim.sinceMs !== undefined
    ? [claim.sinceMs, claim.momentMs]
    : [claim.momentMs];
}
