import { Problem, sentenceFor } from "../api/problem";
import { readChildren } from "../api/routes";
import { withdrawDocuments } from "./conversation";
import { type DocumentEntry, removeDocument } from "./documents";
import { closeReader, target } from "./reader";

/**
 * Deletes a document, with those inside it as the server does, and takes what rests on them off the page; gives the
 * sentence to show when that fails.
 */
export async function deleteEverywhere({ document: { id } }: DocumentEntry): Promise<string | null> {
  let ids: ReadonlySet<string>;
  try {
    // Asked before, since afterwards nobody knows; the list does not show all of them.
    ids = new Set([id, ...(await idsInside(id))]);
  } catch (error) {
    return sentenceFor(error);
  }
  const note = await removeDocument(id);
  if (note !== null) return note;
  if (target.value && ids.has(target.value.documentId)) closeReader();
  await withdrawDocuments(ids);
  return null;
}

async function idsInside(id: string): Promise<string[]> {
  try {
    const ids = (await readChildren(id)).map((child) => child.id);
    return [...ids, ...(await Promise.all(ids.map(idsInside))).flat()];
  } catch (error) {
    // Deleted meanwhile by somebody else.
    if (error instanceof Problem && (error.status === 404 || error.status === 410)) return [];
    throw error;
  }
}
