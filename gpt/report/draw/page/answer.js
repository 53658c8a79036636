// The primary metric: setting by setting, and seed by seed.

const metricTitle = () => `${page.study.metric.title}, ${page.study.metric.unit}`;
const survived = (variant) => range(page.seeds.length).filter((i) => variant.states[i] === "done");

figure("sensitivity", () => page.settings.length > 1, (_, panels, shown) => {
  const { title, values, log } = page.axis;
  const at = log === null ? range(values.length) : log ? values.map(Math.log10) : values;
  const gap = Math.min(...at.map((x, i) => Math.min(...at.filter((_, j) => j !== i).map((other) => Math.abs(other - x)))));
  const all = page.settings.flatMap((setting) => setting.variants.flatMap((v) => survived(v).map((i) => v.values[i])));
  const ends = linearRange(all) ?? [0, 1];
  const strip = ends[1] + 0.07 * (ends[1] - ends[0]);
  const traces = [], annotations = [];
  let lost = false;
  page.variants.forEach((variant, v) => {
    const color = variantColor(v);
    const dodge = (v - (page.variants.length - 1) / 2) * Math.min(0.16, 0.5 / page.variants.length) * gap;
    const points = { x: [], y: [], text: [] }, crosses = { x: [], y: [], text: [] }, means = { x: [], y: [], up: [], down: [] };
    page.settings.forEach((setting, b) => {
      const runs = setting.variants[v], x = at[b] + dodge;
      survived(runs).forEach((i, place, those) => {
        points.x.push(x + 0.035 * gap * (those.length > 1 ? (2 * place) / (those.length - 1) - 1 : 0));
        points.y.push(runs.values[i]);
        points.text.push(`seed ${page.seeds[i]}`);
      });
      const diverged = range(page.seeds.length).filter((i) => runs.diverged[i]);
      if (diverged.length) {
        lost = true;
        crosses.x.push(x);
        crosses.y.push(strip);
        crosses.text.push(`${diverged.length} of ${page.seeds.length} diverged: seed ${diverged.map((i) => page.seeds[i]).join(", ")}`);
        annotations.push(note(x, strip, `${diverged.length}/${page.seeds.length}`, { yshift: 15, color, font: { size: 11.5, color } }));
      }
      if (runs.mean.n) {
        means.x.push(x);
        means.y.push(runs.mean.mean);
        means.up.push(runs.mean.high === null ? 0 : runs.mean.high - runs.mean.mean);
        means.down.push(runs.mean.low === null ? 0 : runs.mean.mean - runs.mean.low);
      }
    });
    traces.push(
      { type: "scatter", mode: "markers", ...points, marker: { color, symbol: variant.symbol, size: 6, opacity: 0.4 }, hovertemplate: `${plain(variant.label)}, %{text}: %{y:.${page.study.places}f}<extra></extra>` },
      { type: "scatter", mode: "lines+markers", x: means.x, y: means.y, name: plain(variant.label), line: { color, width: 2 }, marker: { color, symbol: variant.symbol, size: 10, line: { color: css("--paper"), width: 1 } }, error_y: { type: "data", array: means.up, arrayminus: means.down, symmetric: false, color, thickness: 2, width: 4 }, hovertemplate: `${plain(variant.label)}, mean: %{y:.${page.study.places}f}<extra></extra>` },
      { type: "scatter", mode: "markers", ...crosses, marker: { color, symbol: "x-thin", size: 9, line: { color, width: 2.5 } }, hovertemplate: `${plain(variant.label)}, %{text}<extra></extra>` },
    );
  });
  if (lost) annotations.push(note(0, strip, "diverged", { xref: "paper", xanchor: "left" }));
  panels.plot("", traces, {
    height: 380, hovermode: "closest", annotations,
    shapes: [{ type: "rect", yref: "paper", y0: 0, y1: 1, x0: at[shown] - 0.4 * gap, x1: at[shown] + 0.4 * gap, fillcolor: css("--zone"), line: { width: 0 }, layer: "below" }],
    xaxis: axis(title, { tickvals: at, ticktext: values.map(plain), range: [Math.min(...at) - 0.55 * gap, Math.max(...at) + 0.55 * gap], showgrid: false }),
    yaxis: axis(metricTitle(), { range: [ends[0], lost ? strip + 0.13 * (ends[1] - ends[0]) : ends[1]] }),
  });
});

figure("paired", (setting) => setting.variants.some((v) => v.states.some((s) => s === "done" || s === "diverged")), (setting, panels) => {
  slopes(setting, panels);
  if (setting.contrasts.length) differences(setting, panels);
});

