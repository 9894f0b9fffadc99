// The truth about the numbered events: which are here, which are not, and when the page was away.
// Pure: it is told what happens and when, in milliseconds, and returns numbers.

/** Milliseconds from one number to the next. */
export const EVERY = 250;

/** A time in which nothing arrived; the numbers `from` < n <= `to` were made meanwhile. */
class Absence {
  until = undefined;
  settled = false;

  constructor(kind, from, since) {
    Object.assign(this, { kind, from, to: from, since });
  }

  seconds(now) {
    return ((this.until ?? now) - this.since) / 1000;
  }

  has(n) {
    return n > this.from && n <= this.to;
  }

  /** A number arrived that was made at a time: before the absence was over, or after it? */
  settle(n, made) {
    this.settled ||= made > this.until;
    this.to = Math.max(this.to, this.settled ? n - 1 : n);
  }
}

export class Truth {
  absences = [];
  run = undefined;
  first = 0;
  top = -1;  // the highest number that is here
  holes = new Set();
  lost = new Set();  // the server has said that they are gone
  wrong = new Set();
  twice = 0;
  disordered = 0;
  #mayLose = false;
  #lag = Infinity;  // from a number's making to its arrival, at least; clocks may differ

  /** Numbers that were sent, as far as those that are here show. */
  get sent() {
    return this.top - this.first + 1;
  }

  get received() {
    return this.sent - this.holes.size - this.lost.size;
  }

  /** The absence that is not over. */
  get absence() {
    const last = this.absences.at(-1);
    return last?.until === undefined ? last : undefined;
  }

  /** How many numbers are probably made in it. */
  expected(now) {
    return this.absence ? Math.floor((now - this.absence.since) / EVERY) : 0;
  }

  /** A number has arrived. */
  take({ n, run, made }, now) {
    if (run !== this.run) this.#begin(run, n);
    if (this.absence) this.absence.until = now;
    this.#lag = Math.min(this.#lag, now - made);
    if (n > this.top) {
      for (let hole = this.top + 1; hole < n; hole += 1) (this.#mayLose ? this.lost : this.holes).add(hole);
      this.top = n;
      this.#mayLose = false;
    } else {
      // Order is promised, so a hole that is filled later is a fault, too.
      if (this.holes.delete(n) || this.lost.delete(n)) this.disordered += 1;
      else this.twice += 1;
      this.wrong.add(n);
    }
    const last = this.absences.at(-1);
    if (last && !last.settled) last.settle(n, made + this.#lag);
  }

  /** Another publisher counts from 1. */
  #begin(run, n) {
    this.run = run;
    this.first = n;
    this.top = n - 1;
    for (const numbers of [this.holes, this.lost, this.wrong]) numbers.clear();
    this.absences = [];
    this.twice = this.disordered = 0;
    this.#mayLose = false;
  }

  /** The server says that events are missing for good. */
  reset() {
    for (const hole of this.holes) this.lost.add(hole);
    this.holes.clear();
    this.#mayLose = true;
  }

  /** Nothing arrives any more; return the absence, or undefined before the first number. */
  leave(kind, since) {
    if (this.run === undefined) return undefined;
    if (this.absence) this.absence.kind = kind;
    else this.absences.push(new Absence(kind, this.top, since));
    return this.absence;
  }

  /** How many numbers of an absence were sent, how many are here, and how many are lost. */
  of(absence) {
    const count = (numbers) => [...numbers].filter((n) => absence.has(n)).length;
    const missed = absence.to - absence.from, lost = count(this.lost);
    return { missed, got: missed - count(this.holes) - lost, lost };
  }

  /** What the page shows of a number: nothing, live, recovered, missing or wrong. */
  stateOf(n, now) {
    if (this.run === undefined || n < this.first || n > this.top + this.expected(now)) return "";
    if (this.wrong.has(n) || this.lost.has(n)) return "wrong";
    if (n > this.top || this.holes.has(n)) return "missing";
    return this.absences.some((absence) => absence.has(n)) ? "recovered" : "live";
  }
}
