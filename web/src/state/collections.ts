import { computed, signal } from "@preact/signals";
import { isAbort } from "../api/client";
import { sentenceFor } from "../api/problem";
import { createCollection, readCollections } from "../api/routes";
import type { Collection } from "../api/types";
import { closeDocuments, openDocuments } from "./documents";
import type { Phase } from "./phase";

export const collections = signal<Collection[]>([]);
export const collectionsPhase = signal<Phase>({ name: "loading" });
export const chosenId = signal<string | null>(null);
export const chosen = computed(() => collections.value.find(({ id }) => id === chosenId.value) ?? null);

/** Reads the collections and opens the one that the address names, or else the first. */
export async function loadCollections(): Promise<void> {
  collectionsPhase.value = { name: "loading" };
  try {
    collections.value = await readCollections();
    collectionsPhase.value = { name: "ready" };
  } catch (error) {
    if (isAbort(error)) return;
    collectionsPhase.value = { name: "failed", note: sentenceFor(error) };
    return;
  }
  const named = new URL(window.location.href).searchParams.get("collection");
  const first =
    collections.value.find(({ id, name }) => id === named || name === named) ?? collections.value[0];
  if (first) chooseCollection(first.id);
}

export function chooseCollection(id: string): void {
  chosenId.value = id;
  const address = new URL(window.location.href);
  address.searchParams.set("collection", id);
  window.history.replaceState(null, "", address);
  void openDocuments(id);
}

/** Creates and opens a collection; gives the sentence to show when that fails. */
export async function addCollection(name: string): Promise<string | null> {
  try {
    const created = await createCollection(name);
    collections.value = [...collections.value, created];
    chooseCollection(created.id);
    return null;
  } catch (error) {
    return sentenceFor(error);
  }
}

/** Forgets everything, when the person signs out. */
export function clearCollections(): void {
  closeDocuments();
  collections.value = [];
  collectionsPhase.value = { name: "loading" };
  chosenId.value = null;
}
