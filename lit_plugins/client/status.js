/**
 * Says on LIT's page which models are still loading, and which cannot be loaded.
 *
 * Needs nothing of LIT: requests that meet a loading model simply wait for it.
 * @module
 */

/**
 * @typedef {object} Status
 * @property {'waiting' | 'loading' | 'ready' | 'failed'} state
 * @property {string} message why it failed
 * @property {number} seconds since loading began
 */

const STATUS_URL = new URL('../status', import.meta.url);
const INTERVAL = 1000; // milliseconds
const STYLE = `
  #lit-plugins-status {
    position: fixed; bottom: 34px; left: 12px; z-index: 1000; max-width: min(560px, 80vw);
    display: flex; flex-direction: column; gap: 6px;
    font: 13px/18px Roboto, sans-serif; pointer-events: none;
  }
  #lit-plugins-status:empty { display: none; }
  #lit-plugins-status > div {
    padding: 6px 12px; border-radius: 4px; background: #07777e; color: #fff;
    box-shadow: 0 1px 3px rgba(0, 0, 0, .3); overflow-wrap: anywhere; pointer-events: auto;
  }
  #lit-plugins-status > .failed { background: #b3261e; display: flex; gap: 12px; }
  #lit-plugins-status button {
    flex: none; margin-left: auto; align-self: start; border: 0; padding: 0; background: none; color: inherit;
    font: inherit; text-decoration: underline; cursor: pointer;
  }
`;

/** Names of failed models whose message the user has closed. @type {Set<string>} */
const closed = new Set();

/** @type {HTMLElement} */
const bar = document.createElement('div');
bar.id = 'lit-plugins-status';
bar.setAttribute('role', 'status');
bar.setAttribute('aria-live', 'polite');

/**
 * Shows one line; an existing one is kept, so that nothing is read aloud again every second.
 * @param {string} name
 * @param {Status} status
 */
function show(name, status) {
  const selector = `[data-model="${CSS.escape(name)}"]`;
  let line = /** @type {HTMLElement | null} */ (bar.querySelector(selector));
  const visible = status.state === 'loading' ||
      (status.state === 'failed' && !closed.has(name));
  if (!visible) {
    line?.remove();
    return;
  }
  if (line?.className !== status.state) {
    line?.remove();
    line = document.createElement('div');
    line.dataset.model = name;
    line.className = status.state;
    const text = document.createElement('span');
    const time = document.createElement('span');
    // Text, never HTML: names and messages come from users.
    if (status.state === 'loading') {
      text.textContent = `Loading ${name} … `;
      time.setAttribute('aria-hidden', 'true'); // a clock is not read aloud
      line.append(text, time);
    } else {
      const {message} = status;
      text.textContent = message.includes(name) ? message : `${name}: ${message}`;
      const button = document.createElement('button');
      button.textContent = 'Close';
      button.addEventListener('click', () => {
        closed.add(name);
        line?.remove();
      });
      line.append(text, button);
    }
    bar.append(line);
  }
  if (status.state === 'loading') {
    /** @type {HTMLElement} */ (line.lastChild).textContent = `${Math.round(status.seconds)} s`;
  }
}

/** Asks once; asks again while a model that was asked for has yet to come. */
async function poll() {
  let again = true;
  try {
    const response = await fetch(STATUS_URL);
    /** @type {{models: Object<string, Status>}} */
    const {models} = await response.json();
    const entries = Object.entries(models);
    for (const [name, status] of entries) show(name, status);
    again = entries.some(([, {state}]) => state === 'waiting' || state === 'loading');
  } catch (error) {
    // The server is stopped or out of reach: LIT's own requests tell the user.
  }
  if (again) setTimeout(poll, INTERVAL);
}

// No style element: a strict Content-Security-Policy forbids it.
const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);
document.adoptedStyleSheets.push(sheet);
document.body.append(bar);
poll();
