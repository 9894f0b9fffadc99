// The truth about the numbered events: which are here, which are not, and when the page was away.
// Pure: it is told what happens and when, and returns numbers.

/** An absence: the time in which nothing arrived, and the numbers that were sent meanwhile. */
class Absence {
  to = undefined;  // the newest number when it was over, once the server has said it
  until = undefined;

  constructor(from, since) {
    this.from = from;
    this.since = since;
  }

  seconds(now) {
    return ((this.until ?? now) - this.since) / 1000;
  }

  has(n) {
    return n > this.from && n <= (this.to ?? (this.until ? Infinity : this.from));
  }
}

export class Truth {
  absences = [];

  constructor() {
    this.#begin(undefined, 0);
  }

  /** The publisher counts from 1 again. */
  #begin(run, n) {
    this.run = run;
    this.first = n;
    this.top = n - 1;  // the highest number that is here
    this.newest = n - 1;  // the highest number that was sent
    this.holes = new Set();
    this.lost = new Set();  // the server has said that they are gone
    this.wrong = new Set();
    this.twice = 0;
    this.disordered = 0;
    this.mayLose = false;
    for (const absence of this.absences) absence.to ??= absence.from;
  }

  get sent() {
    return this.run === undefined ? 0 : this.newest - this.first + 1;
  }

  get received() {
    return this.run === undefined ? 0 : this.top - this.first + 1 - this.holes.size - this.lost.size;
  }

  get missing() {
    return this.sent - this.received - this.lost.size;
  }

  /** A number has arrived. */
  take(n, run) {
    if (run !== this.run) this.#begin(run, n);
    if (n > this.top) {
      for (let hole = this.top + 1; hole < n; hole += 1) (this.mayLose ? this.lost : this.holes).add(hole);
      this.top = n;
      this.newest = Math.max(this.newest, n);
      this.mayLose = false;
    } else {
      // Order is promised, so a hole that is filled later is a fault, too.
      if (this.holes.delete(n) || this.lost.delete(n)) this.disordered += 1;
      else this.twice += 1;
      this.wrong.add(n);
    }
  }

  /** The server says that events are missing for good. */
  reset() {
    for (const hole of this.holes) this.lost.add(hole);
    this.holes.clear();
    this.mayLose = true;
  }

  /** The server says which number is the newest. */
  know(n, run) {
    if (run === this.run) this.newest = Math.max(this.newest, n);
  }

  /** Nothing arrives any more, since a time in milliseconds; return the absence. */
  leave(since) {
    const absence = new Absence(this.top, since);
    this.absences.push(absence);
    return absence;
  }

  /** How many numbers of an absence were sent, and how many of them are here. */
  of(absence) {
    const to = absence.to ?? absence.from;
    const without = (numbers) => [...numbers].filter((n) => absence.has(n)).length;
    const here = Math.max(0, Math.min(to, this.top) - absence.from) - without(this.holes) - without(this.lost);
    return { missed: to - absence.from, got: here, lost: without(this.lost) };
  }

  /** What the page shows of a number: nothing, live, recovered, missing or wrong. */
  stateOf(n) {
    if (this.run === undefined || n < this.first || n > this.newest) return "";
    if (this.wrong.has(n) || this.lost.has(n)) return "wrong";
    if (n > this.top || this.holes.has(n)) return "missing";
    return this.absences.some((absence) => absence.has(n)) ? "recovered" : "live";
  }
}
