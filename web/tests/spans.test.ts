import { describe, expect, it } from "vitest";
import { excerpt, grow, toUtf16 } from "../src/spans";

/** The words at a span of code points, as the service would slice them. */
function words(text: string, start: number, end: number): string {
  return Array.from(text).slice(start, end).join("");
}

function marked(text: string, start: number, end: number): string | null {
  const span = toUtf16(text, { start, end });
  return span && text.slice(span.start, span.end);
}

describe("toUtf16", () => {
  it("leaves plain text as it is", () => {
    expect(toUtf16("leave policy", { start: 6, end: 12 })).toEqual({ start: 6, end: 12 });
  });

  it("finds a quote after an emoji", () => {
    const text = "🎉 Twenty-five days.";
    expect(toUtf16(text, { start: 2, end: 13 })).toEqual({ start: 3, end: 14 });
    expect(marked(text, 2, 13)).toBe("Twenty-five");
  });

  it("counts a joined emoji as its several code points", () => {
    const text = "👩‍👩‍👧 family leave";
    expect(marked(text, 6, 12)).toBe("family");
  });

  it("counts a combining mark as a code point of its own", () => {
    const text = "cafe\u0301 opens at eight";
    expect(marked(text, 0, 5)).toBe("cafe\u0301");
    expect(marked(text, 6, 11)).toBe("opens");
  });

  it("takes both halves of a surrogate pair", () => {
    expect(marked("a𠮷b", 1, 2)).toBe("𠮷");
    expect(marked("a𠮷b", 2, 3)).toBe("b");
  });

  it("counts a lone surrogate as one, and does not swallow what follows it", () => {
    expect(toUtf16("\ud83dab", { start: 1, end: 2 })).toEqual({ start: 1, end: 2 });
  });

  it("agrees with slicing by code points at every place", () => {
    const text = "x🙂\n𠮷e\u0301👍🏽 z";
    const { length } = Array.from(text);
    for (let start = 0; start <= length; start += 1) {
      for (let end = start; end <= length; end += 1)
        expect(marked(text, start, end)).toBe(words(text, start, end));
    }
  });

  it("gives null for a span outside the text", () => {
    expect(toUtf16("🎉", { start: 0, end: 2 })).toBeNull();
    expect(toUtf16("abc", { start: 4, end: 4 })).toBeNull();
    expect(toUtf16("abc", { start: -1, end: 1 })).toBeNull();
    expect(toUtf16("abc", { start: 2, end: 1 })).toBeNull();
  });

  it("accepts the empty span at the end", () => {
    expect(toUtf16("🎉", { start: 1, end: 1 })).toEqual({ start: 2, end: 2 });
  });
});

describe("grow", () => {
  const lines = "first line\nsecond line\nthird line\nfourth line";
  const third = { start: lines.indexOf("third"), end: lines.indexOf("third") + 5 };

  it("reaches out to the borders of lines", () => {
    const window = grow(lines, third, 3);
    expect(lines.slice(window.start, window.end)).toBe("second line\nthird line");
  });

  it("stops at both ends of the text", () => {
    expect(grow(lines, third, 1_000)).toEqual({ start: 0, end: lines.length });
  });

  it("grows on one side only when asked", () => {
    expect(grow(lines, third, { before: 0, after: 1 }).start).toBe(third.start);
    expect(grow(lines, third, { before: 1, after: 0 }).end).toBe(third.end);
  });

  it("never cuts a surrogate pair in a text without lines", () => {
    const text = "🙂".repeat(4_000);
    for (const margin of [999, 1_000, 1_001]) {
      const { start, end } = grow(text, { start: 4_000, end: 4_002 }, margin);
      expect(() => encodeURIComponent(text.slice(start, end))).not.toThrow();
      expect(start).toBeLessThan(4_000);
      expect(end).toBeGreaterThan(4_002);
    }
  });

  it("shows a small part of a text of a million characters", () => {
    const text = "One line of a long text.\n".repeat(40_000);
    const { start, end } = grow(text, { start: 500_000, end: 500_020 }, 12_000);
    expect(end - start).toBeLessThan(26_000);
  });
});

describe("excerpt", () => {
  it("puts the parts back together as the window", () => {
    const text = "before 🎉 marked after";
    const span = toUtf16(text, { start: 9, end: 15 }) ?? { start: 0, end: 0 };
    const parts = excerpt(text, { start: 0, end: text.length }, span);
    expect(parts.marked).toBe("marked");
    expect(parts.before + parts.marked + parts.after).toBe(text);
  });
});
