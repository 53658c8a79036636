// Unpacks what the page carries, wires its controls, and draws every figure at the reader's choices.

const choices = {};  // by figure and name of the choice, the chosen option
let shownSetting = "0";
let round = 0;  // of drawing; a newer one ends an older one

const element = (id) => document.getElementById(id);

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

/** The frame of the chosen options; of ordered ones the last that does not come after them, or else the first. */
function picked(pick, chosen, order) {
  const frames = pick.frames.filter(({ when }) => Object.entries(when).every(([name, option]) => name in order || chosen[name] === option));
  const before = frames.filter(({ when }) => Object.entries(when).every(([name, option]) => !(name in order) || order[name].indexOf(option) <= order[name].indexOf(chosen[name])));
  return before.at(-1) ?? frames[0];
}

/** The panels that the choices select, without any pick; see `shown` in gpt/report/figures/spec.py. */
function selected(figure, chosen) {
  const order = Object.fromEntries((figure.choices ?? []).filter((choice) => choice.ordered).map((choice) => [choice.name, choice.options.map(([value]) => value)]));
  return figure.panels.filter((panel) => !hidden.has(panel.variant) && Object.entries(panel.when).every(([name, option]) => (chosen[name] ?? option) === option)).map((panel) => {
    const frames = panel.marks.map((mark) => (mark.kind === "Pick" ? picked(mark, chosen, order) : { mark })).filter(Boolean);
    return { ...panel, title: [panel.title, ...frames.map((frame) => frame.words)].filter(Boolean).join(", "), marks: frames.map((frame) => ({ color: { role: "neutral" }, ...frame.mark })) };
  });
}

/** A figure's controls, made once for a setting; gives what is chosen. */
function chosenOf(host, name, figure) {
  const mine = (choices[name] ??= {}), controls = host.querySelector(".controls"), meaning = host.querySelector(".meaning");
  const shape = JSON.stringify(figure.choices ?? []);
  if (controls.dataset.shape !== shape) {
    controls.dataset.shape = shape;
    controls.replaceChildren(...(figure.choices ?? []).map((choice) => control(name, choice, mine)));
  }
  controls.hidden = !figure.choices;
  const chosen = { setting: shownSetting };
  const meanings = (figure.choices ?? []).map((choice) => {
    const at = (asked) => choice.options.findIndex(([value]) => value === asked), input = element(`${name}-${choice.name}`);
    const [value, words] = choice.options[at(mine[choice.name]) < 0 ? at(choice.default) : at(mine[choice.name])];
    chosen[choice.name] = value;
    input.value = choice.ordered ? at(value) : value;
    input.parentElement.hidden = choice.options.length < 2;
    if (choice.ordered) {
      input.setAttribute("aria-valuetext", words);
      input.previousElementSibling.textContent = words;
    }
    return choice.meanings?.[value];
  });
  meaning.textContent = meanings.filter(Boolean).join(" ");
  meaning.hidden = !meaning.textContent;
  return chosen;
}

function control(name, choice, mine) {
  const id = `${name}-${choice.name}`, last = choice.options.length - 1;
  const input = choice.ordered ? make("input", { type: "range", id, min: 0, max: last, value: last }) : make("select", { id }, ...choice.options.map(([value, words]) => make("option", { value }, words)));
  input.addEventListener(choice.ordered ? "input" : "change", () => {
    mine[choice.name] = choice.ordered ? choice.options[input.value][0] : input.value;
    redraw(name);
  });
  return make("label", { class: `pick ${choice.ordered ? "grow" : ""}`, for: id }, choice.name[0].toUpperCase() + choice.name.slice(1), ...(choice.ordered ? [make("output", { for: id })] : []), input);
}

