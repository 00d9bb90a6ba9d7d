import type { Host } from '../host/host.ts';
import { HostError } from '../host/errors.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import { formatAddress, parsePrefix } from '../host/ipv4.ts';
import { samePlainData } from '../host/same.ts';
import type { Transaction } from '../host/store.ts';
import { checkNetworks } from '../network/check.ts';
import { NetworkError } from '../network/desired.ts';
import { checkFunctions } from '../network/functions-check.ts';
import {
  doneFunctions,
  heldWith,
  heldWithout,
  isNothing,
  lostFunctions,
  needsOf,
  takeFunctions,
  type VfNeed,
} from '../network/functions.ts';
import type { HostNetworks } from '../network/host-network.ts';
import { type NetworkObserved, observeNetwork } from '../network/observe.ts';
import { type PlacedContainer, resolve } from '../network/resolve.ts';
import type { Lease, Shared } from '../network/shared.ts';
import { type Asked, attachedOf, givingBackOf, takingOf } from './asked.ts';
import type { AddressObservation, NoteObservation } from './observation.ts';
import { foreignNamespaces, networksOf, placedOf, presentOf, uplinkFor } from './planning.ts';
import { EgressError } from '../egress/desired.ts';
import { checkUplink } from '../egress/check.ts';
import type { ShapingState } from '../egress/picture.ts';
import { vfKey } from '../host/virtual-functions.ts';
import { checkShaping, checkUnattached, observeShaping } from './shaping.ts';
import { type HostClaim, Sharing } from './sharing.ts';

/** What networking has to tell; the engine adds when. */
type Told = Omit<AddressObservation, 'atMs'> | Omit<NoteObservation, 'atMs'>;

/** What is to be planned by. */
interface Kept {
  readonly shared: Shared;
  /** Something was leased or taken just now. */
  readonly hasTaken: boolean;
  /** What is asked, with what is held now. */
  readonly kept: Asked;
  /** False: what is held may be otherwise in the store. */
  readonly isSure: boolean;
}

/** Keys under which others change what concerns this host. */
const WATCHED = ['networks/', 'leases/'] as const;

/** The part of an engine that has to do with other hosts: claims, leases, peers. */
export class Networking {
  readonly #host: Host;
  readonly #sharing: Sharing;
  readonly #tell: (told: Told) => void;
  /** What the host was last brought to, and for whom. */
  #last: { readonly networks: HostNetworks; readonly containers: readonly PlacedContainer[] } | undefined;
  /** Told once, until it is over or another. */
  #trouble = '';

  constructor(host: Host, tell: (told: Told) => void) {
    this.#host = host;
    this.#sharing = new Sharing(host);
    this.#tell = tell;
  }

