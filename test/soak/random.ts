/** A source of random numbers, the same for the same seed. */
export interface Random {
  /** Returns a number from 0 (included) to 1 (excluded). */
  next(): number;
  /** Returns a whole number from `min` to `max`, both included. */
  integer(min: number, max: number): number;
  /** Returns one of the items. */
  pick<Item>(items: readonly [Item, ...Item[]]): Item;
  /** Returns true with this probability. */
  chance(probability: number): boolean;
  /** Returns another source, which is determined by this one and the name. */
  fork(name: string): Random;
}

/** Creates a source of random numbers (mulberry32) from a seed. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    integer: (min, max) => min + Math.floor(next() * (max - min + 1)),
    pick: (items) => items[Math.floor(next() * items.length)] ?? items[0],
    chance: (probability) => next() < probability,
    fork(name) {
      let hash = seed >>> 0;
      for (const character of name) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
      return randomFrom(hash);
    },
  };
}
