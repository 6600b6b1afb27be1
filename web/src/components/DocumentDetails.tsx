import { useEffect, useState } from "preact/hooks";
import { isAbort } from "../api/client";
import { sentenceFor } from "../api/problem";
import type { StoredDocument } from "../api/types";
import { type Details, readDetails } from "../state/details";
import { ProblemNote } from "./ProblemNote";
import { ReceiptView } from "./ReceiptView";
import { VersionList } from "./VersionList";

/** What is read only when somebody asks for it: what each stage saw of a document, and its versions. */
export function DocumentDetails({ document }: { document: StoredDocument }) {
  const [details, setDetails] = useState<Details | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const { id, version, live_version, state, job_id } = document;

  useEffect(() => {
    const controller = new AbortController();
    readDetails(id, job_id, controller.signal).then(
      (found) => {
        setDetails(found);
        setProblem(null);
      },
      (error: unknown) => {
        if (!isAbort(error)) setProblem(sentenceFor(error));
      },
    );
    return () => controller.abort();
  }, [id, job_id, version, live_version, state]);

  if (problem !== null) return <ProblemNote note={problem} />;
  if (!details) return <p class="row-note">Loading…</p>;
  return (
    <div class="details" data-testid="document-details">
      <ReceiptView details={details} />
      <VersionList document={document} versions={details.versions} />
    </div>
  );
}
