import { describe, expect, it, vi } from "vitest";
import { listenForSignedOut, request, requestJson } from "../src/api/client";
import { problemFrom, sentenceFor } from "../src/api/problem";
import { readCollections, readText } from "../src/api/routes";
import { serve } from "./testServer";

describe("problemFrom", () => {
  it("takes code, detail and retryable from a problem document", () => {
    const body = {
      title: "Too large",
      detail: "Up to 50 MB.",
      code: "file_too_large",
      request_id: "r1",
      retryable: false,
    };
    expect(problemFrom(413, JSON.stringify(body))).toMatchObject({
      status: 413,
      code: "file_too_large",
      message: "Up to 50 MB.",
      requestId: "r1",
      retryable: false,
    });
  });

  it("falls back to the title", () => {
    expect(problemFrom(409, '{"title": "Taken", "detail": null, "code": "name_taken"}').message).toBe(
      "Taken",
    );
  });

  it("has a sentence of its own for a body that is no problem document", () => {
    for (const body of ["<html>Bad gateway</html>", "", "null", "3"]) {
      const problem = problemFrom(502, body);
      expect(problem.message).toContain("not reachable");
      expect(problem).toMatchObject({ code: "http_502", retryable: true });
    }
  });

  it("names the status it does not know", () => {
    expect(problemFrom(418, "").message).toContain("418");
  });
});

describe("sentenceFor", () => {
  it("does not show a programming error to a person", () => {
    expect(sentenceFor(new TypeError("x is undefined"))).not.toContain("undefined");
  });
});

describe("request", () => {
  it("throws what the server says", async () => {
    await serve((_, response) =>
      response.writeHead(404).end('{"code": "not_found", "detail": "No such job."}'),
    );
    await expect(request("/v1/jobs/x")).rejects.toMatchObject({
      status: 404,
      code: "not_found",
      message: "No such job.",
    });
  });

  it("tells when the session is over", async () => {
    const signedOut = vi.fn();
    listenForSignedOut(signedOut);
    await serve((_, response) => response.writeHead(401).end());
    await expect(request("/v1/collections")).rejects.toMatchObject({ status: 401 });
    expect(signedOut).toHaveBeenCalledOnce();
  });

  it("calls a server that is not there a lost connection", async () => {
    await serve((_, response) => response.destroy());
    await expect(request("/v1/collections")).rejects.toMatchObject({
      status: 0,
      code: "connection_lost",
      retryable: true,
    });
  });

  it("is silent about what the page itself aborted", async () => {
    await serve(() => undefined);
    const controller = new AbortController();
    const asking = request("/v1/collections", { signal: controller.signal });
    controller.abort();
    await expect(asking).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("requestJson", () => {
  it("says so when the answer is not JSON", async () => {
    await serve((_, response) => response.end("<!doctype html>"));
    await expect(requestJson("/v1/session")).rejects.toMatchObject({ code: "not_understood" });
  });
});

describe("readText", () => {
  it("keeps a leading byte order mark, which counts as a character", async () => {
    await serve((_, response) => response.end("\ufeffText 🎉"));
    expect(await readText("doc", 1, new AbortController().signal)).toBe("\ufeffText 🎉");
  });
});

describe("readCollections", () => {
  it("follows the pages to the end", async () => {
    await serve((request, response) => {
      const after = new URL(request.url ?? "", "http://x").searchParams.get("after");
      const page =
        after === "a b" ? { data: [{ id: "2" }], next: null } : { data: [{ id: "1" }], next: "a b" };
      response.end(JSON.stringify(page));
    });
    expect((await readCollections()).map(({ id }) => id)).toEqual(["1", "2"]);
  });
});
