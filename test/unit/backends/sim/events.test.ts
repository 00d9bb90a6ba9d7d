import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../../../backends/sim/events.ts';
import { createRandom } from '../../../../src/host/random.ts';

function drain(queue: EventQueue): void {
  for (let event = queue.take(); event !== undefined; event = queue.take()) event.run();
}

describe('event queue', () => {
  it('takes by time, then in order of scheduling, whatever the order they came in', () => {
    const random = createRandom(5);
    const queue = new EventQueue();
    const taken: [number, number][] = [];
    for (let index = 0; index < 500; index++) {
      const atMs = random.integer(0, 20);
      queue.at(atMs, () => taken.push([atMs, index]));
    }
    drain(queue);
    expect(taken).toHaveLength(500);
    expect(taken).toEqual(taken.toSorted(([a, i], [b, j]) => a - b || i - j));
  });

  it('moves time to the event it takes, and schedules nothing in the past', () => {
    const queue = new EventQueue();
    const at: number[] = [];
    queue.at(10, () => {
      queue.at(3, () => at.push(queue.nowMs));
    });
    drain(queue);
    expect(at).toEqual([10]);
  });

  it('passes over what was cancelled, without moving time to it', () => {
    const queue = new EventQueue();
    queue.at(5, () => expect.unreachable()).cancelled = true;
    expect(queue.take()).toBeUndefined();
    expect(queue.nowMs).toBe(0);
  });

  it('takes an event again that was taken', () => {
    const queue = new EventQueue();
    const at: number[] = [];
    const event = queue.at(1, () => {
      at.push(queue.nowMs);
      if (at.length < 3) queue.again(event, queue.nowMs + 2);
    });
    drain(queue);
    expect(at).toEqual([1, 3, 5]);
  });
});
