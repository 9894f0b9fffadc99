// The demo's page counts numbers; here the server breaks its promises, which the real one does not.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// By its address, Node would take a file of the demo for CommonJS.
const file = new URL("../../flask_redis_events/demo/static/truth.js", import.meta.url);
const { Truth } = await import(`data:text/javascript,${encodeURIComponent(await readFile(file, "utf8"))}`);

/** Return a truth that has got numbers as they were made, ten milliseconds before. */
function got(...numbers) {
  const truth = new Truth();
  for (const n of numbers) take(truth, n);
  return truth;
}

const take = (truth, n, now = n * 250 + 10, run = 1) => truth.take({ n, run, made: n * 250 }, now);
const told = ({ sent, received, holes, lost, twice, disordered }) => ({ sent, received, missing: holes.size, lost: lost.size, twice, disordered });

test("every number is here, once and in order", () => {
  assert.deepEqual(told(got(5, 6, 7)), { sent: 3, received: 3, missing: 0, lost: 0, twice: 0, disordered: 0 });
});

test("a number that is left out is missing", () => {
  const truth = got(5, 6, 8);
  assert.deepEqual(told(truth), { sent: 4, received: 3, missing: 1, lost: 0, twice: 0, disordered: 0 });
  assert.deepEqual([4, 5, 7, 8, 9].map((n) => truth.stateOf(n, 2010)), ["", "live", "missing", "live", ""]);
});

test("a number that comes again, or late, is wrong", () => {
  const truth = got(5, 6, 6, 8, 7);
  assert.deepEqual(told(truth), { sent: 4, received: 4, missing: 0, lost: 0, twice: 1, disordered: 1 });
  assert.deepEqual([6, 7].map((n) => truth.stateOf(n, 2010)), ["wrong", "wrong"]);
});

test("what is missing after a reset is lost", () => {
  const truth = got(5);
  truth.reset();
  take(truth, 8);
  take(truth, 10);
  assert.deepEqual(told(truth), { sent: 6, received: 3, missing: 1, lost: 2, twice: 0, disordered: 0 });
});

test("what was made while the page was away is missed, and recovered as it comes", () => {
  const truth = got(1, 2);
  const absence = truth.leave("away", 520);
  assert.equal(truth.expected(1530), 4);
  assert.equal(truth.stateOf(6, 1530), "missing");

  for (const n of [3, 4, 5, 6]) take(truth, n, 1530);
  assert.deepEqual(truth.of(absence), { missed: 4, got: 4, lost: 0 });
  assert.equal(absence.settled, false);

  take(truth, 7);
  take(truth, 8);
  assert.deepEqual(truth.of(absence), { missed: 4, got: 4, lost: 0 });
  assert.equal(absence.settled, true);
  assert.equal(absence.seconds(), 1.01);
  assert.deepEqual([2, 3, 6, 7].map((n) => truth.stateOf(n, 2010)), ["live", "recovered", "recovered", "live"]);
});

test("what does not come after an absence is missed, and not got", () => {
  const truth = got(1, 2);
  const absence = truth.leave("away", 520);
  take(truth, 3, 1530);
  take(truth, 7);
  assert.deepEqual(truth.of(absence), { missed: 4, got: 1, lost: 0 });
});

test("another clock on the server changes nothing", () => {
  const truth = new Truth();
  const late = (n, now) => take(truth, n, now + 1_000_000);
  late(1, 260);
  const absence = truth.leave("away", 1_000_270);
  for (const n of [2, 3]) late(n, 800);
  late(4, 1010);
  assert.deepEqual(truth.of(absence), { missed: 2, got: 2, lost: 0 });
});

test("another publisher counts anew", () => {
  const truth = got(5, 7);
  truth.leave("away", 1800);
  take(truth, 1, 3000, 2);
  take(truth, 2, 3250, 2);
  assert.deepEqual(told(truth), { sent: 2, received: 2, missing: 0, lost: 0, twice: 0, disordered: 0 });
  assert.equal(truth.absence, undefined);
});
