import { describe, expect, it } from "vitest";
import { connectionLost, Problem } from "../src/api/problem";
import { followEvents, openEvents, readEvents, type ServerEvent, sleep } from "../src/api/sse";
import { serve, wire } from "./testServer";

const EVENTS = [
  { event: "a", data: "one\ntwo", id: "1" },
  { event: "message", data: "ünï 🎉", id: "2" },
  { event: "a", data: "", id: undefined },
];

function stream(lineEnd: string): Uint8Array {
  const lines = [
    "id: 1",
    "event: a",
    "data: one",
    "data: two",
    "",
    ": a comment",
    "id:2",
    "data:ünï 🎉",
    "",
    "event: a",
    "data",
    "",
    "",
  ];
  return new TextEncoder().encode(lines.join(lineEnd));
}

/** A response whose body comes in pieces of `size` bytes. */
function inPieces(bytes: Uint8Array, size: number): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
  return new Response(body);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("readEvents", () => {
  for (const [name, lineEnd] of [
    ["LF", "\n"],
    ["CRLF", "\r\n"],
  ] as const) {
    it(`reads ${name} streams cut at any byte`, async () => {
      for (const size of [1, 2, 3, 5, 1_000])
        expect(await all(readEvents(inPieces(stream(lineEnd), size)))).toEqual(EVENTS);
    });
  }

  it("reads CR streams, each event once the next line is whole", async () => {
    const bytes = new TextEncoder().encode("id: 1\rdata: x\rdata: y\r\r: next\r: more");
    for (const size of [1, 1_000]) {
      expect(await all(readEvents(inPieces(bytes, size)))).toEqual([
        { event: "message", data: "x\ny", id: "1" },
      ]);
    }
  });

  it("leaves out an event that was cut off", async () => {
    const bytes = new TextEncoder().encode("data: whole\n\ndata: ha");
    expect((await all(readEvents(inPieces(bytes, 4)))).map(({ data }) => data)).toEqual(["whole"]);
  });

  it("passes on the wait that the server asks for", async () => {
    const waits: number[] = [];
    await all(
      readEvents(inPieces(new TextEncoder().encode("retry: 250\n\n"), 3), (wait) => waits.push(wait)),
    );
    expect(waits).toEqual([250]);
  });

  it("ends a stream that has fallen silent", async () => {
    const silent = new Response(new ReadableStream<Uint8Array>());
    expect(await all(readEvents(silent, undefined, 20))).toEqual([]);
  });

  it("turns a broken connection into a problem that can be tried again", async () => {
    const base = await serve((_, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write(wire(1, "a", 1), () => response.destroy());
    });
    const events = all(readEvents(await fetch(base)));
    await expect(events).rejects.toMatchObject({ code: "connection_lost", retryable: true });
  });
});

describe("followEvents", () => {
  const last = ({ event }: ServerEvent) => event === "end";

  /** Follows the server at `base`; gives the events and the pauses made between attempts. */
  async function follow(base: string, attempts = 6) {
    const { signal } = new AbortController();
    const pauses: number[] = [];
    const connected: boolean[] = [];
    const events: ServerEvent[] = [];
    const following = followEvents(null, {
      resume: (id) => openEvents(base, id, signal),
      last,
      signal,
      attempts,
      onConnected: (is) => connected.push(is),
      pause: (milliseconds) => {
        pauses.push(milliseconds);
        return Promise.resolve();
      },
    });
    let error: unknown = null;
    try {
      for await (const event of following) events.push(event);
    } catch (thrown) {
      error = thrown;
    }
    return { events, pauses, connected, error };
  }

  it("resumes after the last whole event, and loses and repeats none", async () => {
    const asked: (string | undefined)[] = [];
    const base = await serve((request, response) => {
      const after = request.headers["last-event-id"];
      asked.push(after as string | undefined);
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      if (after === undefined)
        response.write(wire(1, "a", 1) + wire(2, "a", 2) + "id: 3\nda", () => response.destroy());
      else response.end(wire(3, "a", 3) + wire(4, "end", 4));
    });
    const { events, connected } = await follow(base);
    expect(asked).toEqual([undefined, "2"]);
    expect(events.map(({ id }) => id)).toEqual(["1", "2", "3", "4"]);
    expect(connected).toEqual([true, false, true]);
  });

  it("takes a stream that ends without its last event for broken", async () => {
    let requests = 0;
    const base = await serve((_, response) => {
      requests += 1;
      response.end(requests === 1 ? wire(1, "a", 1) : wire(2, "end", 2));
    });
    expect((await follow(base)).events.map(({ event }) => event)).toEqual(["a", "end"]);
  });

  it("waits longer each time, as the server asked, and gives up in the end", async () => {
    const base = await serve((_, response) => response.end("retry: 100\n\n"));
    const { pauses, error } = await follow(base, 5);
    expect(pauses).toEqual([100, 200, 400, 800]);
    expect(error).toMatchObject({ code: connectionLost().code });
  });

  it("tries again when the server is not ready", async () => {
    let requests = 0;
    const base = await serve((_, response) => {
      requests += 1;
      if (requests < 3) response.writeHead(503).end();
      else response.end(wire(1, "end", 1));
    });
    expect((await follow(base)).events).toHaveLength(1);
  });

  it("stops at a problem that the server met on the way, and resumes where it says that this helps", async () => {
    const problem = { code: "not_found", detail: "The job is gone.", status: 404, retryable: false };
    let requests = 0;
    const base = await serve((_, response) => {
      requests += 1;
      const busy = { ...problem, code: "unavailable", status: 503, retryable: true };
      response.end(`event: problem\ndata: ${JSON.stringify(requests === 1 ? busy : problem)}\n\n`);
    });
    const { error, events } = await follow(base);
    expect(error).toMatchObject({ status: 404, code: "not_found", message: "The job is gone." });
    expect(events).toEqual([]);
    expect(requests).toBe(2);
  });

  it("stops at a refusal that no further attempt changes", async () => {
    let requests = 0;
    const base = await serve((_, response) => {
      requests += 1;
      response
        .writeHead(410)
        .end(JSON.stringify({ code: "source_deleted", detail: "A source was deleted." }));
    });
    const { error } = await follow(base);
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({ status: 410, code: "source_deleted", message: "A source was deleted." });
    expect(requests).toBe(1);
  });
});

describe("sleep", () => {
  it("ends at once when it is aborted", async () => {
    const controller = new AbortController();
    const sleeping = sleep(60_000, controller.signal);
    controller.abort();
    await expect(sleeping).rejects.toMatchObject({ name: "AbortError" });
  });
});
