/**
 * What two texts have in common, and what not.
 * @module
 */

/**
 * Two parts that stand in the same place, or one that stands in one text alone.
 * @typedef {object} Pair
 * @property {'equal' | 'changed' | 'a' | 'b'} kind
 * @property {number | null} a index
 * @property {number | null} b index
 */

/**
 * A piece of a text; marked if the other text does not have it.
 * @typedef {{text: string, marked: boolean}} Run
 */

const TABLE = 2 ** 20; // cells; beyond, a text is divided
const MOST_COMPARED = 40_000; // pairs of parts that are looked at for how alike they are
const ALIKE = 0.4; // shares of what two parts have in common, from which on one is the other changed

/**
 * A longest common subsequence.
 * @param {readonly string[]} a
 * @param {readonly string[]} b
 * @returns {[number, number][]} equal items, in order
 */
export function common(a, b) {
  /** @type {Map<string, number>} */
  const numbers = new Map();
  const numbered = (/** @type {readonly string[]} */ items) => Uint32Array.from(items, (item) => {
    const number = numbers.get(item) ?? numbers.size;
    numbers.set(item, number);
    return number;
  });
  /** @type {[number, number][]} */
  const found = [];
  match(numbered(a), numbered(b), 0, 0, found);
  return found;
}

/**
 * Which parts of two texts belong together: equal ones, and those that are one another's changed form.
 * @param {readonly string[]} a
 * @param {readonly string[]} b
 * @returns {Pair[]} in the order of both
 */
export function align(a, b) {
  const texts = [a, b].map((parts) => parts.map((part) => part.trim().replace(/\s+/g, ' ') || part));
  /** @type {Pair[]} */
  const pairs = [];
  let [nextA, nextB] = [0, 0];
  for (const [atA, atB] of [...common(texts[0], texts[1]), [a.length, b.length]]) {
    pairs.push(...between(texts[0].slice(nextA, atA), texts[1].slice(nextB, atB)).map(
        ({kind, a, b}) => ({kind, a: a === null ? null : a + nextA, b: b === null ? null : b + nextB})));
    if (atA < a.length) pairs.push({kind: 'equal', a: atA, b: atB});
    [nextA, nextB] = [atA + 1, atB + 1];
  }
  return pairs;
}

/**
 * What differs, by words.
 * @param {string} a
 * @param {string} b
 * @returns {{a: Run[], b: Run[]}}
 */
export function words(a, b) {
  // Of scripts without spaces each sign is a word. White space belongs to the word behind it.
  const WORDS = /\s*(?:[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_'’]+|\S)|\s+$/gu;
  const [inA, inB] = [a, b].map((text) => text.match(WORDS) ?? []);
  const equal = common(inA.map((word) => word.trim()), inB.map((word) => word.trim()));
  return {
    a: runs(inA, new Set(equal.map(([at]) => at))),
    b: runs(inB, new Set(equal.map(([, at]) => at))),
  };
}

/**
 * The runs of a text's parts, without the white space around these.
 * @param {Run[]} runs of the text
 * @param {string[]} parts that make the text
 * @returns {Run[][]} for each part
 */
export function divided(runs, parts) {
  let begin = 0;
  return parts.map((part) => {
    const start = begin + part.length - part.trimStart().length;
    const stop = begin + part.trimEnd().length;
    begin += part.length;
    let at = 0;
    return runs.flatMap(({text, marked}) => {
      const here = text.slice(Math.max(0, start - at), Math.max(0, stop - at));
      at += text.length;
      return here ? [{text: here, marked}] : [];
    });
  });
}

/**
 * @param {string[]} words
 * @param {Set<number>} equal
 */
function runs(words, equal) {
  /** @type {Run[]} */
  const found = [];
  const add = (/** @type {string} */ text, /** @type {boolean} */ marked) => {
    const last = found.at(-1);
    if (last?.marked === marked) last.text += text;
    else if (text) found.push({text, marked});
  };
  words.forEach((word, at) => {
    const marked = word.trim() !== '' && !equal.has(at);
    const bare = word.trimStart();
    // Space is marked between marked words alone.
    add(word.slice(0, word.length - bare.length), marked && found.at(-1)?.marked === true);
    add(bare, marked);
  });
  return found;
}

/**
 * Pairs what stands between equal parts: one with one, otherwise those that are most alike.
 * @param {string[]} a
 * @param {string[]} b
 * @returns {Pair[]}
 */
function between(a, b) {
  if (a.length === 1 && b.length === 1) return [{kind: 'changed', a: 0, b: 0}];
  const alike = a.length * b.length > MOST_COMPARED ? [] : mostAlike(a, b);
  /** @type {Pair[]} */
  const pairs = [];
  let [nextA, nextB] = [0, 0];
  for (const [atA, atB] of [...alike, [a.length, b.length]]) {
    for (; nextA < atA; nextA++) pairs.push({kind: 'a', a: nextA, b: null});
    for (; nextB < atB; nextB++) pairs.push({kind: 'b', a: null, b: nextB});
    if (atA < a.length) pairs.push({kind: 'changed', a: atA, b: atB});
    [nextA, nextB] = [atA + 1, atB + 1];
  }
  return pairs;
}

/**
 * Pairs in order whose likeness has the largest sum.
 * @param {string[]} a
 * @param {string[]} b
 * @returns {[number, number][]}
 */
function mostAlike(a, b) {
  const [inA, inB] = [a, b].map((parts) => parts.map(bigrams));
  const width = b.length + 1;
  const likeness = inA.map((one) => inB.map((other) => dice(one, other)));
  const sums = new Float64Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const value = likeness[i][j];
      const paired = value >= ALIKE ? value + sums[(i + 1) * width + j + 1] : 0;
      sums[i * width + j] = Math.max(paired, sums[(i + 1) * width + j], sums[i * width + j + 1]);
    }
  }
  /** @type {[number, number][]} */
  const found = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const sum = sums[i * width + j];
    if (sum === sums[(i + 1) * width + j]) i++;
    else if (sum === sums[i * width + j + 1]) j++;
    else found.push([i++, j++]);
  }
  return found;
}

