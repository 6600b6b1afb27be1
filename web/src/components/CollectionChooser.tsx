import { chooseCollection, chosenId, collections } from "../state/collections";

/** Chooses the collection that is shown and asked. */
export function CollectionChooser() {
  if (collections.value.length === 0) return null;
  return (
    <label class="chooser">
      <span class="visually-hidden">Collection</span>
      <select
        data-testid="collection-chooser"
        value={chosenId.value ?? ""}
        onChange={(event) => chooseCollection(event.currentTarget.value)}
      >
        {collections.value.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
