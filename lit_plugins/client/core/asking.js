/**
 * Questions of a component, asked while it is shown.
 * @module
 */

/** @import {Answer, Answers} from './answers.js' */
/** @import {About} from './types.js' */

import {useEffect, useState} from '../vendor/htm_preact.js';
import {about} from './about.js';
import {keyOf} from './answers.js';
import {useObservables} from './observable.js';

/**
 * What is known of a question's answer.
 * @param {Answers} answers
 * @param {object | null} question
 * @param {boolean} unasked whether it is asked at once, and given up when it is not shown any more
 * @returns {Answer | undefined}
 */
export function useAnswer(answers, question, unasked) {
  useObservables(answers);
  const key = question === null ? '' : keyOf(question);
  useEffect(() => {
    if (question === null) return undefined;
    const end = answers.watch(question);
    if (unasked && answers.find(question) === undefined) answers.ask(question);
    return () => {
      end();
      if (unasked) answers.abandon(question);
    };
  }, [answers, key]);
  return answers.find(question);
}

/**
 * What the server says of itself; asked anew for a model that was loaded since. Methods have the
 * options that they take for this model.
 * @param {string} model
 * @returns {{about: About | null, error: string}}
 */
export function useAbout(model) {
  const [state, set] = useState(/** @type {{about: any, error: string}} */ ({about: null, error: ''}));
  useEffect(() => {
    let shown = true;
    about()
        .then((found) => (model in found.models ? found : about(true)))
        .then((found) => shown && set({about: forModel(found, model), error: ''}))
        .catch((error) => shown && set({about: null, error: error.message}));
    return () => void (shown = false);
  }, [model]);
  return state;
}

/**
 * @param {About} about
 * @param {string} model
 * @returns {About}
 */
export function forModel(about, model) {
  const further = about.models[model]?.options ?? [];
  const methods = about.methods.map((one) => ({...one, options: [...one.options, ...further]}));
  return {...about, methods};
}
