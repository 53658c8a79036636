// Over training steps: loss, gradient norms, clipping.

figure("loss", (setting) => setting.loss, (setting, panels) => {
  const { val, train, differences, unigram } = setting.loss;
  for (const [title, groups] of [["validation loss", val], ["training loss", train]]) {
    const traces = groups.flatMap((group) => group.runs.flatMap((run) => runTraces(run, group.variant)));
    for (const group of groups) {
      if (group.mean) traces.push(...bandTraces(group.mean.x, group.mean, variantColor(group.variant), page.variants[group.variant].label));
    }
    panels.plot(title, traces, {
      ...level(unigram, "knows only frequencies"), xaxis: axis("step"),
      yaxis: axis("nats per character", { range: belowLevel(groups, unigram) }),
    });
  }
  if (!differences.length || setting.components) return;
  const traces = [], shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: variantColor(0), width: 1.5 } }];
  for (const each of differences) {
    const color = variantColor(each.variant), variant = page.variants[each.variant];
    traces.push(...each.seeds.map((seed) => thinLine(each.x, seed, color)), ...bandTraces(each.x, each, color, variant.label, { symbol: variant.symbol }));
  }
  if (page.study.metric.name.startsWith("val/loss.")) {
    const effect = page.study.smallest_effect;
    shapes.push({ type: "rect", xref: "paper", x0: 0, x1: 1, y0: -effect, y1: effect, fillcolor: css("--zone"), line: { width: 0 }, layer: "below" });
  }
  panels.plot(`validation loss minus ${page.variants[0].label}'s`, traces, { shapes, xaxis: axis("step"), yaxis: axis("nats per character") });
});

/** One run; a diverged one is dotted and ends in a cross. */
function runTraces(run, variant) {
  const color = variantColor(variant), traces = [thinLine(run.x, run.y, color, { dash: run.diverged ? "dot" : undefined })];
  if (run.diverged) {
    const last = run.y.findLastIndex((value) => value !== null);
    traces.push({
      type: "scatter", mode: "markers", x: [run.x[last]], y: [run.y[last]], marker: { color, symbol: "x-thin", size: 9, line: { color, width: 2 } },
      name: plain(page.variants[variant].label), hovertemplate: `seed ${run.seed} diverged`,
    });
  }
  return traces;
}

/** Ends of the axis a little above the level of a model without context, if the curves get below it. */
function belowLevel(groups, unigram) {
  const values = finite([unigram, ...groups.flatMap((group) => group.runs.flatMap((run) => run.y))]);
  const [bottom, top] = [Math.min(...values), Math.max(...values)];
  if (unigram - bottom <= 0.1 * (top - bottom)) return linearRange(values);
  return [bottom - 0.04 * (unigram - bottom), Math.min(top, unigram + 0.35 * (unigram - bottom))];
}

figure("gradients", (setting) => setting.gradients, (setting, panels) => layerPanels(setting.gradients, panels, "gradient norm"));

/** A panel for each variant with a line for each layer, all on one logarithmic scale. */
function layerPanels(groups, panels, title, more) {
  const names = layerNames(groups), color = (name) => depthColor(names.indexOf(name), names.length);
  const ends = logRange(groups.flatMap((group) => group.layers.flatMap((layer) => [...layer.low, ...layer.high])));
  panels.legend(names.map((name) => [color(name), name]));
  for (const group of groups) {
    const traces = group.layers.flatMap((layer) => bandTraces(layer.x, layer, color(layer.name), layer.name, more));
    panels.plot(`${page.variants[group.variant].label}, ${group.runs}`, traces, { xaxis: axis("step"), yaxis: logAxis(title, { range: ends }) });
  }
}

const layerNames = (groups) => longest(groups.map((group) => group.layers.map((layer) => layer.name)));

figure("quantiles", (setting) => setting.quantiles, (setting, panels) => {
  const names = layerNames(setting.quantiles);
  const count = setting.quantiles.length, traces = [];
  setting.quantiles.forEach((group, place) => {
    const color = variantColor(group.variant), variant = page.variants[group.variant];
    const dodge = (place - (count - 1) / 2) * Math.min(0.22, 0.7 / count);
    const x = group.layers.map((layer) => names.indexOf(layer.name) + dodge);
    const bar = (low, high, width) => ({
      type: "scatter", mode: "lines", x: x.flatMap((at) => [at, at, null]), y: group.layers.flatMap((l) => [l.quantiles[low], l.quantiles[high], null]),
      line: { color, width }, hoverinfo: "skip",
    });
    traces.push(bar(0, 4, 1.6), bar(1, 3, 7), {
      type: "scatter", mode: "markers", x, y: group.layers.map((l) => l.quantiles[2]), customdata: group.layers.map((l) => [l.name, ...l.quantiles]),
      marker: { color: css("--paper"), size: 8, symbol: variant.symbol, line: { color, width: 2 } },
      hovertemplate: `${plain(variant.label)}, %{customdata[0]}<br>5 %: %{customdata[1]:.3~g}, 25 %: %{customdata[2]:.3~g}<br>median: %{customdata[3]:.3~g}<br>75 %: %{customdata[4]:.3~g}, 95 %: %{customdata[5]:.3~g}<extra></extra>`,
    }, {
      type: "scatter", mode: "markers", x, y: group.layers.map((l) => l.first), marker: { color, symbol: "x-thin", size: 7, line: { color, width: 1.8 } },
      hovertemplate: `${plain(variant.label)}, first step: %{y:.3~g}<extra></extra>`,
    });
  });
  const ends = logRange(setting.quantiles.flatMap((group) => group.layers.flatMap((layer) => [...layer.quantiles, layer.first])));
  panels.plot("", traces, {
    height: 320, hovermode: "closest", xaxis: namedAxis(names, [-0.5, names.length - 0.5], { showgrid: false }),
    yaxis: logAxis("gradient norm of single steps", { range: ends }),
  });
});

figure("clipping", (setting) => setting.clipping, (setting, panels) => {
  for (const [title, key, ends] of [["steps whose gradient was scaled down, %", "share", [-4, 104]], ["mean factor of the gradient", "factor", [-0.03, 1.05]]]) {
    const traces = setting.clipping.flatMap((group) => {
      const variant = page.variants[group.variant];
      return bandTraces(group.x, group[key], variantColor(group.variant), variant.label, { symbol: variant.symbol });
    });
    panels.plot(title, traces, { xaxis: axis("step"), yaxis: axis("", { range: ends }) });
  }
});
