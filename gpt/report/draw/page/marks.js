"use strict";
// What panels are made of: a spec's axes and marks (gpt/report/figures/spec.py) as plotly draws them. No figure by name.

let page;  // what gpt/report/draw/html.py encoded
let weights;  // Uint8Array: the values of grids
const hidden = new Set();  // indices of variants that the reader has switched off
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const MONO = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace";
const PX = 1.3;  // of the page in a point of the spec
const DASHES = { dash: "dash", dot: "dot" };

const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const range = (n) => Array.from({ length: n }, (_, i) => i);
/** Words as plotly shows them as they are; it reads some HTML in its texts. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\n/g, "<br>");
const channels = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
const faded = (color, alpha) => `rgba(${channels(color.startsWith("#") ? color : "#888888").join(",")},${alpha})`;

/** The color of a scale of [place, color] at a value between 0 and 1, as channels. */
function blend(scale, value) {
  const above = Math.max(1, scale.findIndex(([place]) => place >= value));
  const [[from, a], [to, b]] = [scale[above - 1], scale[above]];
  return channels(a).map((channel, i) => Math.round(channel + ((value - from) / (to - from)) * (channels(b)[i] - channel)));
}

/** A spec's color as the page shows it: black and the darkest layers would vanish on a dark page. */
function paint(color) {
  const { colors, depth } = page.palette;
  if (color.role === "neutral") return css("--soft");
  if (color.role === "depth") {
    const low = dark() ? 0.3 : 0, at = low + (1 - low) * ((color.index ?? 0) / Math.max(1, (color.of ?? 1) - 1));
    return `#${blend(depth.map((each, i) => [i / (depth.length - 1), each]), at).map((c) => c.toString(16).padStart(2, "0")).join("")}`;
  }
  const own = colors[(color.index ?? 0) % colors.length];
  return own === "#000000" ? css("--ink") : own;
}

const symbol = (color) => (color.role === "variant" ? page.palette.symbols[(color.index ?? 0) % page.palette.symbols.length] : "circle");
const shades = (grid) => (grid.diverging ? page.palette.blue_red : dark() ? page.palette.dark_shades : page.palette.shades);

/** Where numbers are on an axis of plotly's, which has no scale that is linear up to 1 and logarithmic beyond. */
const bent = (value) => (value === null || Math.abs(value) <= 1 ? value : Math.sign(value) * (1 + Math.log10(Math.abs(value))));
const moved = (axis, values) => (axis.scale === "symlog" ? values.map(bent) : values);
/** Ends of ranges and places of annotations are logarithms where the axis is logarithmic. */
const placed = (axis, value) => (axis.scale === "log" ? Math.log10(value) : moved(axis, [value])[0]);

function axisOf({ label = "", limits, ticks, named, ...axis }, which, square) {
  const font = square ? { family: MONO, size: ticks?.length > 20 ? 10 : 12 } : undefined;
  return {
    title: { text: plain(label.replace(/\n/g, " ")), font: { size: 12.5 }, standoff: 8 }, gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, ticks: "", automargin: true,
    type: axis.scale === "log" ? "log" : "linear", showgrid: !named, tickfont: font,
    ...(limits ? { range: limits.map((end) => placed(axis, end)) } : {}),
    ...(ticks ? { tickvals: moved(axis, ticks.map(([place]) => place)), ticktext: ticks.map(([, words]) => plain(words)) } : {}),
    ...(named && which === "x" ? { tickangle: !square && innerWidth < 620 && ticks.length > 4 ? -45 : 0 } : {}),
    ...(square ? { constrain: "domain", ...(which === "y" ? { scaleanchor: "x" } : {}) } : {}),
  };
}

