import { dismiss, sendAgain, type Upload, unpackIt } from "../state/uploads";
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
      {state === "archive" && <p class="row-note">Unpack it, and its files become documents.</p>}
      {state === "archive" && (
        <div class="row-actions">
          <button type="button" class="button" data-testid="unpack" onClick={() => unpackIt(key)}>
            Unpack<span class="visually-hidden"> {file.name}</span>
          </button>
          <button type="button" class="link" onClick={() => dismiss(key)}>
            Leave out<span class="visually-hidden">: {file.name}</span>
          </button>
        </div>
      )}
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
