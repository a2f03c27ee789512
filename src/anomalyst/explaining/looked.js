// Three views of attention: the words of an answer, the patches of a picture, tokens among themselves.
(function () {
  "use strict";

  const make = (tag, values = {}, ...children) => {
    const one = document.createElement(tag);
    for (const [name, value] of Object.entries(values)) {
      if (name === "class") one.className = value;
      else if (name.startsWith("on")) one.addEventListener(name.slice(2), value);
      else one.setAttribute(name, value);
    }
    one.append(...children);
    return one;
  };
  const clear = (one, ...children) => (one.replaceChildren(...children), one);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const percent = (share) => (100 * share).toFixed(1) + " %";

  // Weights (layers, heads, queries, keys), each row as bytes of its largest value.
  class Weights {
    constructor(packed) {
      [this.layers, this.heads, this.queries, this.keys] = packed.shape;
      this.levels = bytes(packed.levels);
      this.tops = new Float32Array(bytes(packed.tops).buffer);
    }
    // A row; layer or head -1 is the mean over all.
    row(layer, head, query) {
      const sum = new Float32Array(this.keys);
      const layers = layer < 0 ? [...Array(this.layers).keys()] : [layer];
      const heads = head < 0 ? [...Array(this.heads).keys()] : [head];
      for (const l of layers) for (const h of heads) {
        const at = (l * this.heads + h) * this.queries + query;
        const scale = this.tops[at] / 255 / layers.length / heads.length;
        for (let k = 0; k < this.keys; k++) sum[k] += this.levels[at * this.keys + k] * scale;
      }
      return sum;
    }
    matrix(layer, head) {
      return Array.from({ length: this.queries }, (_, query) => this.row(layer, head, query));
    }
  }

  // Viridis by nine of its colours.
  const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const viridis = (value) => {
    const at = Math.min(0.9999, Math.max(0, value)) * (STOPS.length - 1), low = Math.floor(at);
    return STOPS[low].map((one, n) => Math.round(one + (STOPS[low + 1][n] - one) * (at - low)));
  };

  const chooser = (label, names, chosen, change) => {
    const list = make("select", { "aria-label": label, onchange: () => change(Number(list.value)) });
    names.forEach(([value, text]) => list.append(make("option", { value }, text)));
    list.value = chosen;
    return [make("label", {}, label + " ", list), list];
  };
  const numbered = (count, noun) => [[-1, `mean of all ${count}`],
    ...Array.from({ length: count }, (_, n) => [n, `${noun} ${n + 1}`])];

  // Heat on a picture: cells (rows x columns) as opacity, from 0 or, where numbers are written, the least.
  const stage = (uri, title) => {
    const canvas = make("canvas");
    const frame = make("div", { class: "stage" }, make("img", { src: uri, alt: title }), canvas);
    const figure = make("figure", {}, make("figcaption", {}, title), frame);
    const paint = (cells, rows, columns, { mark = -1, numbers = false } = {}) => {
      const scale = numbers ? 100 : 16, context = canvas.getContext("2d");
      const top = Math.max(...cells, 1e-9), low = numbers ? Math.min(...cells) : 0;
      const range = Math.max(top - low, top / 2); // what is nearly even stays faint
      canvas.width = columns * scale; canvas.height = rows * scale;
      const small = make("canvas", { width: columns, height: rows }), pixels = new ImageData(columns, rows);
      cells.forEach((value, n) => pixels.data.set([255, 106, 0, 170 * (value - low) / range], 4 * n));
      small.getContext("2d").putImageData(pixels, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
      if (numbers) {
        Object.assign(context, { font: "22px system-ui, sans-serif", textAlign: "center", textBaseline: "middle", lineWidth: 4, strokeStyle: "#000", fillStyle: "#fff" });
        cells.forEach((value, n) => ["strokeText", "fillText"].forEach((draw) =>
          context[draw](percent(value), (n % columns + 0.5) * scale, (Math.floor(n / columns) + 0.5) * scale)));
      }
      if (mark < 0) return;
      context.strokeStyle = "#40e0ff"; context.lineWidth = 3;
      context.strokeRect((mark % columns) * scale + 1, Math.floor(mark / columns) * scale + 1, scale - 2, scale - 2);
    };
    return { figure, frame, canvas, paint };
  };
  const bar = (name, share, top) => make("div", { class: "bar" }, make("span", {}, name),
    make("i", { style: `width:${Math.max(1, 90 * share / Math.max(top, 1e-9))}px` }), make("b", {}, percent(share)));

  const BY = {
    model: "The language model wrote this word",
    held: "The record allowed only this word; the model would have written",
    record: "The record's word, not the language model's",
  };

  function answerView(root, data) {
    const weights = new Weights(data.weights), first = data.kinds.length;
    let word = 0, layer = -1, head = -1;
    const buttons = data.words.map((one, n) => make("button", {
      class: `word ${one.by}`, type: "button", title: `${BY[one.by]}${one.instead ? " “" + one.instead + "”" : ""}`,
      onclick: () => { word = n; draw(); },
    }, one.text));
    const heat = stage(data.picture, "Map of what differs");
    const seen = stage(data.picture, "Picture");
    const found = stage(data.picture, "Regions shown");
    const bars = make("div"), told = make("p");
    const [layers] = chooser("Layer", numbered(weights.layers, "layer"), -1, (n) => { layer = n; draw(); });
    const [heads] = chooser("Head", numbered(weights.heads, "head"), -1, (n) => { head = n; draw(); });

    const shares = () => {
      const mine = data.belongs.flatMap((one, token) => (one === word ? [token] : []));
      const sum = { earlier: data.words.map(() => 0) };
      for (const token of mine) weights.row(layer, head, token).forEach((value, n) => {
        value /= mine.length;
        if (n < first) {
          const [kind, number] = data.kinds[n];
          (sum[kind] = sum[kind] || [])[number] = (sum[kind][number] || 0) + value;
        } else if (data.belongs[n - first] < word) sum.earlier[data.belongs[n - first]] += value;
        else sum.rest = [((sum.rest || [0])[0] || 0) + value];
      });
      return sum;
    };
    const total = (values) => (values || []).reduce((a, b) => a + (b || 0), 0);

    function draw() {
      const sum = shares(), one = data.words[word], top = Math.max(...sum.earlier, 1e-9);
      buttons.forEach((button, n) => {
        button.classList.toggle("chosen", n === word);
        button.style.background = n < word ? `rgba(255,106,0,${0.6 * sum.earlier[n] / top})` : "";
      });
      heat.paint(sum.heat, 3, 3, { numbers: true }); seen.paint(sum.picture, data.grid, data.grid, { numbers: true });
      drawRegions(sum.region || []);
      const facts = data.facts.map((text, n) => [text, (sum.fact || [])[n] || 0]);
      const groups = [["Map", total(sum.heat)], ["Regions shown", total(sum.region)],
        ["Picture", total(sum.picture) + total(sum.whole)], ["Record", total(sum.fact)],
        ["Earlier turns", total(sum.dialogue)], ["Question: " + data.question, total(sum.question)],
        ["Earlier words", total(sum.earlier)],
        ["Instruction, marks, learned tokens, its own beginning", total(sum.rest) + total(sum.learned)]];
      const most = Math.max(...groups.map((g) => g[1])), mostFact = Math.max(...facts.map((f) => f[1]));
      clear(told, `“${one.text}”: ${BY[one.by]}${one.instead ? ` “${one.instead}”` : ""}; by itself it gives it ${percent(one.chance)}. ${one.keenest}`);
      clear(bars, make("h3", {}, "Where it looked"), ...groups.map(([name, share]) => bar(name, share, most)),
        make("h3", {}, "The record, line by line"), ...facts.map(([name, share]) => bar(name, share, mostFact)));
    }
    function drawRegions(shown) {
      const canvas = found.canvas, [high, wide] = data.size_hw, top = Math.max(...shown.map((one) => one || 0), 1e-9);
      canvas.width = wide; canvas.height = high;
      const context = canvas.getContext("2d");
      data.boxes.forEach(([x0, y0, x1, y1], n) => {
        const share = (shown[n] || 0) / top;
        context.fillStyle = `rgba(255,106,0,${0.6 * share})`; context.fillRect(x0, y0, x1 - x0, y1 - y0);
        context.strokeStyle = "#40e0ff"; context.lineWidth = Math.max(1, wide / 200); context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      });
    }
    root.append(make("p", { class: "dim" }, data.note), make("div", { class: "words" }, ...buttons.flatMap((b) => [b, " "])),
      make("p", { class: "dim" }, "Touch a word. Orange words before it are where it looked back."), told,
      make("div", { class: "controls" }, layers, heads),
      make("div", { class: "two" }, make("div", { class: "stages" }, heat.figure, seen.figure, found.figure), bars));
    draw();
  }

  function patchView(root, data) {
    const weights = new Weights(data.weights), rolled = new Weights(data.rollout);
    const [rows, columns] = data.grid_hw, before = data.names.length;
    let layer = weights.layers - 1, head = -1, query = before ? 0 : before + Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    let mode = "one";
    const shown = stage(data.picture, ""), told = make("p", { class: "dim" }), all = make("div", { class: "stages" });
    const [layers] = chooser("Layer", numbered(weights.layers, "layer"), layer, (n) => { layer = n; draw(); });
    const [heads] = chooser("Head", numbered(weights.heads, "head"), -1, (n) => { head = n; draw(); });
    const modes = ["one", "rollout"].map((name) => make("button", {
      type: "button", onclick: () => { mode = name; draw(); } }, name === "one" ? "layer and head" : "rollout"));
    const tokens = data.names.map((name, n) => make("button", { type: "button", onclick: () => { query = n; draw(); } }, name));
    const cellsOf = (row) => row.slice(before, before + rows * columns);
    shown.canvas.style.cursor = "crosshair";
    shown.canvas.addEventListener("click", (event) => {
      const frame = shown.canvas.getBoundingClientRect();
      const column = Math.floor((event.clientX - frame.left) / frame.width * columns);
      const row = Math.floor((event.clientY - frame.top) / frame.height * rows);
      query = before + row * columns + column; draw();
    });
    function draw() {
      const row = mode === "rollout" ? rolled.row(0, 0, query) : weights.row(layer, head, query);
      const cells = cellsOf(row), sum = cells.reduce((a, b) => a + b, 0);
      shown.paint(cells, rows, columns, { mark: query - before });
      modes.forEach((button, n) => button.setAttribute("aria-pressed", (n === 1) === (mode === "rollout")));
      tokens.forEach((button, n) => button.setAttribute("aria-pressed", n === query));
      const who = query < before ? data.names[query] : `patch at row ${Math.floor((query - before) / columns) + 1}, column ${(query - before) % columns + 1}`;
      const best = cells.reduce((top, value, n) => (value > cells[top] ? n : top), 0);
      clear(told, `From the ${who}: ${percent(sum)} on patches, most (${percent(cells[best])}) on row ${Math.floor(best / columns) + 1}, column ${best % columns + 1}; even attention would be ${percent(1 / weights.keys)} each. The colour scale ends at the largest.`);
      if (mode === "rollout") return clear(all);
      clear(all, ...Array.from({ length: weights.heads }, (_, n) => {
        const small = stage(data.picture, `head ${n + 1}`);
        small.paint(cellsOf(weights.row(layer, n, query)), rows, columns);
        return small.figure;
      }));
    }
    root.append(make("div", { class: "controls" }, ...modes, layers, heads, ...tokens, make("span", { class: "dim" }, "or touch a patch")),
      make("div", { class: "two" }, make("div", {}, shown.figure, told), all));
    draw();
  }

  const MOST_NUMBERS = 6000; // of a matrix whose every number is written

  function tokenView(root, data) {
    const weights = new Weights(data.weights);
    let layer = 0, head = -1, lit = -1;
    const area = make("div"), lines = make("div"), overview = make("div", { class: "overview" });
    const [layers, layerList] = chooser("Layer", numbered(weights.layers, "layer"), 0, (n) => { layer = n; draw(); });
    const [heads, headList] = chooser("Head", numbered(weights.heads, "head"), -1, (n) => { head = n; draw(); });
    const small = [];
    for (let l = 0; l < weights.layers; l++) {
      const row = make("div", {}, make("span", {}, `layer ${l + 1}`));
      for (let h = 0; h < weights.heads; h++) {
        const canvas = make("canvas", { width: weights.keys, height: weights.queries, title: `layer ${l + 1}, head ${h + 1}`,
          onclick: () => { layer = l; head = h; layerList.value = l; headList.value = h; draw(); } });
        paint(canvas, weights.matrix(l, h));
        small.push([canvas, l, h]); row.append(canvas);
      }
      overview.append(row);
    }
    function paint(canvas, matrix) {
      const pixels = new ImageData(weights.keys, weights.queries);
      matrix.forEach((row, q) => row.forEach((value, k) => pixels.data.set([...viridis(value), 255], 4 * (q * weights.keys + k))));
      canvas.getContext("2d").putImageData(pixels, 0, 0);
    }
    function drawLines(matrix) {
      const step = 20, count = Math.max(weights.queries, weights.keys), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", `0 0 640 ${count * step + 10}`); svg.setAttribute("class", "lines");
      const add = (tag, values, text) => {
        const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
        Object.entries(values).forEach(([name, value]) => one.setAttribute(name, value));
        if (text !== undefined) one.textContent = text;
        svg.append(one); return one;
      };
      matrix.forEach((row, q) => { if (lit < 0 || lit === q) row.forEach((value, k) => {
        if (value > 0.02) add("line", { x1: 236, y1: q * step + 12, x2: 404, y2: k * step + 12, stroke: "rgb(255,106,0)", "stroke-width": 2, "stroke-opacity": value.toFixed(3) });
      }); });
      data.queries.forEach((name, q) => add("text", { x: 230, y: q * step + 16, "text-anchor": "end", "font-weight": q === lit ? 700 : 400 }, name)
        .addEventListener("click", () => { lit = lit === q ? -1 : q; draw(); }));
      data.keys.forEach((name, k) => add("text", { x: 410, y: k * step + 16 }, name));
      clear(lines, make("h3", {}, "Lines: left looks at right; touch a token on the left to see its own"), svg);
    }
    function drawMatrix(matrix) {
      if (weights.queries * weights.keys > MOST_NUMBERS) {
        const canvas = make("canvas", { class: "big", width: weights.keys, height: weights.queries }), said = make("p", { class: "dim" }, "Move over it to read numbers.");
        const scale = Math.max(1, Math.floor(900 / weights.keys));
        canvas.style.width = weights.keys * scale + "px"; paint(canvas, matrix);
        canvas.addEventListener("mousemove", (event) => {
          const frame = canvas.getBoundingClientRect();
          const k = Math.floor((event.clientX - frame.left) / frame.width * weights.keys), q = Math.floor((event.clientY - frame.top) / frame.height * weights.queries);
          if (matrix[q] && k >= 0 && k < weights.keys) clear(said, `“${data.queries[q]}” looks at “${data.keys[k]}”: ${matrix[q][k].toFixed(3)}`);
        });
        return clear(area, canvas, said);
      }
      const head = make("tr", {}, make("th"), ...data.keys.map((name) => make("th", {}, make("span", {}, name))));
      const body = matrix.map((row, q) => make("tr", {}, make("th", {}, data.queries[q]), ...[...row].map((value, k) => {
        const [red, green, blue] = viridis(value);
        return make("td", { style: `background:rgb(${red},${green},${blue});color:${value > 0.55 ? "#000" : "#fff"}`,
          title: `“${data.queries[q]}” looks at “${data.keys[k]}”: ${value.toFixed(4)}` }, value.toFixed(2));
      })));
      clear(area, make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...body)));
    }
    function draw() {
      const matrix = weights.matrix(layer, head);
      small.forEach(([canvas, l, h]) => canvas.classList.toggle("chosen", (layer < 0 || l === layer) && (head < 0 || h === head)));
      drawMatrix(matrix);
      if (Math.max(weights.queries, weights.keys) <= 120) drawLines(matrix);
    }
    root.append(make("div", { class: "controls" }, layers, heads), make("h3", {}, "Every layer and head; touch one"), overview,
      make("h3", {}, "Rows look at columns; each row sums to 1"), area, lines);
    draw();
  }

  const VIEWS = { answer: answerView, patches: patchView, tokens: tokenView };
  for (const root of document.querySelectorAll("[data-look]")) {
    const data = JSON.parse(root.querySelector("script").textContent);
    VIEWS[data.kind](root, data);
  }
})();
