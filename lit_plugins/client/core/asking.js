/**
 * Questions of a component, asked while it is shown.
 * @module
 */

/** @import {Answer, Answers} from './answers.js' */
/** @import {About} from './types.js' */

import {useEffect, useRef, useState} from '../vendor/htm_preact.js';
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
 * What is known of several questions' answers, asked one after another when `ask` is called, and
 * given up when they are not shown any more. One answer: its result is all of theirs.
 * @param {Answers} answers
 * @param {object[]} questions
 * @returns {{key: string, answer: Answer | undefined, ask: () => void, cancel: () => void}}
 */
export function useSeries(answers, questions) {
  useObservables(answers);
  const key = keyOf(questions);
  const [asked, setAsked] = useState(''); // the series that is being asked
  const began = useRef(0);
  const found = questions.map((one) => answers.find(one));
  const next = found.findIndex((one) => one?.state !== 'done');
  const now = found[next];
  useEffect(() => {
    const ends = questions.map((one) => answers.watch(one));
    return () => {
      ends.forEach((end) => end());
      questions.forEach((one) => answers.abandon(one));
    };
  }, [answers, key]);
  useEffect(() => {
    if (asked === key && next >= 0 && now === undefined) answers.ask(questions[next]);
  }, [answers, key, asked, next, now === undefined]);
  const ask = () => {
    began.current = performance.now();
    setAsked(key);
    if (now !== undefined) answers.ask(questions[next]);
  };
  return {
    key,
    answer: inAll(found, next, asked === key, began.current),
    ask,
    cancel: () => next >= 0 && answers.cancel(questions[next]),
  };
}

/**
 * @param {(Answer | undefined)[]} found
 * @param {number} next the first that is not done; -1 if there is none
 * @param {boolean} asked
 * @param {number} began
 * @returns {Answer | undefined}
 */
function inAll(found, next, asked, began) {
  if (!found.length) return undefined;
  const result = found.flatMap((one) => one?.result ?? []);
  if (next < 0) return {state: 'done', done: 0, expected: 0, began, error: '', result};
  const now = found[next];
  if (found.length === 1) return now;
  if (!asked) return undefined;
  let before = 0;
  for (const {forward, backward} of result) before += forward + backward;
  const {state = 'running', error = '', done = 0, expected = 0} = now ?? {};
  const left = (found.length - next) * expected;
  return {state, error, began, done: before + done, expected: left && before + left, result: null};
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
