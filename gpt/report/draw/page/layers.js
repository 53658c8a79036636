// Inside the model, and how much of its context it uses.

const ACTIVATIONS = {
  residual_rms: ["root mean square of the residual stream", true],
  residual_max: ["largest value of the residual stream", true],
  residual_kurtosis: ["excess kurtosis of the residual stream", false],
  dead_share: ["share of dead feed-forward units, %", false],
};
const MEASURES = {
  attention_entropy: ["Entropy, nats", "How spread out attention is: low, a head looks at few characters; at the dashed level, evenly at all it may see."],
  attention_distance: ["Distance, characters", "How far back a head looks, weighted by attention."],
  attention_previous: ["Weight on the previous character", "Near 1, a head copies from the character before."],
  attention_first: ["Weight on the first character", "Near 1, a head rests on the window's first character: an attention sink."],
  attention_induction: ["Induction score", "On repeated random characters, the weight on what followed the earlier occurrence (Olsson et al. 2022): near 1, a head continues patterns that it has seen before."],
  attention_logit_max: ["Largest logit", "Largest absolute attention logit: growth without bound comes before attention that collapses on single characters."],
};

figure("activations", (setting) => setting.activations, (setting, panels) => {
  const slider = element("activation-step");
  const steps = longest(Object.values(setting.activations).flat().map((group) => group.steps));
  const asked = slider.dataset.touched ? Math.min(Number(slider.value), steps.length - 1) : steps.length - 1;
  slider.max = steps.length - 1;
  slider.value = asked;
  slider.setAttribute("aria-valuetext", `step ${steps[slider.value]}`);
  element("activation-at").textContent = steps[slider.value].toLocaleString("en");
  panels.legend([["repeating-linear-gradient(90deg, currentColor 0 4px, transparent 4px 7px)", "before training"], ["currentColor", `step ${steps[slider.value]}`]]);
  for (const [name, [title, sizes]] of Object.entries(ACTIVATIONS)) {
    const groups = setting.activations[name];
    if (!groups) continue;
    const share = name === "dead_share", scale = share ? 100 : 1;
    const scaled = (curve, at) => Object.fromEntries(["mean", "low", "high"].map((key) => [key, curve[key][at].map((v) => (v === null ? null : v * scale))]));
    const everything = groups.flatMap((group) => [...group.mean, ...group.low, ...group.high].flat()).map((v) => (v === null ? null : v * scale));
    const log = sizes && finite(everything).every((v) => v > 0);
    const depth = groups[0].mean[0].length;
    const names = share ? range(depth).map((i) => `layer ${i}`) : setting.depth.slice(0, depth);
    const traces = groups.flatMap((group) => {
      const variant = page.variants[group.variant], color = variantColor(group.variant);
      const at = Math.min(asked, group.steps.length - 1);
      const before = { ...thinLine(range(depth), scaled(group, 0).mean, color, { dash: "dash", opacity: 0.8 }) };
      return [before, ...bandTraces(range(depth), scaled(group, at), color, variant.label, { symbol: variant.symbol })];
    });
    panels.plot(title, traces, {
      height: 270,
      xaxis: namedAxis(names, [-0.3, depth - 0.7]),
      yaxis: log ? logAxis("", { range: logRange(everything) }) : axis("", { range: share ? [-3, Math.max(10, 1.1 * Math.max(...finite(everything)))] : linearRange(everything, 0) }),
    });
  }
});

figure("updates", (setting) => setting.updates, (setting, panels) => layerPanels(setting.updates, panels, "update / weight", { symbol: "circle" }));

/** The chosen measure of a setting, or the first that it has. */
function measured(setting) {
  const names = Object.keys(MEASURES).filter((name) => setting.attention[name]);
  const select = element("measure"), asked = select.value;
  select.replaceChildren(...names.map((name) => make("option", { value: name }, MEASURES[name][0])));
  select.value = names.includes(asked) ? asked : names[0];
  element("measure-meaning").textContent = MEASURES[select.value][1];
  return [select.value, setting.attention[select.value]];
}

