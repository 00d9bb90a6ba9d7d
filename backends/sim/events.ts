/** Something that will happen. The queue keeps it and may be given it again once it was taken. */
export interface Event {
  atMs: number;
  /** Of equal times the one scheduled first comes first. */
  sequence: number;
  readonly run: () => void;
  /** Does it resolve a promise? Then its continuations must run before the next event. */
  readonly wakes: boolean;
  cancelled: boolean;
}

/** What will happen, in order of time, then of scheduling: a binary heap. It owns virtual time. */
export class EventQueue {
  nowMs = 0;
  readonly #heap: Event[] = [];
  #sequence = 0;

  /** At the earliest now: nothing happens in the past. */
  at(atMs: number, run: () => void, wakes = false): Event {
    return this.again({ atMs, sequence: 0, run, wakes, cancelled: false }, atMs);
  }

  /** Schedules an event that is not in the queue: a new one, or one that was taken, so that a series needs one object. */
  again(event: Event, atMs: number): Event {
    event.atMs = Math.max(this.nowMs, atMs);
    event.sequence = this.#sequence++;
    this.#heap.push(event);
    this.#rise(this.#heap.length - 1);
    return event;
  }

  /** Resolves when so much time has passed. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.at(this.nowMs + delayMs, resolve, true));
  }

  /** Takes the next event, moving time to it; undefined when nothing is due. */
  take(): Event | undefined {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return undefined;
      if (event.cancelled) continue;
      this.nowMs = event.atMs;
      return event;
    }
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last !== undefined && heap.length > 0) {
      heap[0] = last;
      this.#sink(0);
    }
    return first;
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const event = heap[from]!;
    let index = from;
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (!precedes(event, heap[above]!)) break;
      heap[index] = heap[above]!;
      index = above;
    }
    heap[index] = event;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const event = heap[from]!;
    let index = from;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && precedes(heap[below + 1]!, heap[below]!)) below++;
      if (!precedes(heap[below]!, event)) break;
      heap[index] = heap[below]!;
      index = below;
    }
    heap[index] = event;
  }
}

const precedes = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
