/**
 * What becomes of a question: progress with time and a way to stop it, or what went wrong.
 * @module
 */

/** @import {Answer} from '../core/answers.js' */

import {duration} from '../core/words.js';
import {html, useEffect, useState} from '../vendor/htm_preact.js';

/**
 * @param {object} props
 * @param {string} props.what is being done
 * @param {Answer | undefined} props.answer
 * @param {() => void} [props.onCancel]
 * @param {() => void} [props.onAgain]
 */
export function Progress({what, answer, onCancel, onAgain}) {
  if (!answer || answer.state === 'done') return null;
  const again = onAgain && html`<button class="hairline-button" onClick=${onAgain}>Try again</button>`;
  if (answer.state === 'failed') {
    return html`<div class="state error" role="alert"><span>${answer.error}</span>${again}</div>`;
  }
  if (answer.state === 'cancelled') {
    return html`<div class="state" role="status"><span>Cancelled.</span>${again}</div>`;
  }
  const {done, expected} = answer;
  return html`
    <div class="state" role="status">
      <span>${what} …</span>
      <progress aria-label=${what} max=${expected || 1} ...${expected ? {value: done} : {}}></progress>
      <${Clock} began=${answer.began} />
      ${expected > 0 && html`<span aria-hidden="true">${done} of ${expected} passes</span>`}
      ${onCancel && html`<button class="hairline-button" onClick=${onCancel}>Cancel</button>`}
    </div>`;
}

/** @param {{began: number}} props */
function Clock({began}) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 200);
    return () => clearInterval(timer);
  }, []);
  return html`<span aria-hidden="true">${duration(Math.max(0, now - began) / 1000)}</span>`;
}