figure("attention", (setting) => setting.attention, (setting, panels) => {
  const [name, groups] = measured(setting);
  const layers = groups[0].last[0].length;
  const ends = linearRange(groups.flatMap((group) => [...group.heads.flat(2), ...group.layers.low.flat(), ...group.layers.high.flat()]), 0);
  const even = name === "attention_entropy" ? page.study.even_entropy : null;
  if (even !== null && ends) ends[1] = Math.max(ends[1], 1.08 * even);
  panels.legend(range(layers).map((layer) => [depthColor(layer, layers), `layer ${layer}`]));
  for (const group of groups) {
    const traces = [];
    for (const layer of range(layers)) {
      const color = depthColor(layer, layers), pick = (key) => group.layers[key].map((row) => row[layer]);
      for (const head of range(group.heads[0][layer].length)) traces.push(thinLine(group.steps, group.heads.map((row) => row[layer][head]), color, { opacity: 0.6 }));
      traces.push(...bandTraces(group.steps, { mean: pick("mean"), low: pick("low"), high: pick("high") }, color, `layer ${layer}`, { width: 2.8 }));
    }
    const collapsed = name === "attention_entropy" ? setting.collapses.filter((each) => each.variant === group.variant) : [];
    if (collapsed.length) {
      traces.push({
        type: "scatter", mode: "markers", x: collapsed.map((c) => c.step), y: collapsed.map(() => 0), text: collapsed.map((c) => `seed ${c.seed}, layer ${c.layer}`),
        marker: { symbol: "x-thin", size: 10, line: { color: css("--bad"), width: 2.5 } }, name: "entropy collapse", hovertemplate: "%{text}",
      });
    }
    panels.plot(`${page.variants[group.variant].label}, ${group.runs}`, traces, {
      ...(even !== null ? level(even, "even attention") : {}), xaxis: axis("step"), yaxis: axis(MEASURES[name][0].toLowerCase(), { range: ends }),
    });
  }
});

figure("heads", (setting) => setting.attention, (setting, panels) => {
  const [name, groups] = measured(setting);
  const layers = groups[0].last[0].length, count = groups.length;
  const traces = groups.map((group, place) => {
    const variant = page.variants[group.variant], color = variantColor(group.variant), points = { x: [], y: [], text: [] };
    const dodge = (place - (count - 1) / 2) * Math.min(0.3, 0.8 / count);
    group.last.forEach((run, r) => run.forEach((heads, layer) => heads.forEach((value, head) => {
      if (value === null) return;
      const jitter = ((r * heads.length + head) * 0.618) % 1;  // golden ratio: even, and the same every time
      points.x.push(layer + dodge + (jitter - 0.5) * Math.min(0.2, 0.55 / count));
      points.y.push(value);
      points.text.push(`${plain(variant.label)}, layer ${layer}, head ${head}`);
    })));
    return { type: "scatter", mode: "markers", ...points, marker: { color, symbol: variant.symbol, size: 6, opacity: 0.55 }, hovertemplate: "%{text}: %{y:.3~g}<extra></extra>" };
  });
  panels.plot(`${MEASURES[name][0]}, at the last probed step`, traces, {
    height: 300, hovermode: "closest", ...(name === "attention_entropy" ? level(page.study.even_entropy, "even attention") : {}),
    xaxis: namedAxis(range(layers).map((l) => `layer ${l}`), [-0.5, layers - 0.5], { showgrid: false }),
    yaxis: axis(MEASURES[name][0].toLowerCase(), { rangemode: "tozero" }),
  });
});

const used = (setting) => setting.long_range;
const byVariant = (setting, x, key) => setting.long_range.flatMap((group) => {
  const variant = page.variants[group.variant], at = x(group);
  return bandTraces(at, group[key], variantColor(group.variant), variant.label, at.length < 20 ? { symbol: variant.symbol } : {});
});

figure("positions", used, (setting, panels) => {
  const context = page.study.context, last = Math.max(...setting.long_range.map((group) => group.beyond));
  const beyond = last > context ? [{ type: "rect", yref: "paper", y0: 0, y1: 1, x0: context + 0.5, x1: last + 0.5, fillcolor: css("--zone"), line: { width: 0 }, layer: "below" }] : [];
  panels.plot("", byVariant(setting, (group) => group.positions.x, "positions"), {
    shapes: beyond, annotations: beyond.length ? [note((context + last) / 2, 1, "never trained", { yref: "paper", yanchor: "top" })] : [],
    xaxis: axis("position in the window"), yaxis: axis("loss, nats per character"),
  });
});

figure("context", used, (setting, panels) => {
  const lengths = longest(setting.long_range.map((group) => group.lengths));
  panels.plot("", byVariant(setting, (group) => group.lengths, "context"), {
    xaxis: axis("characters the model sees", { type: "log", tickvals: lengths, ticktext: lengths }), yaxis: axis("loss, nats per character"),
  });
});

figure("dependency", used, (setting, panels) => {
  const shapes = setting.long_range.filter((group) => group.half !== null).map((group) => ({
    type: "line", yref: "paper", y0: 0, y1: 1, x0: group.half, x1: group.half, line: { color: variantColor(group.variant), width: 1.6, dash: "dot" },
  }));
  panels.plot("", byVariant(setting, (group) => range(group.dependency.mean.length).map((i) => i + 1), "dependency"), {
    shapes, xaxis: axis("characters back, 1 the last one", { type: "log", tickvals: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000], ticktext: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000] }),
    yaxis: logAxis("share of the gradient", { words: (value) => `${Number((100 * value).toPrecision(1))} %`, range: logRange(setting.long_range.flatMap((group) => group.dependency.mean)) }),
  });
});
