import { withdrawDocument } from "./conversation";
import { type DocumentEntry, removeDocument } from "./documents";
import { closeReader, target } from "./reader";

/** Deletes a document and takes what rests on it off the page; gives the sentence to show when that fails. */
export async function deleteEverywhere({ document }: DocumentEntry): Promise<string | null> {
  const note = await removeDocument(document.id);
  if (note !== null) return note;
  withdrawDocument(document.id);
  if (target.value?.documentId === document.id) closeReader();
  return null;
}
