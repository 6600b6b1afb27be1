import type { ComponentChild } from "preact";
import { jobFacts, linesOf } from "../receipt";
import type { Details } from "../state/details";

/** What each stage saw of a document and how long it took, in words. */
export function ReceiptView({ details: { receipt, job } }: { details: Details }) {
  const lines = linesOf(receipt);
  const facts = job ? jobFacts(job) : [];
  // A document that is partly ready tells these in its row.
  const warnings = receipt.state === "partially_succeeded" ? [] : receipt.warnings;
  return (
    <section data-testid="receipt">
      {warnings.map((warning) => (
        <p key={warning} class="row-note" data-testid="receipt-warning">
          {warning}
        </p>
      ))}
      <dl class="receipt">
        {lines.map(({ label, facts: seen, time }) => (
          <Line key={label} label={label} facts={seen} time={time} />
        ))}
        {facts.length > 0 && <Line label="Job" facts={facts} />}
        {job?.error && job.request_id !== null && (
          <Line label="In the log" facts={[<code key="id">{job.request_id}</code>]} />
        )}
      </dl>
    </section>
  );
}

interface LineProps {
  label: string;
  facts: ComponentChild[];
  time?: string | null;
}

function Line({ label, facts, time = null }: LineProps) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        {facts.map((fact, index) => (
          <span key={index} class="fact">
            {fact}
          </span>
        ))}
        {time !== null && <span class="fact muted">in {time}</span>}
      </dd>
    </div>
  );
}
