// Areas that count, drawn on the first good picture: points by click, touch or keys; moved, undone,
// closed, named, deleted. What is kept lies in pixels of that picture; Save hands it to the page.
(function () {
  const NEAR = 12; // screen pixels within which a point is taken hold of
  const COLOURS = { ignore: "#ffaa3c", roi: "#5adc78" };

  class Editor {
    constructor(root) {
      this.root = root;
      const data = JSON.parse(root.dataset.areas);
      this.words = JSON.parse(root.dataset.words);
      this.size = [data.width_px, data.height_px];
      this.areas = data.areas;
      this.open = null; // points of the polygon that is being drawn
      this.held = null; // [area, point] that is dragged or moved by keys; area -1: the open one
      this.cursor = [this.size[0] / 2, this.size[1] / 2];
      this.past = [];
      this.canvas = root.querySelector("canvas");
      this.picture = root.querySelector("img");
      this.list = root.querySelector(".an-areas-list");
      this.product = root.querySelector("[data-on-product]");
      this.product.checked = this.product.hasAttribute("checked"); // not that of a product before
      this.said = root.querySelector("[data-said]");
      this.listen();
      this.fit();
      this.watch = new ResizeObserver(() => this.fit());
      this.watch.observe(this.picture);
    }

    // The page is changed in place, so that what listens outlives the product it was made for.
    end() {
      this.stop.abort();
      this.watch.disconnect();
    }

    listen() {
      this.stop = new AbortController();
      const signal = this.stop.signal;
      const on = (name, act) => this.canvas.addEventListener(name, act, { signal });
      on("pointerdown", (e) => this.press(e));
      on("pointermove", (e) => this.drag(e));
      on("pointerup", () => { this.dragging = false; });
      on("dblclick", () => this.close());
      on("keydown", (e) => this.key(e));
      on("focus", () => this.draw());
      on("blur", () => this.draw());
      this.picture.addEventListener("load", () => this.fit(), { signal });
      const acts = { new: "begin", close: "close", undo: "undo", save: "save" };
      for (const [name, act] of Object.entries(acts))
        this.root.querySelector(`[data-act=${name}]`).addEventListener("click", () => this[act](), { signal });
      this.list.addEventListener("input", (e) => this.rename(e), { signal });
      this.list.addEventListener("click", (e) => {
        const row = e.target.closest("[data-delete]");
        if (row) this.remove(Number(row.dataset.delete));
      }, { signal });
    }

    fit() {
      const { clientWidth: wide, clientHeight: tall } = this.picture;
      if (!wide || !tall) return;
      const dense = window.devicePixelRatio || 1;
      this.canvas.width = wide * dense;
      this.canvas.height = tall * dense;
      this.scale = (wide * dense) / this.size[0];
      this.dense = dense;
      this.show();
    }

    at(event) {
      const box = this.canvas.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * this.size[0];
      const y = ((event.clientY - box.top) / box.height) * this.size[1];
      return this.within([x, y]);
    }

    within([x, y]) {
      const cut = (v, most) => Math.round(Math.min(most, Math.max(0, v)) * 10) / 10;
      return [cut(x, this.size[0]), cut(y, this.size[1])];
    }

    points(area) { return area < 0 ? this.open : this.areas[area].points_xy; }

    nearest(place) {
      let best = null, least = (NEAR * this.dense) / this.scale;
      const look = (points, area) => (points || []).forEach(([x, y], i) => {
        const far = Math.hypot(x - place[0], y - place[1]);
        if (far <= least) { least = far; best = [area, i]; }
      });
      this.areas.forEach((one, i) => look(one.points_xy, i));
      look(this.open, -1);
      return best;
    }

    press(event) {
      event.preventDefault();
      this.canvas.focus();
      this.canvas.setPointerCapture(event.pointerId);
      this.put(this.at(event), true);
    }

    // A point set down: on the first one it closes, on another it takes hold of that one.
    put(place, drags) {
      this.cursor = place;
      const near = this.nearest(place);
      if (near && near[0] === -1 && near[1] === 0 && this.open.length > 2) return this.close();
      this.keep();
      if (near) {
        this.held = near;
        this.dragging = drags;
      } else {
        this.open = [...(this.open || []), place];
        this.held = null;
      }
      this.show();
    }

    drag(event) {
      if (!this.dragging || !this.held) return;
      this.cursor = this.at(event);
      this.points(this.held[0])[this.held[1]] = this.cursor;
      this.draw();
    }

    key(event) {
      const step = event.shiftKey ? 10 : 1;
      const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      const undoes = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
      if (ways[event.key]) this.move(ways[event.key]);
      else if (undoes || event.key === "Backspace") this.undo();
      else if (event.ctrlKey || event.metaKey || event.altKey) return;
      else if (event.key === "Enter" || event.key === " ") this.put(this.cursor, false);
      else if (event.key === "c") this.close();
      else if (event.key === "n") this.begin();
      else if (event.key === "Escape") { this.keep(); this.open = null; this.held = null; this.show(); }
      else if (event.key === "Delete") this.drop();
      else return;
      event.preventDefault();
    }

    move([x, y]) {
      const held = this.held && this.points(this.held[0]);
      const from = held ? held[this.held[1]] : this.cursor;
      this.cursor = this.within([from[0] + x, from[1] + y]);
      if (held) { this.keep("move"); held[this.held[1]] = this.cursor; }
      this.draw();
    }

    // Delete: the point that is held, if enough are left; else its whole area.
    drop() {
      if (!this.held) return;
      const [area, point] = this.held, points = this.points(area);
      if (area >= 0 && points.length <= 3) return this.remove(area);
      this.keep();
      points.splice(point, 1);
      this.held = null;
      this.show();
    }

    begin() { this.keep(); this.open = []; this.held = null; this.canvas.focus(); this.show(); }

    close() {
      const points = (this.open || []).filter((p, i, all) => !i || p.join() !== all[i - 1].join());
      if (points.length < 3) return this.tell(this.words.three);
      this.keep();
      const taken = new Set(this.areas.map((one) => one.name));
      let number = this.areas.length + 1;
      while (taken.has(`${this.words.area} ${number}`)) number += 1;
      const use = this.root.querySelector("[data-use]").value;
      this.areas.push({ name: `${this.words.area} ${number}`, use, points_xy: points });
      this.open = null;
      this.held = null;
      this.show();
      const names = this.list.querySelectorAll("input");
      names[names.length - 1].select();
    }

    remove(area) { this.keep(); this.areas.splice(area, 1); this.held = null; this.show(); }

    rename(event) {
      const { area, what } = event.target.dataset;
      if (area === undefined) return;
      this.keep(`rename ${area}`);
      this.areas[Number(area)][what] = event.target.value;
      this.draw();
    }

    // What was, for undo; steps of one kind after each other are one.
    keep(kind) {
      if (kind && kind === this.kind) return;
      this.kind = kind;
      this.past.push(JSON.stringify([this.areas, this.open]));
      this.tell(this.words.unsaved);
    }

    undo() {
      if (!this.past.length) return;
      [this.areas, this.open] = JSON.parse(this.past.pop());
      this.held = this.kind = null;
      this.show();
    }

    save() {
      if (this.open && this.open.length) return this.tell(this.words.open);
      this.tell(this.words.saving);
      const detail = { areas: JSON.stringify(this.areas), on_product: this.product.checked };
      this.root.dispatchEvent(new CustomEvent("areas-save", { bubbles: true, detail }));
    }

    tell(text) { this.said.textContent = text; this.said.removeAttribute("lang"); }

    show() { this.draw(); this.rows(); }

    rows() {
      this.list.replaceChildren(...this.areas.map((one, i) => {
        const row = document.createElement("li");
        const name = Object.assign(document.createElement("input"), { value: one.name, maxLength: 40 });
        Object.assign(name.dataset, { area: i, what: "name" });
        name.setAttribute("aria-label", this.words.name);
        const use = document.createElement("select");
        for (const [value, text] of ["ignore", "roi"].map((one) => [one, this.words[one]]))
          use.append(new Option(text, value, false, one.use === value));
        Object.assign(use.dataset, { area: i, what: "use" });
        use.setAttribute("aria-label", this.words.use);
        const gone = Object.assign(document.createElement("button"), { type: "button", textContent: this.words.delete });
        gone.dataset.delete = i;
        const form = document.createElement("span");
        form.textContent = one.points_xy ? `${one.points_xy.length} ${this.words.points}` : this.words.mask;
        row.append(name, use, form, gone);
        return row;
      }));
    }

    draw() {
      const pen = this.canvas.getContext("2d");
      pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
      pen.lineWidth = 2 * this.dense;
      this.areas.forEach((one, i) => one.points_xy && this.outline(pen, one.points_xy, COLOURS[one.use], i, true, one.name));
      if (this.open) this.outline(pen, this.open, COLOURS[this.root.querySelector("[data-use]").value], -1, false);
      if (document.activeElement === this.canvas) this.cross(pen);
    }

    outline(pen, points, colour, area, closed, name) {
      const on = ([x, y]) => [x * this.scale, y * this.scale];
      pen.beginPath();
      points.forEach((p, i) => (i ? pen.lineTo(...on(p)) : pen.moveTo(...on(p))));
      if (closed) { pen.closePath(); pen.fillStyle = `${colour}38`; pen.fill(); }
      pen.strokeStyle = colour;
      pen.stroke();
      points.forEach((p, i) => {
        const held = this.held && this.held[0] === area && this.held[1] === i;
        pen.beginPath();
        pen.arc(...on(p), (held ? 7 : 5) * this.dense, 0, 7);
        pen.fillStyle = held ? "#fff" : colour;
        pen.fill();
        pen.strokeStyle = "#000";
        pen.stroke();
      });
      if (!name || !points.length) return;
      const [x, y] = on(points.reduce((low, p) => (p[1] < low[1] ? p : low)));
      pen.font = `${13 * this.dense}px system-ui`;
      pen.lineWidth = 4 * this.dense;
      const top = Math.max(16 * this.dense, y - 10 * this.dense);
      pen.strokeText(name, x, top);
      pen.fillStyle = colour;
      pen.fillText(name, x, top);
      pen.lineWidth = 2 * this.dense;
    }

    cross(pen) {
      const [x, y] = this.cursor.map((v) => v * this.scale), arm = 10 * this.dense;
      pen.strokeStyle = "#00e0ff";
      pen.beginPath();
      pen.moveTo(x - arm, y); pen.lineTo(x + arm, y); pen.moveTo(x, y - arm); pen.lineTo(x, y + arm);
      pen.stroke();
    }
  }

  window.anomalyst = window.anomalyst || {};
  window.anomalyst.attachAreas = (element) => {
    const root = element.querySelector(".an-areas:not([data-ready])");
    if (!root) return;
    root.dataset.ready = "yes";
    root.anomalystAreas?.end();
    root.anomalystAreas = new Editor(root);
  };
})();
