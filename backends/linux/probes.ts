import { closeSync } from 'node:fs';
import type { Errno } from '../../src/host/errors.ts';
import { formatAddress, parseAddress } from '../../src/host/ipv4.ts';
import type {
  Answering,
  AnswerPlace,
  Arrival,
  Probe,
  ProbeResult,
  Probes,
  Receiving,
  Stream,
  Streaming,
  StreamPlace,
} from '../../src/host/probes.ts';
import { linuxClock, monotonicMs } from './clock.ts';
import { hostError } from './errors.ts';
import type { NetworkRoot } from './netns.ts';
import {
  answerBytes,
  askBytes,
  echoReply,
  echoRequest,
  forgedPacket,
  IPPROTO_ICMP,
  newToken,
  readAnswered,
  readAsked,
} from './probe-datagram.ts';
import { LinuxStreams } from './streams.ts';
import {
  AF_INET,
  bindSocket,
  connectSocket,
  errnoName,
  openSocket,
  readable,
  receiveBytes,
  receiveEnvelope,
  sendBytes,
  sendBytesTo,
  sendEnvelope,
  setOption,
  SOCK_DGRAM,
  SOCK_RAW,
  socketAddress,
  tellLocalAddress,
} from './syscalls.ts';

/** What has not been answered by then is not: an answer over a few hops takes less than one. */
const WAIT_MS = 300;

/** How often answers are looked for while somebody waits for them; and probes, by those that answer. */
const LOOK_MS = 2;

const IPPROTO_IP = 0;
const IPPROTO_RAW = 255;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_DO = 2;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_MARK = 36;
/** Hundreds of probes come before the first is looked at, at 832 bytes of the kernel's each; a raw socket gets the answers to others, too. */
const BUFFER_BYTES = 4 << 20;

const received = Buffer.alloc(65_536);

/**
 * Probes by real packets. @param name of the host, by which its answers are signed @param streamEntry the program that sends
 * and receives streams
 */
export const linuxProbes = (root: NetworkRoot, name: string, streamEntry: string): LinuxProbes =>
  new LinuxProbes(root, name, new LinuxStreams(root, name, streamEntry));

/** The probes of one host. */
export class LinuxProbes implements Probes {
  readonly #root: NetworkRoot;
  readonly #name: string;
  readonly #streams: LinuxStreams;
  readonly #answering = new Set<LinuxAnswering>();

  constructor(root: NetworkRoot, name: string, streams: LinuxStreams) {
    this.#root = root;
    this.#name = name;
    this.#streams = streams;
  }

