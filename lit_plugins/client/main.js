/**
 * What our server adds to LIT's page. LIT's bundle is a classic script that has defined its elements
 * when this module runs, and LIT starts at the window's `load`: what is defined in between counts.
 * @module
 */

import './lit/inline_styles.js';
import './status.js';
import './lit/without_eval.js';
import './lit/keyboard.js';
import './lit/layout_settings.js';
import './lit/prompts_only.js';
import './lit/salience_maps.js';
import './modules/sequence_salience.js';
import './modules/compare.js';
import './modules/heat_map.js';
