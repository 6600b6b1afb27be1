import { addCollection } from "../state/collections";
import { AskDialog } from "./AskDialog";

/** Asks for the name of a new collection and creates it. */
export function NewCollectionDialog({ onClose }: { onClose: () => void }) {
  return (
    <AskDialog
      title="New collection"
      label="Name"
      type="text"
      action="Create"
      testIds={{ field: "collection-name", action: "create-collection" }}
      onAnswer={addCollection}
      onClose={onClose}
    />
  );
}
