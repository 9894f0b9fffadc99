// The parser of text/event-stream, against section 9.2 of the HTML standard.

import assert from "node:assert/strict";
import { test } from "node:test";

import { moduleUrl } from "./scene.mjs";

const { parser } = await import(moduleUrl);

function parse(...pieces) {
  const blocks = [], retries = [];
  const feed = parser((block) => blocks.push(block), (milliseconds) => retries.push(milliseconds));
  pieces.forEach(feed);
  return { blocks, retries };
}

const message = (text, id) => ({ name: "message", id, text });

const CASES = {
  "a block": ["data: a\n\n", [message("a")]],
  "all fields": ["id: 5-0\nevent: order\ndata: a\n\n", [{ name: "order", id: "5-0", text: "a" }]],
  "several lines of data": ["data: a\ndata\ndata: b\n\n", [message("a\n\nb")]],
  "one space only is no part of the value": ["data:  a\n\ndata:b\n\n", [message(" a"), message("b")]],
  "data that are empty": ["data\n\n", [message("")]],
  "an event without data is none": ["event: order\n\ndata: a\n\n", [message("a")]],
  "an id without data moves the position": ["id: 5-0\n\n", [message(undefined, "5-0")]],
  "an id that is empty": ["id\ndata: a\n\n", [message("a", "")]],
  "an id with a NUL is none": ["id: 5\0\ndata: a\n\n", [message("a")]],
  "an id is that of its block": ["id: 5-0\ndata: a\n\ndata: b\n\n", [message("a", "5-0"), message("b")]],
  "comments and unknown fields": [": a\n:\nfoo: b\ndatax: c\nDATA: d\ndata: a\n\n", [message("a")]],
  "a colon in a value": ["data: a: b\n\n", [message("a: b")]],
  "lines that end with CR": ["data: a\rdata: b\r\r", [message("a\nb")]],
  "lines that end with CRLF": ["data: a\r\ndata: b\r\n\r\n", [message("a\nb")]],
  "lines that end in all ways": ["data: a\r\rdata: b\n\r\ndata: c\n\n", ["a", "b", "c"].map((text) => message(text))],
  "other separators are text": ["data: a\u2028b\u0085c\vd\n\n", [message("a\u2028b\u0085c\vd")]],
  "a block that is not over": ["data: a\n\ndata: b\n", [message("a")]],
};

for (const [name, [text, expected]] of Object.entries(CASES)) {
  test(`${name}, however it is cut`, () => {
    assert.deepEqual(parse(text).blocks, expected);
    assert.deepEqual(parse(...text).blocks, expected);
    for (let at = 0; at <= text.length; at++) {
      assert.deepEqual(parse(text.slice(0, at), "", text.slice(at)).blocks, expected, `cut at ${at}`);
    }
  });
}

test("retry is a number of milliseconds, or nothing", () => {
  assert.deepEqual(parse("retry: 20\nretry: 03\nretry:\nretry: 1x\nretry: +1\nretry: 1_0\n").retries, [20, 3]);
});

test("a line of ten megabytes that comes in many pieces is read in time", () => {
  const piece = "x".repeat(10_000);
  const started = Date.now();

  const { blocks } = parse("data: ", ...Array(1_000).fill(piece), "\n\n");

  assert.equal(blocks[0].text.length, 10_000_000);
  assert.ok(Date.now() - started < 2_000);
});