  async answer(places: readonly AnswerPlace[]): Promise<Answering> {
    const open: Responder[] = [];
    for (const { namespace, port } of places) {
      const at = `${this.#name}/${namespace}`;
      try {
        open.push({ at, fd: this.#root.within(namespace, () => openResponder(port)) });
      } catch (error) {
        open.forEach(({ fd }) => closeSync(fd));
        throw hostError('probes.answer', `${at} port ${port}`, error);
      }
    }
    const answering = new LinuxAnswering(open, () => this.#answering.delete(answering));
    this.#answering.add(answering);
    return answering;
  }

  async send(probes: readonly Probe[]): Promise<readonly ProbeResult[]> {
    const flights: Flight[] = [];
    try {
      for (const probe of probes) flights.push(this.#launch(probe));
      const untilMs = monotonicMs() + WAIT_MS;
      const byFd = new Map(flights.flatMap((flight) => (flight.fd === null ? [] : [[flight.fd, flight] as const])));
      while (flights.some((flight) => !this.#isOver(flight)) && monotonicMs() < untilMs) {
        await linuxClock.sleep(LOOK_MS);
        for (const fd of readable([...byFd.keys()])) receiveInto(byFd.get(fd)!);
      }
      return flights.map((flight) => this.#resultOf(flight));
    } finally {
      for (const { fd } of flights) if (fd !== null) closeSync(fd);
    }
  }

  receive(places: readonly StreamPlace[]): Promise<Receiving> {
    return this.#streams.receive(places);
  }

  stream(streams: readonly Stream[]): Promise<Streaming> {
    return this.#streams.stream(streams);
  }

  /** Ends all answering and streaming: nothing of this host is to be held open. */
  close(): void {
    for (const answering of this.#answering) answering.end();
    this.#streams.close();
  }

  #launch(probe: Probe): Flight {
    const sentBy = `${this.#name}/${probe.from}`;
    const flight: Flight = { probe, token: newToken(), fd: null, answer: null, why: null };
    try {
      const payload = askBytes({ token: flight.token, sentTo: probe.to, sentBy }, probe.payloadBytes);
      flight.fd = this.#root.within(probe.from, () => openSender(probe));
      const refused = sendProbe(flight.fd, probe, payload);
      if (refused < 0) flight.why = sayWhy(-refused, 'the sender');
      return flight;
    } catch (error) {
      if (flight.fd !== null) closeSync(flight.fd);
      throw hostError('probes.send', `${sentBy} to ${probe.to}`, error);
    }
  }

  #isOver(flight: Flight): boolean {
    if (flight.answer !== null || flight.why !== null) return true;
    return flight.probe.forgedSource !== undefined && this.#arrivalOf(flight) !== undefined;
  }

  #arrivalOf({ token }: Flight): Arrival | undefined {
    for (const answering of this.#answering) {
      const arrival = answering.arrivalOf(token);
      if (arrival !== undefined) return arrival;
    }
    return undefined;
  }

  #resultOf(flight: Flight): ProbeResult {
    const { answer, probe, why } = flight;
    if (answer !== null) {
      const { by, seenFrom } = answer;
      return { answeredBy: by, arrivedAt: probe.protocol === 'udp' ? by : null, seenFrom, why: 'answered' };
    }
    const arrival = this.#arrivalOf(flight);
    return {
      answeredBy: null,
      arrivedAt: arrival?.at ?? null,
      seenFrom: arrival?.seenFrom ?? null,
      why:
        arrival === undefined
          ? (why ?? `nothing came back within ${WAIT_MS} ms`)
          : 'it arrived, and no answer came back',
    };
  }
}

/** One probe under way. */
interface Flight {
  readonly probe: Probe;
  readonly token: string;
  fd: number | null;
  answer: { readonly by: string; readonly seenFrom: string | null } | null;
  /** Why no answer can come any more. */
  why: string | null;
}

function openSender({ forgedSource, protocol, mark }: Probe): number {
  const isIcmp = protocol === 'icmp';
  const fd =
    forgedSource === undefined
      ? openSocket(AF_INET, isIcmp ? SOCK_RAW : SOCK_DGRAM, isIcmp ? IPPROTO_ICMP : 0)
      : openSocket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, Number(mark) | 0);
  if (forgedSource !== undefined) return fd;
  setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
  if (isIcmp) setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
  return fd;
}

/** @returns minus the error's number where the kernel would not send it. @throws AddressError */
function sendProbe(fd: number, { protocol, to, port = 0, forgedSource }: Probe, payload: Buffer): number {
  const address = parseAddress(to);
  if (forgedSource !== undefined) {
    const packet = forgedPacket({ protocol, source: parseAddress(forgedSource), to: address, port }, payload);
    return sendBytesTo(fd, packet, socketAddress(address, 0));
  }
  // Connected, it hears of ICMP errors, and of no answer from anybody else.
  const refused = connectSocket(fd, socketAddress(address, protocol === 'udp' ? port : 0));
  return refused < 0 ? refused : sendBytes(fd, protocol === 'udp' ? payload : echoRequest(payload));
}

function receiveInto(flight: Flight): void {
  for (;;) {
    const length = receiveBytes(flight.fd!, received);
    if (length < 0) {
      if (errnoName(-length) !== 'EAGAIN') flight.why = sayWhy(-length, 'somebody on the way');
      return;
    }
    const bytes = received.subarray(0, length);
    if (flight.probe.protocol === 'icmp') {
      if (echoReply(bytes)?.token === flight.token) flight.answer = { by: 'kernel', seenFrom: null };
    } else {
      const answered = readAnswered(bytes);
      if (answered?.token === flight.token) flight.answer = { by: answered.by, seenFrom: answered.seenFrom };
    }
  }
}

const MEANING: Partial<Record<Errno, string>> = {
  EACCES: 'forbids it',
  EHOSTUNREACH: 'finds no way to that host',
  EMSGSIZE: 'finds it too large for a link',
  ENETDOWN: 'has its link down',
  ENETUNREACH: 'has no route there',
  EPERM: 'has a firewall that drops it',
};

/** Not a name that the port speaks. */
const ECONNREFUSED = 111;

function sayWhy(number: number, who: string): string {
  if (number === ECONNREFUSED) return 'nobody listens at that port (ECONNREFUSED)';
  const code = errnoName(number);
  return `${who} ${(code && MEANING[code]) ?? 'refuses it'} (${code ?? number})`;
}

interface Responder {
  readonly at: string;
  readonly fd: number;
}

function openResponder(port: number): number {
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0);
  try {
    bindSocket(fd, socketAddress(0, port));
    tellLocalAddress(fd);
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

class LinuxAnswering implements Answering {
  readonly #responders: ReadonlyMap<number, Responder>;
  readonly #fds: readonly number[];
  readonly #onEnd: () => void;
  readonly #arrivals = new Map<string, Arrival>();
  readonly #timer: NodeJS.Timeout;
  #isOpen = true;

  constructor(responders: readonly Responder[], onEnd: () => void) {
    this.#responders = new Map(responders.map((responder) => [responder.fd, responder]));
    this.#fds = [...this.#responders.keys()];
    this.#onEnd = onEnd;
    // Node's own datagram sockets do not tell to which address a datagram came, from which its answer must go out.
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  arrivalOf(token: string): Arrival | undefined {
    this.#look();
    return this.#arrivals.get(token);
  }

  async arrivals(): Promise<readonly Arrival[]> {
    this.#look();
    return [...this.#arrivals.values()];
  }

  async close(): Promise<void> {
    this.end();
  }

  end(): void {
    if (!this.#isOpen) return;
    this.#look();
    this.#isOpen = false;
    clearInterval(this.#timer);
    this.#fds.forEach((fd) => closeSync(fd));
    this.#onEnd();
  }

  #look(): void {
    if (!this.#isOpen) return;
    for (const fd of readable(this.#fds)) {
      const { at } = this.#responders.get(fd)!;
      for (let envelope = receiveEnvelope(fd); envelope !== null; envelope = receiveEnvelope(fd)) {
        const asked = readAsked(envelope.bytes);
        if (asked === null) continue;
        const seenFrom = formatAddress(envelope.remote.readUInt32BE(4));
        this.#arrivals.set(asked.token, { at, sentTo: asked.sentTo, sentBy: asked.sentBy, seenFrom });
        // Where it cannot be sent, the sender gets none: what it is there to find out.
        sendEnvelope(fd, { ...envelope, bytes: answerBytes({ token: asked.token, seenFrom, by: at }) });
      }
    }
  }
}
