/**
 * Spans of a text. The service counts Unicode code points, JavaScript counts UTF-16 units, in which a code point
 * beyond U+FFFF (an emoji, many Chinese characters) takes two. Every span is half-open: [start, end).
 */

export interface Span {
  start: number;
  end: number;
}

/** The part of a text that is shown, with the marked span cut out of it. All values are UTF-16 units. */
export interface Excerpt {
  before: string;
  marked: string;
  after: string;
  start: number;
  end: number;
}

/** The same span in UTF-16 units; null when it does not lie within the text. */
export function toUtf16(text: string, span: Span): Span | null {
  if (span.start < 0 || span.end < span.start) return null;
  const start = advance(text, 0, span.start);
  if (start === null) return null;
  const end = advance(text, start, span.end - span.start);
  return end === null ? null : { start, end };
}

/** The units of `window` with `marked` apart; `marked` must lie inside `window`. */
export function excerpt(text: string, window: Span, marked: Span): Excerpt {
  return {
    before: text.slice(window.start, marked.start),
    marked: text.slice(marked.start, marked.end),
    after: text.slice(marked.end, window.end),
    ...window,
  };
}

/** A span grown by about `margin` units each side, out to a line's border where one is near. Never splits a code point. */
export function grow(text: string, span: Span, margin: number | { before: number; after: number }): Span {
  const { before, after } = typeof margin === "number" ? { before: margin, after: margin } : margin;
  return {
    start: before === 0 ? span.start : lineStart(text, Math.max(0, span.start - before)),
    end: after === 0 ? span.end : lineEnd(text, Math.min(text.length, span.end + after)),
  };
}

/** How far to look for the border of a line before cutting within it. */
const LINE_REACH = 500;

function lineStart(text: string, at: number): number {
  if (at === 0) return 0;
  const border = text.lastIndexOf("\n", at - 1) + 1;
  return at - border <= LINE_REACH ? border : wholeCodePoint(text, at);
}

function lineEnd(text: string, at: number): number {
  const border = text.indexOf("\n", at);
  const end = border === -1 ? text.length : border;
  return end - at <= LINE_REACH ? end : wholeCodePoint(text, at);
}

/** `at`, moved back by one unit when it stands within a surrogate pair. */
function wholeCodePoint(text: string, at: number): number {
  return at > 0 && width(text, at - 1) === 2 ? at - 1 : at;
}

function advance(text: string, from: number, codePoints: number): number | null {
  let at = from;
  for (let left = codePoints; left > 0; left -= 1) {
    if (at >= text.length) return null;
    at += width(text, at);
  }
  return at;
}

function width(text: string, at: number): 1 | 2 {
  return isHigh(text.charCodeAt(at)) && isLow(text.charCodeAt(at + 1)) ? 2 : 1;
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
