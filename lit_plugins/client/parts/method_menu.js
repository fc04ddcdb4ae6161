/**
 * The methods by family, each with its sign and what it costs.
 * @module
 */

/** @import {Method} from '../core/types.js' */

import {duration} from '../core/words.js';
import {html} from '../vendor/htm_preact.js';
import {Menu} from './menu.js';

/**
 * @param {object} props
 * @param {Method[]} props.methods
 * @param {Method} props.chosen
 * @param {Record<string, {forward: number, backward: number, seconds: number | null}>} [props.costs]
 *   for the text that is shown
 * @param {(name: string) => void} props.onChoose
 */
export function MethodMenu({methods, chosen, costs = {}, onChoose}) {
  const families = [...new Set(methods.map(({family}) => family))];
  const note = (/** @type {Method} */ {name, signed, cost}) => {
    const {forward = 0, backward = 0, seconds = null} = costs[name] ?? {};
    const passes = forward ? `${forward + backward} passes` : cost;
    const time = seconds === null ? '' : `, about ${duration(seconds)}`;
    return `${signed ? '± signed' : '+ unsigned'} · ${passes}${time}`;
  };
  const groups = families.map((family) => ({
    title: family,
    items: methods.filter((one) => one.family === family).map((one) => (
      {value: one.name, text: one.title, note: note(one), hint: one.description})),
  }));
  return html`<${Menu} label="Method" text=${chosen.title} groups=${groups} value=${chosen.name}
    onChoose=${onChoose} />`;
}
