// Attention weights on the probe text: variants side by side, with pickers for run, step, layer and head.

const FULL = 0.5;  // weight of the strongest colour
const LIGHT = [[0, "#fcfdbf"], [0.2, "#fea973"], [0.45, "#e95562"], [0.7, "#872781"], [1, "#140e36"]];
const DARK = [[0, "#1b1430"], [0.25, "#5c187a"], [0.5, "#b73779"], [0.75, "#fc8961"], [1, "#fcfdbf"]];
const MEAN = "mean";
let weights;  // Uint8Array

/** One head's square of weights; `layer` and `head` may be MEAN. */
function square(group, at, layer, head, levels) {
  const { layers, heads, size } = group, past = (size * (size + 1)) / 2;
  const chosen = (asked, count) => (asked === MEAN ? range(count) : [Math.min(Number(asked), count - 1)]);
  const places = chosen(layer, layers).flatMap((l) => chosen(head, heads).map((h) => at + (l * heads + h) * past));
  return range(size).map((row) => range(size).map((column) => {
    if (column > row) return null;
    const offset = (row * (row + 1)) / 2 + column;
    return places.reduce((sum, place) => sum + weights[place + offset], 0) / places.length / levels;
  }));
}

/** The kept step nearest before the one asked for. */
function nearest(kept, step) {
  return kept.reduce((best, each) => (each.step <= step && each.step >= best.step ? each : best), kept[0]);
}

function options(id, entries, fallback) {
  const select = element(id), asked = select.value;
  select.replaceChildren(...entries.map(([value, words]) => make("option", { value }, words)));
  select.value = entries.some(([value]) => String(value) === asked) ? asked : String(fallback);
  return select.value;
}

/** Fill the pickers for a setting and read them. */
function heatChoice({ variants }) {
  const boxes = element("heat-variants");
  const shown = variants.map((group) => String(group.variant));
  if (boxes.dataset.shown !== shown.join()) {
    const old = new Map([...boxes.querySelectorAll("input")].map((box) => [box.value, box.checked]));
    boxes.querySelectorAll("label").forEach((label) => label.remove());
    shown.forEach((value, place) => {
      const box = make("input", { type: "checkbox", value, id: `heat-variant-${value}` });
      box.checked = old.get(value) ?? place < 3;
      box.addEventListener("change", () => redraw("heatmap"));
      boxes.append(make("label", { for: box.id }, box, page.variants[value].label));
    });
    boxes.dataset.shown = shown.join();
  }
  const checked = [...boxes.querySelectorAll("input:checked")].map((box) => Number(box.value));
  const first = [...new Set(variants.map((group) => group.seed))].join(" / ");
  const run = options("heat-seed", [["one", `seed ${first}`], ["mean", "mean over runs"]], "one");
  const steps = [...new Set(variants.flatMap((group) => group[run].map((each) => each.step)))].sort((a, b) => a - b);
  const step = Number(options("heat-step", steps.map((s) => [s, s.toLocaleString("en")]), steps.at(-1)));
  const most = (key) => Math.max(...variants.map((group) => group[key]));
  const layer = options("heat-layer", [...range(most("layers")).map((i) => [i, `layer ${i}`]), [MEAN, "mean of all"]], 0);
  const head = options("heat-head", [...range(most("heads")).map((i) => [i, `head ${i}`]), [MEAN, "mean of all"]], 0);
  return { checked, run, step, layer, head };
}

