/**
 * A picture of what a part of the page shows: its coloured boxes and its words, where they are.
 * @module
 */

/**
 * @typedef {object} Mark
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 * @property {string} [fill]
 * @property {string} [stroke]
 * @property {string} [text]
 * @property {string} [font]
 * @property {number} [baseline]
 * @property {boolean} [upward] whether the text reads from below
 * @property {CanvasImageSource & {width: number, height: number, toDataURL?: () => string}} [image]
 */

const MARGIN = 12;
const SCALE = 2; // of pixels, so that it can be enlarged
const FAMILY = 'Roboto, Helvetica, Arial, sans-serif';
const NOTHING = 'rgba(0, 0, 0, 0)';

/**
 * A picture that can be enlarged.
 * @param {HTMLElement} element
 * @returns {Blob}
 */
export function svg(element) {
  const {marks, width, height} = draw(element);
  const attribute = (/** @type {string | number} */ value) => escape(String(value));
  const shapes = marks.map((mark) => {
    const {x, y, fill, stroke, text, font, baseline, upward, image} = mark;
    if (image) {
      return `<image x="${x}" y="${y}" width="${mark.width}" height="${mark.height}" ` +
          `preserveAspectRatio="none" style="image-rendering:pixelated" href="${image.toDataURL?.()}"/>`;
    }
    if (text === undefined) {
      return `<rect x="${x}" y="${y}" width="${mark.width}" height="${mark.height}" rx="2" ` +
          `fill="${attribute(fill ?? 'none')}" stroke="${attribute(stroke ?? 'none')}"/>`;
    }
    const where = upward ? `transform="translate(${baseline} ${y + mark.height}) rotate(-90)"` :
        `x="${x}" y="${baseline}"`;
    return `<text ${where} textLength="${upward ? mark.height : mark.width}" lengthAdjust="spacingAndGlyphs" ` +
        `style="font:${attribute(font ?? '')};white-space:pre" fill="${attribute(fill ?? '')}">` +
        `${escape(text)}</text>`;
  });
  const source = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}"><rect width="100%" height="100%" fill="#fff"/>` +
      `${shapes.join('\n')}</svg>\n`;
  return new Blob([source], {type: 'image/svg+xml;charset=utf-8'});
}

/**
 * A picture in pixels.
 * @param {HTMLElement} element
 * @returns {Promise<Blob>}
 */
export function png(element) {
  const {marks, width, height} = draw(element);
  const canvas = document.createElement('canvas');
  // What a browser can draw at all is limited.
  const scale = Math.min(SCALE, 16_000 / Math.max(width, height));
  canvas.width = Math.ceil(width * scale);
  canvas.height = Math.ceil(height * scale);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.scale(scale, scale);
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  for (const mark of marks) {
    const {x, y, fill, stroke, text, font, baseline = y, upward, image} = mark;
    if (image) {
      context.drawImage(image, x, y, mark.width, mark.height);
    } else if (text === undefined) {
      context.beginPath();
      context.roundRect(x, y, mark.width, mark.height, 2);
      if (fill) {
        context.fillStyle = fill;
        context.fill();
      }
      if (stroke) {
        context.strokeStyle = stroke;
        context.stroke();
      }
    } else {
      context.font = font ?? '';
      context.fillStyle = fill ?? '';
      context.save();
      if (upward) {
        context.translate(baseline, y + mark.height);
        context.rotate(-Math.PI / 2);
        context.fillText(text, 0, 0, mark.height + 1);
      } else {
        context.fillText(text, x, baseline, mark.width + 1);
      }
      context.restore();
    }
  }
  return new Promise((resolve, reject) => canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error('The picture is too large.'))), 'image/png'));
}

/** @param {HTMLElement} element */
function draw(element) {
  const frame = element.getBoundingClientRect();
  /** @type {Mark[]} */
  const marks = [];
  const box = (/** @type {DOMRect} */ rect) => ({
    x: round(rect.left - frame.left + MARGIN), y: round(rect.top - frame.top + MARGIN),
    width: round(rect.width), height: round(rect.height),
  });
  const walk = (/** @type {Element} */ parent) => {
    const style = getComputedStyle(parent);
    if (style.display === 'none' || style.visibility === 'hidden' ||
        parent.classList.contains('no-picture')) return;
    const fill = style.backgroundColor === NOTHING ? undefined : style.backgroundColor;
    const outlined = style.outlineStyle === 'solid' ? style.outlineColor : undefined;
    if (parent !== element) {
      for (const rect of parent.getClientRects()) {
        if (fill || outlined) marks.push({...box(rect), fill, stroke: outlined});
        marks.push(...borders(box(rect), style));
      }
    }
    if (parent instanceof HTMLCanvasElement) {
      marks.push({...box(parent.getBoundingClientRect()), image: parent});
    }
    for (const child of parent.childNodes) {
      if (child instanceof Element) walk(child);
      else if (child instanceof Text) words(child, style, box, marks);
    }
  };
  walk(element);
  const right = Math.max(frame.width, ...marks.map(({x, width}) => x + width - MARGIN));
  const bottom = Math.max(frame.height, ...marks.map(({y, height}) => y + height - MARGIN));
  return {marks, width: Math.ceil(right + 2 * MARGIN), height: Math.ceil(bottom + 2 * MARGIN)};
}

/**
 * The lines around a box, on those sides that have one.
 * @param {Mark} box
 * @param {CSSStyleDeclaration} style
 * @returns {Mark[]}
 */
function borders({x, y, width, height}, style) {
  const {borderTopWidth, borderRightWidth, borderBottomWidth, borderLeftWidth} = style;
  const [top, right, bottom, left] =
      [borderTopWidth, borderRightWidth, borderBottomWidth, borderLeftWidth].map(parseFloat);
  return [
    {x, y, width, height: top, fill: style.borderTopColor},
    {x: round(x + width - right), y, width: right, height, fill: style.borderRightColor},
    {x, y: round(y + height - bottom), width, height: bottom, fill: style.borderBottomColor},
    {x, y, width: left, height, fill: style.borderLeftColor},
  ].filter((side) => side.width > 0 && side.height > 0);
}

/**
 * The words of a text, each where it stands: lines break between them.
 * @param {Text} node
 * @param {CSSStyleDeclaration} style
 * @param {(rect: DOMRect) => Mark} box
 * @param {Mark[]} marks
 */
function words(node, style, box, marks) {
  const range = document.createRange();
  const size = parseFloat(style.fontSize);
  const font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${
    style.fontFamily.includes('Material') ? style.fontFamily : FAMILY}`;
  for (const {0: text, index} of node.data.matchAll(/\S+/g)) {
    range.setStart(node, index);
    range.setEnd(node, index + text.length);
    const [rect] = range.getClientRects();
    if (!rect || !rect.width) continue;
    const {x, y, width, height} = box(rect);
    const upward = style.writingMode.startsWith('vertical');
    const baseline = round((upward ? x + width / 2 : y + height / 2) + size * 0.35);
    marks.push({x, y, width, height, text, font, fill: style.color, baseline, upward});
    if (upward || style.textDecorationStyle !== 'solid') continue;
    const line = {x, width, height: 1.5, fill: style.color};
    if (style.textDecorationLine.includes('underline')) marks.push({...line, y: round(baseline + 2)});
    if (style.textDecorationLine.includes('line-through')) marks.push({...line, y: round(baseline - size * 0.3)});
  }
}

const round = (/** @type {number} */ value) => Math.round(value * 100) / 100;

/** @param {string} text */
function escape(text) {
  // XML holds no control characters, whatever they are written as.
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
      .replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