/** By kind of mark: adds to what plotly is given; `x` and `y` are the panel's axes. */
const MARKS = {
  Line(mark, { x, y, traces }) {
    const color = paint(mark.color), name = plain(mark.label ?? ""), there = range(mark.x.length).filter((i) => mark.y[i] !== null);
    const take = (axis, values) => moved(axis, there.map((i) => values[i]));
    const xs = take(x, mark.x), known = there.filter((i) => mark.low && mark.low[i] !== null && mark.high[i] !== null);
    if (known.length) {
      const back = [...known].reverse(), at = [...known, ...back];
      traces.push({
        type: "scatter", mode: "lines", x: moved(x, at.map((i) => mark.x[i])), y: moved(y, [...known.map((i) => mark.high[i]), ...back.map((i) => mark.low[i])]),
        fill: "toself", fillcolor: faded(color, 0.2), line: { width: 0 }, hoverinfo: "skip",
      });
    }
    const short = (number) => String(Number(number.toPrecision(4)));
    const words = (i) => `${short(mark.y[i])}${known.includes(i) ? `  [${short(mark.low[i])}, ${short(mark.high[i])}]` : ""}`;
    traces.push({
      type: "scatter", mode: mark.markers ? "lines+markers" : "lines", x: xs, y: take(y, mark.y), name,
      line: { color, width: (mark.width ?? 1.6) * PX, dash: DASHES[mark.dash], shape: mark.stepped ? "hv" : "linear" }, opacity: mark.opacity ?? 1,
      marker: { symbol: symbol(mark.color), size: 6, color: mark.filled === false ? css("--paper") : color, line: { color, width: mark.filled === false ? 1.5 : 0 } },
      ...(mark.label ? { text: there.map(words), hovertemplate: "%{text}" } : { hoverinfo: "skip" }),
    });
  },
  Points(mark, { x, y, traces }) {
    const color = paint(mark.color), size = (mark.size ?? 5) * PX, open = mark.filled === false || mark.cross;
    traces.push({
      type: "scatter", mode: "markers", x: moved(x, mark.x), y: moved(y, mark.y), name: plain(mark.label ?? ""), text: (mark.words ?? []).map(plain), opacity: mark.opacity ?? 1,
      marker: { color: open && !mark.cross ? css("--paper") : color, symbol: mark.cross ? "x-thin" : symbol(mark.color), size, line: { color, width: open ? 2 : 0 } },
      ...(mark.words ? { hovertemplate: "%{text}<extra></extra>" } : { hoverinfo: "skip" }),
    });
  },
  Bars(mark, { x, y, traces }) {
    const at = mark.at.flatMap((place) => [place, place, null]), ends = mark.at.flatMap((_, i) => [mark.low[i], mark.high[i], null]);
    traces.push({
      type: "scatter", mode: "lines", x: moved(x, mark.across ? ends : at), y: moved(y, mark.across ? at : ends), opacity: mark.opacity ?? 1,
      line: { color: paint(mark.color), width: mark.width * PX }, hoverinfo: "skip",
    });
  },
  Level(mark, { x, y, shapes, annotations }) {
    const ends = (axis) => { const [at] = moved(axis, [mark.at]); return [at, at]; };
    const [[x0, x1], [y0, y1]] = mark.upright ? [ends(x), [0, 1]] : [[0, 1], ends(y)];
    const line = { color: paint(mark.color), width: 1.2, dash: mark.dash === "solid" ? undefined : (mark.dash ?? "dash") };
    shapes.push({ type: "line", ...(mark.upright ? { yref: "paper" } : { xref: "paper" }), x0, x1, y0, y1, line });
    if (mark.label) annotations.push(noted(mark.label, 1, placed(y, mark.at), { xref: "paper", xanchor: "right", yanchor: "bottom" }));
  },
  Zone(mark, { x, y, shapes, annotations }) {
    const ends = moved(mark.upright ? x : y, [mark.low, mark.high]);
    const [[x0, x1], [y0, y1]] = mark.upright ? [ends, [0, 1]] : [[0, 1], ends];
    shapes.push({ type: "rect", ...(mark.upright ? { yref: "paper" } : { xref: "paper" }), x0, x1, y0, y1, fillcolor: css("--zone"), line: { width: 0 }, layer: "below" });
    if (mark.label) annotations.push(noted(mark.label, (x0 + x1) / 2, 1, { yref: "paper", yanchor: "top" }));
  },
  Note(mark, { x, y, annotations }) {
    const color = paint(mark.color), words = plain(mark.text);
    annotations.push({
      ...noted("", mark.x_share ? mark.x : placed(x, mark.x), mark.y_share ? mark.y : placed(y, mark.y)), text: mark.bold ? `<b>${words}</b>` : words,
      font: { size: 12.5, color }, xref: mark.x_share ? "paper" : "x", yref: mark.y_share ? "paper" : "y", yshift: (mark.raised ?? 0) * PX,
      xanchor: mark.align ?? "center", yanchor: mark.valign === "center" || !mark.valign ? "middle" : mark.valign,
    });
  },
  Grid(mark, { x, y, traces, chosen, wide }) {
    const z = cells(mark, chosen), named = (axis, i) => {
      const [, words] = axis.ticks?.[i] ?? [0, String(i)];
      return plain((axis.ticks ?? []).filter(([, other]) => other === words).length > 1 ? `${words} at ${i}` : words);
    };
    const value = (row, column) => mark.words?.[row]?.[column] ?? z[row][column].toFixed(3);
    const text = z.map((row, r) => row.map((number, c) => (number === null && !mark.words ? "" : `${plain(y.label || "row")}: ${named(y, r)}<br>${plain(x.label || "column")}: ${named(x, c)}<br>${plain(value(r, c))}`)));
    const { low = 0, high = 1 } = mark, bar = mark.diverging
      ? { thickness: 10, title: { text: plain(mark.title.replace(/\n/g, " ")), side: "right", font: { size: 12 } } }
      : { orientation: "h", thickness: 8, len: 0.6, y: -0.12, yanchor: "top", tickvals: [0, high / 2, high], ticktext: ["0", String(high / 2), `${high} or more`], title: { text: plain(mark.title), side: "top", font: { size: 11.5 } } };
    traces.push({
      type: "heatmap", z, text, customdata: mark.words, texttemplate: mark.words && wide > 46 * z[0].length ? "%{customdata}" : "", hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
      zmin: low, zmax: high, colorscale: shades(mark), xgap: 0.5, ygap: 0.5, colorbar: { outlinewidth: 0, ...bar },
    });
  },
};

