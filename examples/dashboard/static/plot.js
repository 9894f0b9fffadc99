// One metric over time.  uPlot draws it; colours are functions, so that another scheme is a redraw.

const COLOURS = ["--pico-primary", "--second"];
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { timeStyle: "medium" });
/** Seconds without a figure that are drawn as a gap. */
const GAP = 3;
/** The most marks that a plot shows. */
const MARKS = 20;

/** Write a value with its unit: 1.2 MB/s. */
function written(value, unit) {
  if (!unit.startsWith("bytes")) return `${Math.round(value * 100) / 100}${unit && ` ${unit}`}`;
  const prefixes = ["", "k", "M", "G", "T"];
  let power = 0;
  for (; value >= 1000 && power < prefixes.length - 1; power += 1) value /= 1000;
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${prefixes[power]}B${unit.slice("bytes".length)}`;
}

export class Plot {
  #section;
  #metric;
  #kept;
  marks = [];
  data = [[]];
  #chart;
  #due = false;

  constructor(section, metric, kept) {
    this.#section = section;
    this.#metric = metric;
    this.#kept = kept;
  }

  /** Show the metric or not, and begin anew: what is kept comes again. */
  show(shown) {
    this.#section.hidden = !shown;
    this.marks = [];
    if (!shown) return;
    this.#chart ??= this.#draw(this.#section.querySelector(".plot"));
    this.#set([[], ...this.#metric.series.map(() => [])]);
  }

  /** Add the values of the time `t`, in seconds. */
  add(t, values) {
    const [times] = this.data;
    const columns = [[t], ...values.map((value) => [value])];
    if (t - times.at(-1) > GAP) columns.forEach((column, row) => column.unshift(row ? null : t - GAP / 2));
    this.#set(this.data.map((column, row) => [...column, ...columns[row]].slice(-this.#kept)));
    this.#write(values);
  }

  /** Mark a moment. */
  mark(mark) {
    this.marks = [...this.marks, mark].slice(-MARKS);
    this.#set(this.data);
  }

  /** Write the newest values, each in the colour of its line. */
  #write(values) {
    const { series, unit } = this.#metric;
    this.#section.querySelector("output").replaceChildren(...values.map((value, row) => {
      const item = document.createElement("span");
      item.textContent = `${series.length > 1 ? `${series[row]} ` : ""}${written(value, unit)}`;
      return item;
    }));
  }

  /** Redraw once for all that comes together. */
  #set(data) {
    this.data = data;
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#chart?.setData(this.data);
    });
  }

  #draw(box) {
    const { series, unit, most } = this.#metric;
    const axis = { stroke: colour("--pico-muted-color"), grid: { stroke: colour("--pico-muted-border-color"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const size = () => ({ width: box.clientWidth, height: box.clientHeight });
    const chart = new uPlot({
      ...size(),
      legend: { show: false },
      cursor: { show: false },
      padding: [8, 8, 0, 0],
      scales: {
        x: { range: (_, low, high) => [Math.min(low, high - 20), high] },
        y: { range: (_, low, high) => [0, most ?? Math.max(1, high * 1.15)] },
      },
      axes: [
        { ...axis, size: 28, space: 80, values: (_, times) => times.map(clock) },
        { ...axis, size: 64, space: 34, values: (_, values) => values.map((value) => written(value, unit)) },
      ],
      series: [{}, ...series.map((label, row) => ({
        label,
        stroke: colour(COLOURS[row]),
        fill: row ? undefined : () => `color-mix(in srgb, ${colour(COLOURS[row])()} 14%, transparent)`,
        width: 1.8,
        points: { show: false },
      }))],
      hooks: { draw: [(chart) => this.#drawMarks(chart)] },
    }, [[], ...series.map(() => [])], box);
    new ResizeObserver(() => chart.setSize(size())).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());
    return chart;
  }

  #drawMarks({ ctx, bbox, valToPos, scales }) {
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--pico-color")();
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const { t, text } of this.marks) {
      if (t < scales.x.min || t > scales.x.max) continue;
      const x = valToPos(t, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const left = x + ctx.measureText(text).width + 8 * devicePixelRatio > bbox.left + bbox.width;
      ctx.textAlign = left ? "right" : "left";
      ctx.fillText(text, x + (left ? -4 : 4) * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
    }
    ctx.restore();
  }
}
