/** A seeded generator: xoshiro128** (Blackman and Vigna, 2018), 32 bits a draw. The only randomness of a simulation. */
export interface Random {
  /** A float from 0 up to, not including, 1. */
  next(): number;
  /** A whole number from `low` to `high`, both included. */
  integer(low: number, high: number): number;
  /** A generator of its own, by the seed and the label alone: drawing from one never shifts another. */
  fork(label: string): Random;
}

/** The generator of this seed. */
export const createRandom = (seed: number): Random => generator(seed, '');

function generator(seed: number, lineage: string): Random {
  let [a, b, c, d] = expand(seed, lineage);
  const draw = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
  const next = (): number => draw() / 0x1_0000_0000;
  return {
    next,
    integer: (low, high) => low + Math.floor(next() * (high - low + 1)),
    fork: (label) => generator(seed, `${lineage}/${label}`),
  };
}

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));

/** Four words from seed and lineage: FNV-1a over both, spread by splitmix32, which never yields four zeros in a row. */
function expand(seed: number, lineage: string): [number, number, number, number] {
  let hash = 0x811c9dc5;
  for (const char of `${seed}:${lineage}`) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  const word = (): number => {
    hash = (hash + 0x9e3779b9) | 0;
    let mixed = hash ^ (hash >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
  return [word(), word(), word(), word()];
}