function noted(text, x, y, more = {}) {
  return { x, y, text: plain(text), showarrow: false, font: { size: 11.5, color: css("--soft") }, ...more };
}

/** The numbers of a grid: its own, or those that the chosen options pick from the page's weights, or their means. */
function cells({ values, shape, at, by = [] }, chosen) {
  if (values) return values;
  const [rows, columns] = shape.slice(-2), { levels, blank } = page.palette;
  const starts = by.reduce((places, name, axis) => {
    const asked = chosen[name], options = asked === "mean" ? range(shape[axis]) : [Math.min(Number(asked), shape[axis] - 1)];
    return places.flatMap((place) => options.map((option) => place * shape[axis] + option));
  }, [0]).map((place) => at + place * rows * columns);
  return range(rows).map((row) => range(columns).map((column) => {
    const offset = row * columns + column;
    return weights[starts[0] + offset] === blank ? null : starts.reduce((sum, start) => sum + weights[start + offset], 0) / starts.length / levels;
  }));
}

/** What plotly draws of a panel. */
function drawing(panel, chosen, wide) {
  const into = { x: panel.x, y: panel.y, traces: [], shapes: [], annotations: [], chosen, wide };
  for (const mark of panel.marks) if (mark.color.role !== "variant" || !hidden.has(mark.color.index ?? 0)) MARKS[mark.kind](mark, into);
  return into;
}
