/**
 * The methods by family, each with its sign and what it costs.
 * @module
 */

/** @import {Costs} from '../core/costs.js' */
/** @import {Method} from '../core/types.js' */

import {costs as costsOf} from '../core/costs.js';
import {duration} from '../core/words.js';
import {html, useState} from '../vendor/htm_preact.js';
import {Menu} from './menu.js';

/**
 * @param {object} props
 * @param {Method[]} props.methods
 * @param {Method} props.chosen
 * @param {{method: string} | null} props.question whose costs are shown
 * @param {(name: string) => void} props.onChoose
 */
export function MethodMenu({methods, chosen, question, onChoose}) {
  const [costs, setCosts] = useState(/** @type {Costs} */ ({}));
  const onOpen = () => {
    setCosts({});
    // Without them the menu says what any text costs.
    if (question) costsOf(question).then(setCosts, () => undefined);
  };
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
    onChoose=${onChoose} onOpen=${onOpen} />`;
}
