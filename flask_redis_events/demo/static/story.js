// What happened: what was pressed, what came of it, and what it cost.
import { make } from "./parts.js";

const PATIENCE = 10_000;  // after which a fault has no more effect
const MOST = 8;

const seconds = (number) => `${number.toFixed(1)} s`;
const count = (number) => number.toLocaleString("en");

export class Story {
  #entries = [];

  constructor(truth) {
    this.truth = truth;
  }

  /** A fault was caused; return its entry. */
  press(label, pid) {
    return this.#add({ label, pid });
  }

  forget(entry) {
    entry.element.remove();
    this.#entries = this.#entries.filter((other) => other !== entry);
  }

  /** An absence begins: of the fault that was caused just before, or of none that is known. */
  leave(absence, label, pid) {
    const cause = this.#entries.find(({ flooded, at }) => !flooded && Date.now() - at < PATIENCE);
    if (cause && !cause.absence) cause.absence = absence;
    else Object.assign(this.#add({ label: cause ? `${cause.label}, again` : label, pid }), { absence });
  }

  /** A worker has the stream from now on. */
  meet(pid) {
    const entry = this.#entries.find(({ absence }) => absence);
    if (entry?.absence.kind === "away" && entry.now === undefined) entry.now = pid;
  }

  /** A number of a flood is here. */
  flood(place, of, at) {
    const entry = this.#entries.find(({ label, flooded }) => label.startsWith("Flood") && (place === 1) === !flooded);
    if (entry) entry.flooded = { from: entry.flooded?.from ?? at, until: at, place, of };
  }

  render(now) {
    for (const entry of this.#entries) {
      const text = this.#describe(entry, now);
      if (entry.said.textContent !== text) entry.said.textContent = text;
      entry.element.dataset.done = entry.done ?? "";
    }
  }

  #add({ label, pid }) {
    const element = make("li"), said = make("span"), at = Date.now();
    element.append(make("time", new Date(at).toLocaleTimeString("en-GB")), make("b", label), said);
    const entry = { label, pid, at, element, said };
    this.#entries.unshift(entry);
    document.getElementById("story").prepend(element);
    for (const old of this.#entries.splice(MOST)) old.element.remove();
    return entry;
  }

  #describe(entry, now) {
    const { absence, flooded, pid } = entry;
    if (flooded) {
      entry.done = flooded.place === flooded.of ? "right" : "";
      if (!entry.done) return "Numbers arrive …";
      return `${count(flooded.place)} of ${count(flooded.of)} numbers in ${seconds((flooded.until - flooded.from) / 1000)}.`;
    }
    if (!absence) {
      const over = now - entry.at > PATIENCE;
      entry.done ||= over ? "right" : "";
      return over ? "The stream did not stop." : "…";
    }
    const silent = absence.kind === "silent", time = seconds(absence.seconds(now));
    // Without the time, which a screen reader would read again and again.
    if (!absence.until) return silent ? "The stream is open, and nothing arrives …" : "Away …";
    const { missed, got, lost } = this.truth.of(absence);
    entry.done = lost ? "wrong" : absence.settled && got === missed ? "right" : "";
    const moved = entry.now && entry.now !== pid ? ` Worker ${pid ?? "?"} → ${entry.now}.` : "";
    const gone = lost ? ` The server has told you that ${count(lost)} are lost.` : "";
    if (silent) return `Nothing arrived for ${time}. ${count(missed)} numbers waited, ${count(got)} arrived.${gone}`;
    return `Away for ${time}.${moved} You missed ${count(missed)}, got ${count(got)}.${gone}`;
  }
}
