import { signal } from "@preact/signals";

/** The latest sentence for people who listen to the page instead of seeing it. */
export const announcement = signal("");

export function announce(sentence: string): void {
  announcement.value = sentence;
}
