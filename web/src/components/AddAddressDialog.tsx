import type { Collection } from "../api/types";
import { fetchAddress } from "../state/arrivals";
import { AskDialog } from "./AskDialog";

interface Props {
  collection: Collection;
  onClose: () => void;
}

/** Asks for the address of a document and has the server fetch it. */
export function AddAddressDialog({ collection, onClose }: Props) {
  return (
    <AskDialog
      title="Add by address"
      label="Address"
      type="url"
      placeholder="https://…"
      hint="Ibid fetches the document now. Add the same address again to fetch it anew."
      action="Add"
      testIds={{ field: "address", action: "fetch-address" }}
      onAnswer={(address) => fetchAddress(collection.id, address)}
      onClose={onClose}
    />
  );
}
