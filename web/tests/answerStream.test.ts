import { describe, expect, it } from "vitest";
import { ask, rejoin } from "../src/api/answerStream";
import type { ServerEvent } from "../src/api/sse";
import { serve, wire } from "./testServer";

const QUESTION = { collection: "col_1", question: "How many days?" };

function listening() {
  return { signal: new AbortController().signal, onConnected: () => undefined };
}

async function names(events: AsyncIterable<ServerEvent>): Promise<string[]> {
  const list: string[] = [];
  for await (const { event } of events) list.push(event);
  return list;
}

describe("ask", () => {
  it("asks once, and resumes the same answer when the connection breaks", async () => {
    const asked: string[] = [];
    await serve((request, response) => {
      asked.push(`${request.method} ${request.url} ${String(request.headers["last-event-id"] ?? "-")}`);
      if (request.method === "POST") {
        // The wait is asked for so that the test does not take a second.
        response.write("retry: 1\n\n" + wire(7, "answer.created", { id: "ans_1" }), () => response.destroy());
      } else {
        response.end(wire(8, "answer.completed", { id: "ans_1" }));
      }
    });
    expect(await names(ask(QUESTION, listening()))).toEqual(["answer.created", "answer.completed"]);
    expect(asked).toEqual(["POST /v1/answers -", "GET /v1/answers/ans_1/events 7"]);
  });

  it("never asks twice by itself when the connection breaks before the answer has an id", async () => {
    let requests = 0;
    await serve((_, response) => {
      requests += 1;
      response.write("retry: 1\n\n", () => response.destroy());
    });
    await expect(names(ask(QUESTION, listening()))).rejects.toMatchObject({ code: "answer_never_began" });
    expect(requests).toBe(1);
  });

  it("passes on the server's sentence when it refuses the question", async () => {
    await serve((_, response) => {
      response
        .writeHead(422)
        .end(JSON.stringify({ code: "question_empty", title: "Bad", detail: "Write a question." }));
    });
    await expect(names(ask(QUESTION, listening()))).rejects.toMatchObject({
      code: "question_empty",
      message: "Write a question.",
    });
  });
});

describe("rejoin", () => {
  it("reads an answer from its first event", async () => {
    await serve((request, response) => {
      expect(request.headers["last-event-id"]).toBeUndefined();
      response.end(wire(1, "answer.created", { id: "ans_1" }) + wire(2, "answer.refused", { id: "ans_1" }));
    });
    expect(await names(rejoin("ans_1", listening()))).toEqual(["answer.created", "answer.refused"]);
  });
});
