// Unpacks what the page carries, wires the controls, draws.

let shownSetting = 0;
let round = 0;  // of drawing; a newer one ends an older one

async function unpack(id) {
  const packed = Uint8Array.from(atob(element(id).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

const unpackText = async (id) => new TextDecoder().decode(await unpack(id));

function drawOne(host) {
  const name = host.dataset.figure, setting = page.settings[shownSetting], { has, draw } = FIGURES[name];
  const there = Boolean(has(setting));
  host.querySelector(".absent").hidden = there;
  host.querySelectorAll(".panels, .controls, .meaning, .layers, figcaption").forEach((part) => { part.hidden = !there; part.style.display = there ? "" : "none"; });
  const panels = new Panels(host.querySelector(".panels"));
  if (there) draw(setting, panels, shownSetting);
  panels.end();
  const caption = host.querySelector("figcaption");
  if (caption) say(caption, name === "sensitivity" ? page.sensitivity : setting.captions[name]);
}

function redraw(...names) {
  for (const name of names) drawOne(document.querySelector(`[data-figure="${name}"]`));
}

/** All figures from the top, with room between two of them for the reader to scroll. */
async function drawAll() {
  const mine = ++round;
  document.documentElement.dataset.drawn = "no";
  document.querySelectorAll("[data-setting]:not(input)").forEach((part) => { part.hidden = Number(part.dataset.setting) !== shownSetting; });
  for (const host of document.querySelectorAll("[data-figure]")) {
    drawOne(host);
    await new Promise((resolve) => setTimeout(resolve));
    if (mine !== round) return;
  }
  document.documentElement.dataset.drawn = "yes";
}

/** The chosen seed's texts, a column for each variant. */
figure("samples", (setting) => setting.samples, (setting, panels) => {
  const place = Number(options("sample-seed", page.seeds.map((seed, i) => [i, seed]), 0));
  page.variants.forEach((variant, v) => {
    const panel = panels.next(variant.label, "text");
    panel.querySelector(".plot").replaceChildren(make("pre", {}, setting.samples[v][place] || `(no text: ${setting.variants[v].states[place]})`));
  });
});

function drawLegend() {
  const shapes = {
    circle: '<circle r="5"/>', square: '<rect x="-4.6" y="-4.6" width="9.2" height="9.2"/>', "triangle-up": '<path d="M0-5.6 5.4 4.2-5.4 4.2Z"/>',
    diamond: '<path d="M0-6 6 0 0 6-6 0Z"/>', "triangle-down": '<path d="M0 5.6 5.4-4.2-5.4-4.2Z"/>', cross: '<path d="M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z"/>',
    x: '<path d="M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z" transform="rotate(45)"/>',
  };
  document.querySelectorAll("[data-variant]").forEach((svg) => {
    const index = Number(svg.dataset.variant);
    svg.innerHTML = shapes[page.variants[index].symbol];
    svg.setAttribute("fill", variantColor(index));
  });
}

function wire() {
  document.querySelectorAll('input[name="setting"]').forEach((radio) => radio.addEventListener("change", () => {
    shownSetting = Number(radio.value);
    drawAll();
  }));
  element("activation-step").addEventListener("input", (event) => {
    event.target.dataset.touched = "yes";
    redraw("activations");
  });
  element("measure").addEventListener("change", () => redraw("attention", "heads"));
  for (const id of ["heat-seed", "heat-step", "heat-layer", "heat-head"]) element(id).addEventListener("change", () => redraw("heatmap"));
  element("sample-seed").addEventListener("change", () => redraw("samples"));
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
  drawLegend();
  wire();
  document.documentElement.classList.add("drawn");
  const chosen = document.querySelector('input[name="setting"]:checked');  // a reloaded page may remember another
  shownSetting = chosen ? Number(chosen.value) : 0;
  await drawAll();
}

start();
