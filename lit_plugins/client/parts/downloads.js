/**
 * Takes what is seen along: as text, picture, JSON or table.
 * @module
 */

import {copy, download, textFile} from '../core/files.js';
import {png, svg} from '../core/picture.js';
import {html, useState} from '../vendor/htm_preact.js';
import {Menu} from './menu.js';

const ITEMS = [
  {value: 'copy', text: 'Copy as text'},
  {value: 'png', text: 'PNG', note: 'picture'},
  {value: 'svg', text: 'SVG', note: 'picture that can be enlarged'},
  {value: 'json', text: 'JSON', note: 'the whole explanation'},
  {value: 'csv', text: 'CSV', note: 'table of what is seen'},
];

/**
 * @param {object} props
 * @param {string} props.name of files, without their ending
 * @param {() => HTMLElement | null} props.seen what pictures show
 * @param {() => {text: string, json: string, csv: string}} props.content
 * @param {boolean} [props.disabled]
 */
export function Downloads({name, seen, content, disabled = false}) {
  const [said, say] = useState('');
  const choose = async (/** @type {string} */ kind) => {
    const element = seen();
    const {text, json, csv} = content();
    try {
      if (kind === 'copy') await copy(text);
      else if (kind === 'json') downloadJson(name, json);
      else if (kind === 'csv') download(`${name}.csv`, textFile(csv, 'text/csv'));
      else if (element) download(`${name}.${kind}`, kind === 'svg' ? svg(element) : await png(element));
      say(kind === 'copy' ? 'Copied.' : '');
    } catch (error) {
      say(String(error instanceof Error ? error.message : error));
    }
  };
  return html`
    <${Menu} label="Take along" text="Download" groups=${[{title: '', items: ITEMS}]}
      onChoose=${choose} disabled=${disabled} />
    <span class="said" role="status">${said}</span>`;
}

/**
 * @param {string} name
 * @param {string} json explanations, one a line
 */
function downloadJson(name, json) {
  const isOne = json.indexOf('\n') === json.length - 1;
  if (isOne) download(`${name}.json`, textFile(json, 'application/json'));
  else download(`${name}.jsonl`, textFile(json, 'application/jsonl'));
}