  /**
   * Writes the change and takes what it needs, all or nothing: whoever is refused has changed nothing. `unseen`
   * namespaces are not looked into. Returns what it found on the host, where it had to look.
   * @throws NetworkError, EgressError, HostError
   */
  async take(
    asked: Asked,
    change: Transaction,
    unseen?: ReadonlySet<NamespaceName>,
  ): Promise<NetworkObserved | undefined> {
    if (asked.desired?.network === undefined) {
      checkNetworks({ networks: [] }, attachedOf(asked));
      checkUnattached(asked);
      checkUplink(asked.desired?.egress ?? {});
      await this.#host.store.commit(change);
      return undefined;
    }
    const observed = await observeNetwork(this.#host, foreignNamespaces(asked), unseen);
    checkDesired(asked, observed);
    const taking = takeFunctions(vfNeedsOf(asked), asked.held, observed);
    await this.#checkShaping({ ...asked, held: heldWith(asked.held, taking) }, observed);
    const whole = isNothing(taking) ? change : joined(change, takingOf(asked, taking));
    this.#tellLeases(await this.#sharing.take(claimOf(asked, observed), whole), true);
    return observed;
  }

  /** What would be held and shared if this were asked; nothing is written. @throws NetworkError, EgressError */
  async imagine(
    asked: Asked,
    observed: NetworkObserved,
  ): Promise<{ readonly imagined: Asked; readonly shared: Shared }> {
    checkDesired(asked, observed);
    const taking = takeFunctions(vfNeedsOf(asked), asked.held, observed);
    const imagined = { ...asked, held: heldWith(asked.held, taking) };
    await this.#checkShaping(imagined, observed);
    return { imagined, shared: await this.#sharing.imagine(claimOf(asked, observed)) };
  }

  /** Shaping is checked with the addresses that would be had. */
  async #checkShaping(asked: Asked, observed: NetworkObserved): Promise<void> {
    checkUplink(asked.desired?.egress ?? {});
    if (!attachedOf(asked).some(({ egress }) => egress !== undefined)) return;
    const networks = networksOf(asked, await this.#sharing.imagine(claimOf(asked, observed)), observed);
    if (networks instanceof NetworkError) throw networks;
    checkShaping(asked, networks, observed, await observeShaping(this.#host, asked, observed));
  }

  /** What hosts share, after this host has everything it needs of it: what it lost while it was away is taken anew. */
  async keep(asked: Asked, observed: NetworkObserved, shaper: ShapingState): Promise<Kept> {
    let shared: Shared;
    try {
      shared = await this.#sharing.read();
    } catch (error) {
      // A store that is down changes nothing for who runs.
      if (!(error instanceof HostError) || this.#sharing.last === undefined) throw error;
      this.#tellTrouble(error.message);
      return { shared: this.#sharing.last, hasTaken: false, kept: asked, isSure: true };
    }
    if (asked.desired?.network === undefined) return { shared, hasTaken: false, kept: asked, isSure: true };
    // Where not everybody can have what they ask for, those who can do: one who cannot stays without.
    const refused = new Set<string>();
    const onRefusal = ({ message }: NetworkError): void => void refused.add(message);
    let leases: readonly Lease[] = [];
    let kept = asked;
    let isSure = true;
    try {
      const taking = takeFunctions(vfNeedsOf(asked), asked.held, observed, onRefusal);
      if (!isNothing(taking)) {
        isSure = false;
        const { committed } = await this.#host.store.commit(takingOf(asked, taking));
        isSure = committed;
        if (committed) kept = { ...asked, held: heldWith(asked.held, taking) };
      }
      leases = await this.#sharing.take(claimOf(asked, observed), {}, { known: shared, onRefusal });
    } catch (error) {
      if (!(error instanceof NetworkError || error instanceof HostError)) throw error;
      refused.add(error.message);
    }
    this.#tellLeases(leases, true);
    for (const { container, pf, index } of lostFunctions(vfNeedsOf(asked), asked.held, observed.functions))
      refused.add(`${container}: its ${vfKey({ pf, index })} is not there any more: make the VFs again, or detach it`);
    const hasTaken = leases.length > 0;
    const known = hasTaken ? await this.#sharing.read() : shared;
    for (const doubt of shapingTroubles(kept, known, observed, shaper)) refused.add(doubt);
    this.#tellTrouble([...refused].join('; '));
    return { shared: known, hasTaken, kept, isSure };
  }

  /** When the host is as asked: what nobody asks for any more may be another's from now on. */
  async settled(asked: Asked, shared: Shared, observed: NetworkObserved): Promise<Asked> {
    const networks = networksOf(asked, shared, observed);
    // While the uplink is not there networks stay as they are, and with them what is on their links.
    if (networks instanceof NetworkError) {
      this.#last = undefined;
      return asked;
    }
    const done = doneFunctions(vfNeedsOf(asked), asked.held, observed.functions);
    if (!isNothing(done)) await this.#host.store.commit(givingBackOf(asked, done));
    this.#tellLeases(await this.#sharing.giveBack(claimOf(asked, observed)), false);
    if (asked.desired === null) await this.#sharing.end();
    this.#last = { networks, containers: placedOf(asked, observed) };
    return isNothing(done) ? asked : { ...asked, held: heldWithout(asked.held, done) };
  }

  /** Has what others changed made something to do here? */
  async isStale(asked: Asked): Promise<boolean> {
    if (this.#last === undefined) return true;
    const shared = await this.#sharing.read();
    const { networks, containers } = this.#last;
    return !samePlainData(
      resolve(asked.host, asked.desired?.network, containers, shared, networks.uplink, asked.held),
      networks,
    );
  }

  /** Says that this host lives, where the store can be told. True: it was taken for dead, and must look what is still its own. */
  async renew(): Promise<boolean> {
    try {
      return !(await this.#sharing.renew());
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#tellTrouble(error.message);
      return false;
    }
  }

  /** Calls `notify` whenever other hosts changed something, until the signal. False: the store could not be asked. */
  async watch(notify: () => void, signal: AbortSignal): Promise<boolean> {
    try {
      for (const prefix of WATCHED) await this.#host.store.watch(prefix, notify, signal);
      return true;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#tellTrouble(error.message);
      return false;
    }
  }

  #tellLeases(leases: readonly Lease[], taken: boolean): void {
    for (const { container, network, address, mac } of leases)
      this.#tell({ kind: 'address', container, network, address, mac, taken });
  }

  #tellTrouble(message: string): void {
    if (message !== '' && this.#trouble !== message) this.#tell({ kind: 'note', about: 'trouble', message });
    this.#trouble = message;
  }
}

/** What of the shaping that is asked for cannot be kept as things are now. */
function shapingTroubles(asked: Asked, shared: Shared, observed: NetworkObserved, shaper: ShapingState): string[] {
  const networks = networksOf(asked, shared, observed);
  if (networks instanceof NetworkError) return [];
  try {
    return checkShaping(asked, networks, observed, shaper);
  } catch (error) {
    if (!(error instanceof EgressError)) throw error;
    return [error.message];
  }
}

const vfNeedsOf = (asked: Asked): VfNeed[] => needsOf(asked.desired?.network?.networks ?? [], attachedOf(asked));

const joined = (one: Transaction, other: Transaction): Transaction => ({
  expect: [...(one.expect ?? []), ...(other.expect ?? [])],
  put: [...(one.put ?? []), ...(other.put ?? [])],
  remove: [...(one.remove ?? []), ...(other.remove ?? [])],
});

/** Do the networks asked for fit this host? @throws NetworkError */
function checkDesired(asked: Asked, observed: NetworkObserved): void {
  const network = asked.desired?.network;
  if (network === undefined) return;
  const uplink = uplinkFor(asked, observed);
  if (uplink instanceof NetworkError) throw uplink;
  const used = new Set(attachedOf(asked).flatMap(({ attachments = [] }) => attachments.map((each) => each.network)));
  const needing = network.networks.find(({ kind, name }) => kind !== 'bridge' && kind !== 'sriov' && used.has(name));
  if (uplink === null && needing !== undefined)
    throw new NetworkError(
      `network ${needing.name}`,
      'it needs an uplink, and nothing tells which link that is: name it, uplink: eth0',
    );
  const underlay =
    uplink === null
      ? undefined
      : `${formatAddress(parsePrefix(`${uplink.address}/${uplink.bits}`).first)}/${uplink.bits}`;
  checkNetworks(network, attachedOf(asked), underlay, uplink?.mtu);
  checkFunctions(network.networks, observed);
  const present = new Set(presentOf(asked, observed));
  const absent = asked.desired?.endpoints?.find((each) => !present.has(each));
  if (absent !== undefined)
    throw new NetworkError(
      absent.name,
      `its network namespace ${absent.namespace} is not there: attach it while it runs`,
    );
}

function claimOf(asked: Asked, observed: NetworkObserved): HostClaim {
  const uplink = uplinkFor(asked, observed);
  return {
    networks: asked.desired?.network?.networks ?? [],
    containers: attachedOf(asked),
    ...(uplink !== null && !(uplink instanceof NetworkError) && { tunnelAddress: uplink.address }),
  };
}