/** A line of colors and words above the panels; the variants alone are in the bar. */
function legend(host, panels) {
  const shown = new Map(panels.flatMap((panel) => panel.marks).filter((mark) => mark.label && mark.kind !== "Level" && mark.kind !== "Zone").map((mark) => [mark.label, mark]));
  const depth = (mark) => (mark.color.role === "depth" ? mark.color.index ?? 0 : Infinity);
  const marks = [...shown.values()].sort((a, b) => depth(a) - depth(b) || 0), own = marks.some((mark) => mark.color.role !== "variant" || page.variants[mark.color.index ?? 0] !== mark.label);
  host.hidden = !own;
  host.replaceChildren(...(own ? marks : []).filter((mark) => mark.color.role !== "variant" || !hidden.has(mark.color.index ?? 0)).map((mark) => {
    const swatch = make("span", { class: "swatch" }), color = paint(mark.color);
    swatch.style.background = mark.dash || mark.filled === false ? `repeating-linear-gradient(90deg, ${color} 0 4px, transparent 4px 7px)` : color;
    return make("li", {}, swatch, mark.label);
  }));
}

/** Brings the panels of a host to so many. */
function places(host, panels) {
  while (host.children.length > panels.length) {
    Plotly.purge(host.lastElementChild.querySelector(".plot"));
    host.lastElementChild.remove();
  }
  while (host.children.length < panels.length) host.append(make("div", { class: "panel" }, make("h4"), make("div", { class: "plot", role: "img" }), make("div", { class: "thumbs", role: "group" })));
  return [...host.children];
}

function drawOne(host) {
  const name = host.dataset.figure, figures = page.figures[name] ?? {}, figure = figures.all ?? figures[shownSetting];
  const there = Boolean(figure?.panels), absent = host.querySelector(".absent");
  absent.hidden = there;
  host.hidden = !there && !figure?.error && !absent.dataset.words;
  absent.textContent = figure?.error ? `Left out by an error: ${figure.error}` : absent.dataset.words;
  host.querySelectorAll(".panels, .controls, .meaning, .layers, figcaption").forEach((part) => { part.hidden = !there; });
  if (!there) return;
  const chosen = chosenOf(host, name, figure), panels = selected(figure, chosen), hosts = host.querySelector(".panels");
  hosts.style.setProperty("--columns", figure.columns ?? Math.min(3, panels.length));
  legend(host.querySelector(".layers"), panels);
  say(host.querySelector("figcaption"), figure.caption);
  const made = places(hosts, panels);
  made.forEach((place, i) => {
    place.className = `panel ${panels[i].square ? "square" : ""}`;
    place.querySelector("h4").textContent = panels[i].title ?? "";
  });
  made.forEach((place, i) => {  // when all are there and have their widths
    const panel = panels[i], plot = place.querySelector(".plot"), wide = place.clientWidth;
    const { traces, shapes, annotations } = drawing(panel, chosen, wide);
    plot.setAttribute("aria-label", `${host.querySelector("h3").textContent}: ${panel.title ?? ""}`);
    Plotly.react(plot, traces, {
      height: panel.square ? wide + 70 : Math.round(115 * (figure.height ?? 2.6)), autosize: true, showlegend: false, hovermode: panel.closest ? "closest" : "x unified",
      margin: panel.square ? { l: 30, r: 6, t: 6, b: 80 } : { l: 50, r: 10, t: 20, b: 40 }, shapes, annotations, xaxis: axisOf(panel.x, "x", panel.square), yaxis: axisOf(panel.y, "y", panel.square),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: FONT, size: 12, color: css("--ink") },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { family: FONT, size: 12, color: css("--ink") } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    }, { displayModeBar: false, responsive: true });
    overview(place, name, panel, chosen);
  });
}

/** A small map of every option of the two choices behind a grid, each a button that chooses it. */
function overview(place, name, panel, chosen) {
  const host = place.querySelector(".thumbs"), grid = panel.marks.find((mark) => mark.by?.length === 2);
  host.hidden = !grid;
  if (!grid) return host.replaceChildren();
  const [down, across] = grid.by, [rows, columns, size] = grid.shape;
  if (host.dataset.shape !== String(grid.shape)) {
    host.dataset.shape = String(grid.shape);
    host.setAttribute("aria-label", `every ${down} and ${across} of ${panel.title}`);
    host.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    host.replaceChildren(...range(rows * columns).map((i) => {
      const row = Math.floor(i / columns), column = i % columns, words = `${down} ${row}, ${across} ${column}`;
      const button = make("button", { type: "button", title: words, "aria-label": words }, make("canvas", { width: size, height: size }));
      button.addEventListener("click", () => {
        Object.assign(choices[name], { [down]: String(row), [across]: String(column) });
        redraw(name);
      });
      return button;
    }));
  }
  [...host.children].forEach((button, i) => {
    const own = { [down]: String(Math.floor(i / columns)), [across]: String(i % columns) };
    button.setAttribute("aria-pressed", String([down, across].every((choice) => chosen[choice] === "mean" || chosen[choice] === own[choice])));
    const canvas = button.firstElementChild.getContext("2d"), image = canvas.createImageData(size, size);
    cells(grid, own).forEach((row, r) => row.forEach((value, c) => {
      if (value !== null) image.data.set([...blend(shades(grid), Math.min(1, value / grid.high)), 255], 4 * (r * size + c));
    }));
    canvas.putImageData(image, 0, 0);
  });
}

