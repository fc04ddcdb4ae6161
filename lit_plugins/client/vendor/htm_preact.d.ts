/**
 * Types of htm_preact.js: htm 3.1.1's standalone build, with preact 10 inside. It exports what is
 * named here; preact's own types come from npm, for the check alone.
 */

import type {VNode} from 'preact';

export {Component, createContext, h, render} from 'preact';
export {
  useCallback,
  useContext,
  useDebugValue,
  useEffect,
  useErrorBoundary,
  useImperativeHandle,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from 'preact/hooks';
export type {ComponentChildren, ComponentType, FunctionComponent, RefObject, VNode} from 'preact';

/** One element: an array, which htm gives for several, is nothing that our modules draw. */
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;