figure("heatmap", (setting) => setting.heatmaps, (setting, panels) => {
  const { variants, levels } = setting.heatmaps;
  const { checked, run, step, layer, head } = heatChoice(setting.heatmaps);
  const kept = [...new Set(variants.flatMap((group) => group.one.map((each) => each.step)))].sort((a, b) => a - b);
  element("heat-shown").textContent =
    `This page holds the weights of one run of each variant at steps ${kept.map((s) => s.toLocaleString("en")).join(", ")}, and the mean over all runs ` +
    `at the last step (heads are not matched between runs), each weight to 1/${levels}. Point at a square to read it; choose a head with the small maps, layers down and heads across.`;
  for (const group of variants.filter((each) => checked.includes(each.variant))) {
    const { step: at, at: place } = nearest(group[run], step);
    const z = square(group, place, layer, head, levels), characters = [...group.text].slice(0, group.size);
    const text = z.map((row, t) => row.map((weight, u) => (weight === null ? "" : `${plain(visible(characters[t]))} at ${t} looks at ${plain(visible(characters[u]))} at ${u}: ${weight.toFixed(3)}`)));
    const ticks = { tickvals: range(group.size), ticktext: characters.map((c) => plain(visible(c))), showgrid: false, tickfont: { family: "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace", size: group.size > 20 ? 10 : 12 }, tickangle: 0, constrain: "domain" };
    const who = run === "one" ? `seed ${group.seed}` : group.runs;
    const panel = panels.plot(`${page.variants[group.variant].label}, ${who}, step ${at.toLocaleString("en")}`, [{
      type: "heatmap", z, text, hovertemplate: "%{text}<extra></extra>", hoverongaps: false, zmin: 0, zmax: FULL, colorscale: dark() ? DARK : LIGHT, xgap: 0.5, ygap: 0.5,
      colorbar: { orientation: "h", thickness: 8, len: 0.6, y: -0.12, yanchor: "top", outlinewidth: 0, tickvals: [0, 0.25, FULL], ticktext: ["0", "0.25", `${FULL} or more`], title: { text: "attention weight", side: "top", font: { size: 11.5 } } },
    }], {
      kind: "square", hovermode: "closest", margin: { l: 30, r: 6, t: 6, b: 80 },
      xaxis: axis("character looked at", ticks), yaxis: axis("character that looks", { ...ticks, autorange: "reversed", scaleanchor: "x" }),
    });
    thumbnails(panel, group, place, layer, head, levels);
  }
});

/** Every head at a glance, layers down and heads across; each is a button that chooses it. */
function thumbnails(panel, group, at, layer, head, levels) {
  let host = panel.querySelector(".thumbs");
  if (!host || host.dataset.shape !== `${group.layers}x${group.heads}`) {
    host?.remove();
    host = make("div", { class: "thumbs", role: "group", "aria-label": `heads of ${page.variants[group.variant].label}`, "data-shape": `${group.layers}x${group.heads}` });
    host.style.gridTemplateColumns = `repeat(${group.heads}, 1fr)`;
    for (const l of range(group.layers)) {
      for (const h of range(group.heads)) {
        const words = `layer ${l}, head ${h}`;
        const button = make("button", { type: "button", title: words, "aria-label": words }, make("canvas", { width: group.size, height: group.size }));
        button.addEventListener("click", () => {
          element("heat-layer").value = l;
          element("heat-head").value = h;
          redraw("heatmap");
        });
        host.append(button);
      }
    }
    panel.append(host);
  }
  const scale = (dark() ? DARK : LIGHT).map(([place, color]) => [place, [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16))]);
  [...host.children].forEach((button, index) => {
    const l = Math.floor(index / group.heads), h = index % group.heads;
    button.setAttribute("aria-pressed", String((layer === MEAN || Number(layer) === l) && (head === MEAN || Number(head) === h)));
    const canvas = button.firstElementChild.getContext("2d"), image = canvas.createImageData(group.size, group.size);
    square(group, at, l, h, levels).forEach((row, t) => row.forEach((weight, u) => {
      if (weight !== null) image.data.set([...shade(scale, Math.min(1, weight / FULL)), 255], 4 * (t * group.size + u));
    }));
    canvas.putImageData(image, 0, 0);
  });
}

function shade(scale, value) {
  const above = Math.max(1, scale.findIndex(([place]) => place >= value));
  const [[from, a], [to, b]] = [scale[above - 1], scale[above]];
  return a.map((channel, i) => Math.round(channel + ((value - from) / (to - from)) * (b[i] - channel)));
}