const redraw = (name) => drawOne(document.querySelector(`[data-figure="${name}"]`));

/** All figures from the top, with room between two of them for the reader to scroll. */
async function drawAll() {
  const mine = ++round;
  document.documentElement.dataset.drawn = "no";
  document.querySelectorAll("[data-setting]").forEach((part) => { part.hidden = part.dataset.setting !== shownSetting; });
  document.querySelectorAll("[data-sample]").forEach((part) => { part.hidden = part.dataset.sample !== `${shownSetting}-${element("sample-seed").value}`; });
  for (const host of document.querySelectorAll("[data-figure]")) {
    drawOne(host);
    await new Promise((resolve) => setTimeout(resolve));
    if (mine !== round) return;
  }
  document.documentElement.dataset.drawn = "yes";
}

/** The variants' symbols in the bar; each is a button that leaves the variant out of all figures. */
function drawLegend() {
  const shapes = {
    circle: '<circle r="5"/>', square: '<rect x="-4.6" y="-4.6" width="9.2" height="9.2"/>', "triangle-up": '<path d="M0-5.6 5.4 4.2-5.4 4.2Z"/>',
    diamond: '<path d="M0-6 6 0 0 6-6 0Z"/>', "triangle-down": '<path d="M0 5.6 5.4-4.2-5.4-4.2Z"/>', cross: '<path d="M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z"/>',
    x: '<path d="M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z" transform="rotate(45)"/>',
  };
  document.querySelectorAll("[data-variant]").forEach((button) => {
    const index = Number(button.dataset.variant), color = { role: "variant", index }, svg = button.querySelector("svg");
    svg.innerHTML = shapes[symbol(color)];
    svg.setAttribute("fill", paint(color));
    button.setAttribute("aria-pressed", String(!hidden.has(index)));
  });
}

function wire() {
  document.querySelectorAll('input[name="setting"]').forEach((radio) => radio.addEventListener("change", () => {
    shownSetting = radio.value;
    drawAll();
  }));
  document.querySelectorAll("[data-variant]").forEach((button) => button.addEventListener("click", () => {
    const index = Number(button.dataset.variant);
    if (!hidden.delete(index)) hidden.add(index);
    drawLegend();
    drawAll();
  }));
  element("sample-seed").addEventListener("change", drawAll);
  let width = innerWidth, waiting;
  addEventListener("resize", () => {
    if (innerWidth === width) return;  // the bars of a phone's browser come and go
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawLegend();
    drawAll();
  });
}

async function unpack(id) {
  const packed = Uint8Array.from(atob(element(id).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

const unpackText = async (id) => new TextDecoder().decode(await unpack(id));

async function start() {
  if (typeof DecompressionStream === "undefined") {
    element("trouble").textContent = "This browser cannot unpack the figures: it has no DecompressionStream (Chrome 80, Firefox 113 and Safari 16.4 have it). The text and the tables of this page are whole.";
    element("trouble").hidden = false;
    document.querySelectorAll("#figures, #bar").forEach((part) => { part.style.display = "none"; });
    return;
  }
  page = JSON.parse(await unpackText("packed-figures"));
  weights = new Uint8Array(await unpack("packed-weights"));
  document.head.append(make("script", {}, await unpackText("packed-plotly")));
  wire();
  drawLegend();
  document.documentElement.classList.add("drawn");
  shownSetting = document.querySelector('input[name="setting"]:checked')?.value ?? "0";  // a reloaded page may remember another
  await drawAll();
}

start();
