/**
 * Chooses an example of the dataset.
 * @module
 */

/** @import {Example} from '../core/types.js' */

import {words} from '../core/diff.js';
import {html} from '../vendor/htm_preact.js';
import {Menu} from './menu.js';

const LONGEST = 60; // characters of a text
const MOST = 200; // of a dataset's examples; others are selected in the data table

/**
 * @param {object} props
 * @param {string} props.label
 * @param {Example[]} props.examples
 * @param {string[]} props.fields of the model's input, which texts are taken from
 * @param {{value: string, text: string}[]} props.roles ways to choose one that follow the page
 * @param {Example | null} props.example that is shown
 * @param {string | null} props.chosen its value, if a user has chosen it; null for the first role
 * @param {(value: string | null) => void} props.onChoose
 */
export function ExampleMenu({label, examples, fields, roles, example, chosen, onChoose}) {
  const item = (/** @type {Example} */ one) => (
    {value: `#${one.id}`, text: nameOf(one, examples, fields), hint: textOf(one, fields)});
  const near = examples.slice(0, MOST);
  const added = examples.slice(MOST).filter(({meta}) => meta.added);
  const groups = [
    {title: 'Follows the page', items: roles},
    {title: near.length + added.length < examples.length ? `The first ${MOST} examples` : 'Examples',
      items: [...near, ...added].map(item)},
  ];
  const value = chosen === null ? roles[0].value :
      roles.some((role) => role.value === chosen) ? chosen : `#${chosen}`;
  return html`<${Menu} label=${label} text=${example ? nameOf(example, examples, fields) : 'no example'}
    groups=${groups} value=${value} onChoose=${(/** @type {string} */ value) => onChoose(
      value === roles[0].value ? null : value.startsWith('#') ? value.slice(1) : value)} />`;
}

/**
 * Its number, and where its text differs from the one that it was made of.
 * @param {Example} example
 * @param {Example[]} examples
 * @param {string[]} fields
 */
function nameOf(example, examples, fields) {
  const text = textOf(example, fields);
  const original = examples.find(({id}) => id === example.meta.parentId);
  const runs = original ? words(textOf(original, fields), text).b : [];
  const at = runs.findIndex(({marked}) => marked);
  const before = at < 0 ? '' : runs.slice(0, at).map((run) => run.text).join('');
  const begin = before.length > 20 ? before.length - 10 : 0;
  const shown = text.slice(begin, begin + LONGEST).trim().replace(/\s+/g, ' ');
  const number = examples.findIndex(({id}) => id === example.id);
  return `${number < 0 ? '' : `${number} · `}${begin ? '… ' : ''}${shown}${begin + LONGEST < text.length ? ' …' : ''}`;
}

/**
 * @param {Example} example
 * @param {string[]} fields
 */
const textOf = ({data}, fields) => String(
    fields.map((field) => data[field]).find((value) => typeof value === 'string' && value !== '') ?? '(empty)');