/**
 * @param {string} text
 * @returns {Map<string, number>} pairs of signs, with how often they occur
 */
function bigrams(text) {
  const counts = new Map();
  const framed = ` ${text} `;
  for (let at = 0; at + 1 < framed.length; at++) {
    const two = framed.slice(at, at + 2);
    counts.set(two, (counts.get(two) ?? 0) + 1);
  }
  return counts;
}

/**
 * The share of what two bags have in common.
 * @param {Map<string, number>} one
 * @param {Map<string, number>} other
 */
function dice(one, other) {
  let [both, all] = [0, 0];
  for (const [item, count] of one) {
    both += Math.min(count, other.get(item) ?? 0);
    all += count;
  }
  for (const count of other.values()) all += count;
  return 2 * both / all;
}

/**
 * Adds equal items; in the end by a table, before that by dividing as Hirschberg does.
 * @param {Uint32Array} a
 * @param {Uint32Array} b
 * @param {number} startA of the numbers that are found
 * @param {number} startB
 * @param {[number, number][]} found
 */
function match(a, b, startA, startB, found) {
  let first = 0;
  while (first < a.length && first < b.length && a[first] === b[first]) {
    found.push([startA + first, startB + first++]);
  }
  let [lastA, lastB] = [a.length, b.length];
  while (lastA > first && lastB > first && a[lastA - 1] === b[lastB - 1]) [lastA, lastB] = [lastA - 1, lastB - 1];
  const [innerA, innerB] = [a.subarray(first, lastA), b.subarray(first, lastB)];
  if (innerA.length > 1 && (innerA.length + 1) * (innerB.length + 1) > TABLE) {
    const half = innerA.length >> 1;
    const cut = bestCut(innerA.subarray(0, half), innerA.subarray(half), innerB);
    match(innerA.subarray(0, half), innerB.subarray(0, cut), startA + first, startB + first, found);
    match(innerA.subarray(half), innerB.subarray(cut), startA + first + half, startB + first + cut, found);
  } else {
    byTable(innerA, innerB, startA + first, startB + first, found);
  }
  for (; lastA < a.length; lastA++, lastB++) found.push([startA + lastA, startB + lastB]);
}

/**
 * @param {Uint32Array} a
 * @param {Uint32Array} b
 * @param {number} startA
 * @param {number} startB
 * @param {[number, number][]} found
 */
function byTable(a, b, startA, startB, found) {
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width); // of what follows
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] = a[i] === b[j] ? lengths[(i + 1) * width + j + 1] + 1 :
          Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) found.push([startA + i++, startB + j++]);
    else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
    else j++;
  }
}

/**
 * Where b is divided when a is.
 * @param {Uint32Array} before
 * @param {Uint32Array} behind
 * @param {Uint32Array} b
 */
function bestCut(before, behind, b) {
  const left = lastRow(before, b);
  const right = lastRow(behind.toReversed(), b.toReversed());
  let best = 0;
  for (let cut = 0; cut <= b.length; cut++) {
    if (left[cut] + right[b.length - cut] > left[best] + right[b.length - best]) best = cut;
  }
  return best;
}

/**
 * How much all of a has in common with each beginning of b.
 * @param {Uint32Array} a
 * @param {Uint32Array} b
 */
function lastRow(a, b) {
  let row = new Uint32Array(b.length + 1);
  for (const item of a) {
    const next = new Uint32Array(b.length + 1);
    for (let j = 0; j < b.length; j++) {
      next[j + 1] = item === b[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]);
    }
    row = next;
  }
  return row;
}
