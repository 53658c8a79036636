"use strict";
// What every figure is made of: colours, panels, bands. `page` is what gpt/report/draw/html.py gathered.

let page;
const FIGURES = {};  // name -> {has: setting -> data or nothing, draw: (setting, panels) -> undefined}
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c"];
const VISIBLE = { "\n": "↵", " ": "␣", "\t": "→" };

const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const element = (id) => document.getElementById(id);
const finite = (values) => values.filter((value) => value !== null && value !== undefined && Number.isFinite(value));
const longest = (lists) => lists.reduce((most, list) => (list.length > most.length ? list : most), []);
const range = (n) => Array.from({ length: n }, (_, i) => i);
/** Words as plotly shows them as they are; it reads some HTML in its texts. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const visible = (character) => VISIBLE[character] ?? character;

/** A figure: what it needs of a setting, and how it is drawn into panels. */
function figure(name, has, draw) {
  FIGURES[name] = { has, draw };
}

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A sentence into an element, what stands between backticks as code. */
function say(host, text) {
  host.replaceChildren(...text.replace(/ %/g, "\u00a0%").split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part)));
}

function variantColor(index) {
  const color = page.variants[index].color;
  return color === "#000000" ? css("--ink") : color;
}

function faded(color, alpha) {
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},${alpha})`;
}

/** From dark near the input to light near the output; shifted where the page itself is dark. */
function depthColor(place, count) {
  const low = dark() ? 0.3 : 0.0;
  const at = count < 2 ? low : low + (place / (count - 1)) * (0.97 - low);
  return VIRIDIS[Math.min(VIRIDIS.length - 1, Math.floor(at * VIRIDIS.length))];
}

/** Mean line and band of `{mean, low, high}`. */
function bandTraces(x, curve, color, name, more = {}) {
  const keep = range(x.length).filter((i) => curve.mean[i] !== null && curve.mean[i] !== undefined);
  const take = (values) => keep.map((i) => values[i]);
  const [xs, mean, low, high] = [take(x), take(curve.mean), take(curve.low), take(curve.high)];
  const traces = [];
  if (low.some((value, i) => value !== null && value !== high[i])) {
    traces.push({
      type: "scatter", mode: "lines", x: [...xs, ...[...xs].reverse()], y: [...high, ...[...low].reverse()],
      fill: "toself", fillcolor: faded(color, 0.2), line: { width: 0 }, hoverinfo: "skip",
    });
  }
  traces.push({
    type: "scatter", mode: more.symbol ? "lines+markers" : "lines", x: xs, y: mean, name: plain(name),
    line: { color, width: more.width ?? 2.2, dash: more.dash }, marker: { symbol: more.symbol, size: 6, color },
    customdata: low.map((value, i) => [value, high[i]]),
    hovertemplate: "%{y:.4~g}  [%{customdata[0]:.4~g}, %{customdata[1]:.4~g}]",
  });
  return traces;
}

/** Without hover: one of many lines. */
function thinLine(x, y, color, more = {}) {
  return {
    type: "scatter", mode: "lines", x, y, line: { color, width: 0.9, dash: more.dash }, opacity: more.opacity ?? 0.45,
    hoverinfo: "skip",
  };
}

function level(y, text, color) {
  return {
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: color ?? css("--soft"), width: 1, dash: "dash" } }],
    annotations: text ? [note(1, y, text, { xref: "paper", xanchor: "right", yanchor: "bottom" })] : [],
  };
}

function note(x, y, text, more = {}) {
  return { x, y, text: plain(text), showarrow: false, font: { size: 11.5, color: more.color ?? css("--soft") }, ...more };
}

function axis(title, more = {}) {
  return {
    title: { text: plain(title), font: { size: 12.5 }, standoff: 8 }, gridcolor: css("--line"), linecolor: css("--line"),
    zeroline: false, ticks: "", automargin: true, ...more,
  };
}

/** A logarithmic axis whose numbers are written out. */
function logAxis(title, more = {}) {
  const [low, high] = more.range ?? [0, 1];
  const steps = high - low > 2.5 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 5];
  const ticks = range(Math.ceil(high) - Math.floor(low) + 1).flatMap((i) => steps.map((step) => Number((step * 10 ** (Math.floor(low) + i)).toPrecision(1))));
  const words = more.words ?? ((value) => (value >= 1e-4 && value < 1e5 ? String(value) : value.toExponential(0)));
  return axis(title, { type: "log", tickvals: ticks, ticktext: ticks.map(words), ...more, words: undefined });
}

/** An axis of named places in a row. */
function namedAxis(names, ends, more = {}) {
  return axis("", { tickvals: range(names.length), ticktext: names.map(plain), range: ends, tickangle: innerWidth < 620 && names.length > 4 ? -45 : 0, ...more });
}

/** Ends of a logarithmic axis that holds all values above 0. */
function logRange(values) {
  const logs = finite(values).filter((value) => value > 0).map(Math.log10);
  if (!logs.length) return undefined;
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const room = Math.max(0.05, 0.06 * (high - low));
  return [low - room, high + room];
}

/** Ends of a linear axis that holds all values. */
function linearRange(values, from) {
  const found = finite(from === undefined ? values : [...values, from]);
  if (!found.length) return undefined;
  const [low, high] = [Math.min(...found), Math.max(...found)];
  const room = high > low ? 0.06 * (high - low) : Math.abs(high) * 0.1 || 1;
  return [low === from ? low - room / 3 : low - room, high + room];
}

/** The panels of one figure, in order. They are drawn at the end, when all are there and have their widths; those of an
 * earlier drawing that are no more are taken away. */
class Panels {
  constructor(host) {
    this.host = host;
    this.count = 0;
    this.waiting = [];
  }

  next(title, kind = "") {
    let place = this.host.children[this.count];
    if (!place || place.dataset.kind !== kind) {
      place?.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.purge(plot));
      const fresh = make("div", { class: `panel ${kind}`, "data-kind": kind }, make("h4"), make("div", { class: "plot" }));
      if (place) place.replaceWith(fresh);
      else this.host.append(fresh);
      place = fresh;
    }
    this.count += 1;
    place.querySelector("h4").textContent = title;
    return place;
  }

  plot(title, traces, { height = 300, kind = "", ...layout } = {}) {
    const place = this.next(title, kind);
    const plot = place.querySelector(".plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", title);
    this.waiting.push(() => Plotly.react(plot, traces, {
      height: kind === "square" ? place.clientWidth + 70 : height, autosize: true, margin: { l: 50, r: 10, t: 8, b: 40 }, showlegend: false, hovermode: "x unified",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: FONT, size: 12, color: css("--ink") },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { family: FONT, size: 12, color: css("--ink") } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", ...layout,
    }, { displayModeBar: false, responsive: true }));
    return place;
  }

  /** A line of colours and words above the panels. */
  legend(entries) {
    let list = this.host.previousElementSibling;
    if (!list?.classList.contains("layers")) {
      list = make("ul", { class: "legend layers" });
      this.host.before(list);
    }
    list.replaceChildren(...entries.map(([color, words]) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = color;
      return make("li", {}, swatch, words);
    }));
  }

  end() {
    while (this.host.children.length > this.count) {
      this.host.lastElementChild.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.purge(plot));
      this.host.lastElementChild.remove();
    }
    this.waiting.forEach((draw) => draw());
  }
}