/** A grey line for each seed from variant to variant, points in the variants' colours, means as bars. */
function slopes(setting, panels) {
  const count = page.variants.length, traces = [], annotations = [], shapes = [];
  const value = (v, i) => (setting.variants[v].states[i] === "done" ? setting.variants[v].values[i] : null);
  page.seeds.forEach((_, i) => traces.push({
    ...thinLine(range(count), range(count).map((v) => value(v, i)), css("--soft"), { opacity: 0.55 }),
  }));
  page.variants.forEach((variant, v) => {
    const runs = setting.variants[v], color = variantColor(v), those = survived(runs);
    traces.push({
      type: "scatter", mode: "markers", x: those.map(() => v), y: those.map((i) => runs.values[i]), text: those.map((i) => `seed ${page.seeds[i]}`),
      marker: { color, symbol: variant.symbol, size: 8 }, hovertemplate: `${plain(variant.label)}, %{text}: %{y:.${page.study.places}f}<extra></extra>`,
    });
    if (those.length) {
      const side = v === 0 && count === 2 ? -1 : 1, mean = runs.mean.mean;
      shapes.push({ type: "line", x0: v, x1: v + 0.2 * side, y0: mean, y1: mean, line: { color, width: 3 } });
      annotations.push(note(v + 0.23 * side, mean, mean.toFixed(page.study.places), { xanchor: side < 0 ? "right" : "left", font: { size: 13, color } }));
    }
    const lost = runs.diverged.filter(Boolean).length;
    if (lost) annotations.push(note(v, 1, `${lost} of ${page.seeds.length} diverged`, { yref: "paper", yanchor: "top", font: { size: 12.5, color, weight: 700 } }));
  });
  panels.plot("Every seed, and the means", traces, {
    height: 340, hovermode: "closest", annotations, shapes,
    xaxis: axis("", { tickvals: range(count), ticktext: page.variants.map((v) => plain(v.label)), range: [-0.75, count - 0.25], showgrid: false }),
    yaxis: axis(metricTitle()),
  });
}

/** For each contrast its differences, their mean and interval, and the zone that is too small to matter. */
function differences(setting, panels) {
  const effect = page.study.smallest_effect, traces = [], annotations = [];
  const first = setting.contrasts[0].a;
  setting.contrasts.forEach((contrast, row) => {
    const color = variantColor(contrast.variant), symbol = page.variants[contrast.variant].symbol;
    const those = range(contrast.differences.length).filter((i) => contrast.differences[i] !== null);
    traces.push({
      type: "scatter", mode: "markers", x: those.map((i) => contrast.differences[i]), y: those.map((_, k) => row + 0.14 + 0.16 * (those.length > 1 ? k / (those.length - 1) : 0)),
      text: those.map((i) => `seed ${contrast.seeds[i]}`), marker: { color, symbol, size: 7, opacity: 0.6 }, hovertemplate: `%{text}: %{x:+.${page.study.places}f}<extra></extra>`,
    });
    if (contrast.low !== null) traces.push({ type: "scatter", mode: "lines", x: [contrast.low, contrast.high], y: [row, row], line: { color, width: 4 }, hoverinfo: "skip" });
    if (contrast.size) {
      traces.push({ type: "scatter", mode: "markers", x: [contrast.mean], y: [row], marker: { color, symbol, size: 13, line: { color: css("--paper"), width: 1.5 } }, name: plain(contrast.b), hovertemplate: `mean: ${plain(contrast.size)}<extra></extra>` });
    }
    const nothing = contrast.among_survivors ? "no seed survived in both" : "no seed has finished in both";
    const alone = contrast.among_survivors && contrast.size ? "<br>among survivors alone" : "";
    const said = { ...note(0.5, row, ""), xref: "paper", yanchor: "bottom", yshift: 10, font: { size: 12.5, color } };
    annotations.push({ ...said, text: `<b>${plain(contrast.b)}: ${plain(contrast.verdict)}</b><br>${plain(contrast.size || nothing)}${alone}` });
  });
  const reach = finite(setting.contrasts.flatMap((c) => [...c.differences, c.low, c.high, 0, effect, -effect]));
  const better = page.study.metric.lower_is_better;
  if (better !== null) {
    annotations.push(note(0, 1, better ? "← better" : "← worse", { xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom" }));
    annotations.push(note(1, 1, better ? "worse →" : "better →", { xref: "paper", yref: "paper", xanchor: "right", yanchor: "bottom" }));
  }
  panels.plot(`Difference from ${first}`, traces, {
    height: Math.max(340, 120 + 120 * setting.contrasts.length), hovermode: "closest", annotations, margin: { l: 20, r: 10, t: 24, b: 40 },
    shapes: [
      { type: "rect", yref: "paper", y0: 0, y1: 1, x0: -effect, x1: effect, fillcolor: css("--zone"), line: { width: 0 }, layer: "below" },
      { type: "line", yref: "paper", y0: 0, y1: 1, x0: 0, x1: 0, line: { color: css("--soft"), width: 1.2 } },
    ],
    xaxis: axis(`difference from ${first}, ${page.study.metric.unit}`, { range: linearRange(reach) }),
    yaxis: axis("", { tickvals: range(setting.contrasts.length), ticktext: setting.contrasts.map((c) => plain(c.b)), range: [setting.contrasts.length - 0.55, -0.68], showgrid: false }),
  });
}
