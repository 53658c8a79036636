// A study of seeds: initialisation seeds crossed with order seeds, the spread between runs taken apart.

const SOURCES = ["init", "order", "rest"];
const OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"];  // of sources, which are no variants
const SOURCE_SYMBOLS = ["circle", "square", "triangle-up", "diamond"];
const BLUE_RED = [[0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f7f7f7"], [0.75, "#f4a582"], [1, "#b2182b"]];

figure("components", (setting) => setting.components?.split, (setting, panels) => {
  const { split, words } = setting.components, places = page.study.places;
  const names = SOURCES.map((source) => words[source]);
  const shares = SOURCES.map((source) => split[source]).filter((part) => part.share !== null)
    .map((part) => ({ mean: 100 * part.share, low: 100 * part.share_low, high: 100 * part.share_high }));
  bars(panels, "Share of the variance between runs, %", names, shares, (value) => `${value.toFixed(0)} %`, [0, 104]);
  const spreads = [...SOURCES.map((source) => split[source].spread), split.run].map(({ sd, low, high }) => ({ mean: sd, low, high }));
  bars(panels, `Standard deviation, ${page.study.metric.unit}`, [...names, "one run"], spreads, (value) => value.toFixed(places));
});

/** Estimates and their intervals, one below the other, with their numbers. */
function bars(panels, title, names, parts, words, ends) {
  const traces = parts.flatMap((part, row) => [
    { type: "scatter", mode: "lines", x: [part.low, part.high], y: [row, row], line: { color: OKABE_ITO[row], width: 5 }, hoverinfo: "skip" },
    { type: "scatter", mode: "markers", x: [part.mean], y: [row], marker: { color: OKABE_ITO[row], symbol: SOURCE_SYMBOLS[row], size: 13, line: { color: css("--paper"), width: 1.5 } }, hovertemplate: `${plain(names[row])}: ${words(part.mean)}<extra></extra>` },
  ]);
  const annotations = parts.map((part, row) => note(0, row, `${names[row]}: ${words(part.mean)} [${words(part.low)}, ${words(part.high)}]`, { xref: "paper", xanchor: "left", yanchor: "bottom", yshift: 9, font: { size: 12.5, color: OKABE_ITO[row] } }));
  panels.plot(title, traces, {
    height: 60 + 68 * parts.length, hovermode: "closest", annotations, margin: { l: 12, r: 12, t: 14, b: 36 },
    xaxis: axis("", { range: ends ?? linearRange(parts.flatMap((part) => [part.low, part.high]), 0) }),
    yaxis: axis("", { showticklabels: false, range: [parts.length - 0.6, -0.75], showgrid: false }),
  });
}

figure("crossed", (setting) => setting.components?.finished, (setting, panels) => {
  const value = (v, i) => (setting.variants[v].states[i] === "done" ? setting.variants[v].values[i] : null);
  const z = page.seeds.map((_, i) => page.variants.map((_, v) => value(v, i)));
  const all = finite(z.flat()), mean = all.reduce((sum, each) => sum + each, 0) / (all.length || 1);
  const far = Math.max(...all.map((each) => Math.abs(each - mean))) || 1;
  const text = z.map((row, i) => row.map((each, v) => (each === null ? "" : each.toFixed(page.study.places))));
  const lost = z.flatMap((row, i) => row.map((each, v) => (each === null ? note(v, i, setting.variants[v].states[i], { color: css("--bad") }) : null))).filter(Boolean);
  const hover = text.map((row, i) => row.map((words, v) => `initialisation seed ${page.seeds[i]}, order seed ${plain(page.variants[v].label)}: ${words}`));
  const wide = innerWidth >= 900 && page.variants.length <= 12;
  panels.plot("", [{
    type: "heatmap", z, text, customdata: hover, texttemplate: wide ? "%{text}" : "", hovertemplate: "%{customdata}<extra></extra>", zmin: mean - far, zmax: mean + far,
    colorscale: BLUE_RED, xgap: 1, ygap: 1, colorbar: { thickness: 10, outlinewidth: 0, title: { text: plain(page.study.metric.title), side: "right", font: { size: 12 } } },
  }], {
    height: 110 + 34 * page.seeds.length, hovermode: "closest", annotations: lost,
    xaxis: axis("order seed", { tickvals: range(page.variants.length), ticktext: page.variants.map((v) => plain(v.label)), showgrid: false }),
    yaxis: axis("initialisation seed", { tickvals: range(page.seeds.length), ticktext: page.seeds, autorange: "reversed", showgrid: false }),
  });
});

figure("during", (setting) => setting.components?.during_training?.steps?.length, (setting, panels) => {
  const { during_training: curves, words } = setting.components;
  panels.legend(SOURCES.map((source, i) => [OKABE_ITO[i], words[source]]));
  const traces = SOURCES.map((source, i) => ({
    type: "scatter", mode: "lines+markers", x: curves.steps, y: curves[source], name: plain(words[source]), line: { color: OKABE_ITO[i], width: 2.2 },
    marker: { symbol: SOURCE_SYMBOLS[i], size: 6 }, hovertemplate: "%{y:.4~g}",
  }));
  panels.plot("", traces, { xaxis: axis("step"), yaxis: axis("standard deviation, nats per character", { rangemode: "tozero" }) });
});
