import { dismiss, sendAgain, type Upload } from "../state/uploads";
import { StateBadge } from "./StateBadge";

/** A file on its way to the server, or refused by it. */
export function UploadRow({ upload }: { upload: Upload }) {
  const { key, file, state, sent, problem } = upload;
  return (
    <li class="document-row" data-testid="upload-row" data-name={file.name} data-state={state}>
      <div class="row-head">
        <bdi class="file-name">{file.name}</bdi>
        <StateBadge state={state} />
      </div>
      {state === "uploading" && <progress aria-label={`Sending ${file.name}`} max={1} value={sent} />}
      {problem !== null && <p class="row-note bad">{problem}</p>}
      {state === "rejected" && (
        <div class="row-actions">
          <button type="button" class="link" onClick={() => sendAgain(key)}>
            Send again<span class="visually-hidden">: {file.name}</span>
          </button>
          <button type="button" class="link" onClick={() => dismiss(key)}>
            Dismiss<span class="visually-hidden">: {file.name}</span>
          </button>
        </div>
      )}
    </li>
  );
}
