// The mask editor: tools, keys and fingers on one picture. mask_session.js knows what is drawn,
// mask_canvas.js shows it.
(function () {
  window.anomalyst = window.anomalyst || {};

  const KEYS = { a: "plus", s: "minus", x: "box", b: "brush", e: "eraser", h: "pan" };
  const COLOURS = { now: "255,214,10", defect: "255,82,99", part: "76,141,255" };
  const TOUCH_MARGIN_PX = 6; // a finger that moves less has tapped
  const STEP_PX = 12; // that an arrow key moves the crosshair by; with Shift: 1

  class MaskEditor {
    constructor(root, told) {
      Object.assign(this, { root, told, tool: "plus", touched: null });
      this.about = JSON.parse(root.dataset.about);
      this.dialog = root.querySelector("dialog");
      this.find = (name) => this.dialog.querySelector(`[data-part=${name}]`);
      this.stage = this.find("canvas");
      this.pointers = new Map();
      this.drag = this.pinch = this.cursor = null;
    }

    async open() {
      this.session = new anomalyst.MaskSession(this.about, () => this.show());
      this.canvas = new anomalyst.MaskCanvas(this.stage, this.about.wide, this.about.high);
      this.canvas.layers = [
        { bits: this.session.savedBits, colours: [] }, { bits: this.session.bits, colours: [null, COLOURS.now] },
      ];
      this.canvas.marks = (context) => this._marks(context);
      this.dialog.showModal();
      this._listen();
      this.canvas.resize();
      this.canvas.fit();
      this.choose("plus");
      this.show();
      this.stage.focus();
      this.say("Reading the picture ...");
      await this._try(async () => {
        const ahead = this.session.lookAhead(null);
        ahead.catch(() => {}); // told below, after the picture
        this.canvas.picture = await this.session.picture(null);
        this.canvas.draw();
        await Promise.all([this.session.load(), ahead]);
        this.say("Click on the thing.");
      });
    }

    close() {
      this.dialog.close();
    }

    _closed() {
      this.session.stop();
      this._stop.abort();
      this._watch.disconnect();
      if (this.touched) this.told(this.touched.kept ? this.touched.id : null);
      this.touched = null;
    }

    say(text, wrong = false) {
      const said = this.find("said");
      said.textContent = text;
      said.classList.toggle("an-wrong", wrong);
    }

    async _try(work) {
      this.busy = (this.busy || 0) + 1;
      this.dialog.classList.add("an-busy");
      try {
        await work();
      } catch (problem) {
        if (problem.name !== "AbortError") this.say(problem.message, true);
      }
      this.busy -= 1;
      this.dialog.classList.toggle("an-busy", this.busy > 0);
      this.show();
    }

    choose(tool) {
      this.tool = tool;
      this.dialog.querySelectorAll("[data-tool]").forEach((one) =>
        one.setAttribute("aria-pressed", one.dataset.tool === tool));
      this.find("brush").hidden = tool !== "brush" && tool !== "eraser";
      this.canvas.draw();
    }

    // All that the page says beside the picture.
    show() {
      const { session } = this;
      const { answer } = session.state;
      const area = session.bits.bounds ? session.bits.area() : 0;
      const enabled = (name, is) => (this.find(name).disabled = !is);
      enabled("undo", session.steps.length);
      enabled("redo", session.undone.length);
      enabled("clear", !session.empty);
      enabled("another", answer && answer.found.length > 1);
      enabled("defect", area);
      enabled("part", area);
      this.find("area").textContent = area ? `${area.toLocaleString("en")} px` : "nothing yet";
      const chosen = session.chosen;
      this.find("iou").textContent = chosen
        ? `mask ${answer.chosen + 1} of ${answer.found.length}, predicted IoU ${chosen.iou.toFixed(2)}` : "";
      this._showSaved();
      this.canvas.layers[0].colours = [null, ...session.saved.map(({ what }) => COLOURS[what])];
      this.canvas.draw();
    }

    _showSaved() {
      const list = this.find("saved"), { saved } = this.session;
      list.replaceChildren(...saved.map((one) => {
        const item = document.createElement("li"), words = document.createElement("span"), by = document.createElement("small");
        item.className = `an-${one.what}`;
        words.textContent = one.label ? `${one.what}: ${one.label}` : one.what;
        const when = new Date(one.created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
        const area = one.mask ? `${one.area_px.toLocaleString("en")} px` : "its file is gone";
        by.textContent = `${one.by}, ${when}, ${area}`;
        item.append(words, by);
        if (this.about.mayUndo) {
          const remove = document.createElement("button");
          Object.assign(remove, { type: "button", textContent: "remove" });
          remove.setAttribute("aria-label", `remove the mask ${words.textContent}`);
          remove.dataset.remove = one.id;
          item.append(remove);
        }
        return item;
      }));
      this.find("none").hidden = saved.length > 0;
    }

    // Points, the box, regions found, and the brush, over the masks.
    _marks(context) {
      const { canvas, session } = this, { points, box } = session.state;
      const outline = ([x0, y0, x1, y1], colour, dashes) => {
        const [left, top] = canvas.toScreen(x0, y0);
        context.setLineDash(dashes);
        context.lineWidth = 1.5;
        context.strokeStyle = colour;
        context.strokeRect(left, top, (x1 - x0) * canvas.scale, (y1 - y0) * canvas.scale);
        context.setLineDash([]);
        return [left, top];
      };
      context.font = "700 12px ui-monospace, monospace";
      this.about.regions.forEach((region, index) => {
        const [left, top] = outline(region.box_xyxy, "rgba(64,224,255,.75)", [3, 4]);
        context.fillStyle = "#111";
        context.fillRect(left - 1, top - 15, 15, 15);
        context.fillStyle = "#40e0ff";
        context.fillText(index + 1, left + 3, top - 4);
      });
      if (box) outline(box, "#fff", []);
      if (this.drag && this.drag.box) outline(this.drag.box, "#fff", [6, 4]);
      for (const { x, y, positive } of points) {
        const [left, top] = canvas.toScreen(x, y);
        context.beginPath();
        context.arc(left, top, 7, 0, 2 * Math.PI);
        context.fillStyle = positive ? "#12a150" : "#d3273a";
        context.fill();
        context.strokeStyle = "#fff";
        context.lineWidth = 2;
        context.stroke();
        context.beginPath();
        context.moveTo(left - 3.5, top);
        context.lineTo(left + 3.5, top);
        if (positive) {
          context.moveTo(left, top - 3.5);
          context.lineTo(left, top + 3.5);
        }
        context.stroke();
      }
      if (this.cursor) this._crosshair(context, this.cursor);
    }

    _crosshair(context, [x, y]) {
      const round = this.tool === "brush" || this.tool === "eraser";
      for (const [colour, width] of [["rgba(0,0,0,.7)", 3], ["#fff", 1.2]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        if (round) context.arc(x, y, this.radius, 0, 2 * Math.PI);
        else if (this.arrows || this.tool === "box") {
          for (const [dx, dy] of [[9, 0], [0, 9]]) {
            context.moveTo(x - dx, y - dy);
            context.lineTo(x + dx, y + dy);
          }
        }
        context.stroke();
      }
    }

    get radius() {
      return Number(this.find("radius").value);
    }

    // A click at a place of the window, for the thing or against it.
    async click(at, positive) {
      const [x, y] = this.canvas.toPicture(...at), { wide, high } = this.about;
      if (x < 0 || y < 0 || x > wide || y > high) return;
      const { state } = this.session;
      const place = { x: Math.round(10 * x) / 10, y: Math.round(10 * y) / 10, positive };
      this.session.state = { ...state, points: [...state.points, place] };
      await this._ask("click");
    }

    async _ask(tool) {
      const { session, canvas } = this;
      canvas.draw();
      const view = session.viewFor(canvas.visible(), canvas.scale / canvas.fitting);
      await this._try(async () => {
        if (await session.ask(tool, view)) {
          const { click_ms } = session.timing;
          this.say(`Found in ${Math.round(click_ms)} ms. Click again to add (A) or take away (S), or save.`);
        }
      });
    }

    async takeRegion(index) {
      const region = this.about.regions[index];
      if (!region) return;
      if (region.kind && !this.find("label").value) this.find("label").value = region.kind;
      if (region.mask) {
        this.session.take(region.mask);
        this.say(`Region ${index + 1} as it was found; correct it, or save.`);
        return;
      }
      this.session.state = { ...this.session.state, points: [], box: [...region.box_xyxy], painted: false };
      await this._ask("region");
    }

    async keep(what) {
      if (!this.session.bits.bounds) return this.say("Nothing is drawn yet.", true);
      await this._try(async () => {
        const kept = await this.session.keep(what, this.find("label").value.trim());
        this.touched = { id: kept.id, kept: true };
        this.say(`Kept as ${what}${kept.label ? ` "${kept.label}"` : ""}, ${kept.area_px.toLocaleString("en")} px.`);
      });
      this.stage.focus();
    }

    async remove(id) {
      await this._try(async () => {
        await this.session.remove(id);
        this.touched = { id, kept: false };
        this.say("Removed.");
      });
      this.stage.focus();
    }

    clear() {
      if (this.session.empty) return this.close();
      this.session.wipe();
      this.say("Cleared; Ctrl+Z brings it back, Escape again closes.");
    }

    // More of the picture's own pixels, once what is seen stays for a moment.
    _sharpen() {
      clearTimeout(this._later);
      this._later = setTimeout(() => this._try(async () => {
        const { canvas, session } = this, shown = canvas.picture;
        if (!shown || !this.dialog.open) return;
        const closer = canvas.scale * canvas.ratio > 1.1 * (shown.width / this.about.wide);
        if (!closer || shown.width >= this.about.wide) return;
        const box = canvas.visible(), at = canvas.detail && canvas.detail.box;
        if (at && box.every((edge, index) => (index < 2 ? edge >= at[index] : edge <= at[index])) &&
            (at[2] - at[0]) < 1.5 * (box[2] - box[0])) return;
        if (box[2] - box[0] < 16 || box[3] - box[1] < 16) return;
        canvas.detail = { image: await session.picture(box), box };
        canvas.draw();
        if (canvas.scale / canvas.fitting >= 2) await session.lookAhead(session.viewFor(box, canvas.scale / canvas.fitting));
      }), 250);
    }

    _listen() {
      this._stop = new AbortController();
      const on = (target, name, handler, options = {}) =>
        target.addEventListener(name, handler, { signal: this._stop.signal, ...options });
      for (const name of ["down", "move", "up", "cancel", "leave"]) on(this.stage, `pointer${name}`, (event) => this[`_${name}`](event));
      on(this.stage, "contextmenu", (event) => event.preventDefault());
      on(this.stage, "wheel", (event) => {
        event.preventDefault();
        this.canvas.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
        this._sharpen();
      }, { passive: false });
      on(this.dialog, "click", (event) => this._button(event));
      on(this.dialog, "input", (event) => {
        if (event.target.dataset.part === "opacity") this.canvas.opacity = Number(event.target.value);
        this.canvas.draw();
      });
      on(this.dialog, "keydown", (event) => this._key(event));
      on(this.dialog, "close", () => this._closed());
      this._watch = new ResizeObserver(() => this.canvas.resize());
      this._watch.observe(this.stage);
    }

    _at(event) {
      const frame = this.stage.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    }

    _down(event) {
      event.preventDefault();
      this.stage.focus();
      this.arrows = false;
      this.stage.setPointerCapture(event.pointerId);
      const at = this._at(event);
      this.pointers.set(event.pointerId, at);
      if (this.pointers.size === 2) {
        this._drop(); // a second finger: both zoom and pan, and what the first began is taken back
        this.pinch = [...this.pointers.values()];
        return;
      }
      if (this.pinch) return;
      const pans = this.tool === "pan" || event.button === 1 || this.space;
      const against = event.button === 2 || event.altKey || event.shiftKey;
      const tool = pans ? "pan" : this.tool;
      this.drag = { tool, from: at, last: at, moved: false, against };
      if (tool === "brush" || tool === "eraser") this._stroke(at);
    }

    _move(event) {
      const at = this._at(event);
      this.cursor = event.pointerType === "touch" && !this.pointers.size ? null : at;
      if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, at);
      if (this.pinch && this.pointers.size === 2) return this._pinched();
      const { drag } = this;
      if (drag) {
        drag.moved = drag.moved || Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > TOUCH_MARGIN_PX;
        if (drag.tool === "pan") this.canvas.pan(at[0] - drag.last[0], at[1] - drag.last[1]);
        if (drag.tool === "box") drag.box = this._box(drag.from, at);
        if (drag.tool === "brush" || drag.tool === "eraser") this._stroke(at);
        drag.last = at;
      }
      this.canvas.draw();
    }

    _up(event) {
      this.pointers.delete(event.pointerId);
      if (this.pinch) {
        if (!this.pointers.size) this.pinch = null;
        this._sharpen();
        return;
      }
      const { drag } = this;
      this.drag = null;
      if (!drag) return;
      if (drag.tool === "pan") this._sharpen();
      if (drag.tool === "brush" || drag.tool === "eraser") this.session.record(drag.tool);
      if (drag.tool === "plus" || drag.tool === "minus") {
        if (!drag.moved) this.click(drag.from, (drag.tool === "plus") !== drag.against);
      }
      if (drag.tool === "box" && drag.moved) {
        this.session.state = { ...this.session.state, box: drag.box };
        this._ask("box");
      }
      if (event.pointerType === "touch") this.cursor = null;
      this.canvas.draw();
    }

    _cancel(event) {
      this.pointers.delete(event.pointerId);
      if (!this.pointers.size) this.pinch = null;
      this._drop();
    }

    _leave() {
      if (!this.drag && !this.arrows) this.cursor = null;
      this.canvas.draw();
    }

    // What a finger began is not meant.
    _drop() {
      if (this.drag && (this.drag.tool === "brush" || this.drag.tool === "eraser")) this.session._restore();
      this.drag = null;
    }

    _pinched() {
      const [a, b] = [...this.pointers.values()], [c, d] = this.pinch;
      const far = ([p, q], [r, s]) => Math.hypot(p - r, q - s);
      const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      this.canvas.zoom(far(a, b) / Math.max(1, far(c, d)), ...middle);
      this.canvas.pan(middle[0] - (c[0] + d[0]) / 2, middle[1] - (c[1] + d[1]) / 2);
      this.pinch = [a, b];
    }

    _stroke(at) {
      const { canvas, session, drag } = this;
      const value = drag.tool === "brush" && !drag.against ? 1 : 0;
      session.stop();
      session.bits.stroke(canvas.toPicture(...drag.last), canvas.toPicture(...at), this.radius / canvas.scale, value);
      drag.last = at;
      canvas.draw();
    }

    _box(from, to) {
      const [ax, ay] = this.canvas.toPicture(...from), [bx, by] = this.canvas.toPicture(...to);
      const inside = (at, most) => Math.round(Math.min(most, Math.max(0, at)));
      const { wide, high } = this.about;
      return [
        inside(Math.min(ax, bx), wide), inside(Math.min(ay, by), high),
        inside(Math.max(ax, bx), wide), inside(Math.max(ay, by), high),
      ];
    }

    _button(event) {
      const button = event.target.closest("button");
      if (!button || button.disabled) return;
      const { tool, act, region, remove } = button.dataset;
      if (tool) this.choose(tool);
      if (region) this.takeRegion(Number(region));
      if (remove) this.remove(remove);
      if (act) this._act(act);
      if (tool || region || act) this.stage.focus();
    }

    _act(act) {
      const zoom = (factor) => {
        this.canvas.zoom(factor);
        this._sharpen();
      };
      const acts = {
        undo: () => this.session.undo(), redo: () => this.session.redo(), clear: () => this.session.wipe(),
        another: () => this.session.another(), closer: () => zoom(1.5), farther: () => zoom(1 / 1.5),
        fit: () => this.canvas.fit(), defect: () => this.keep("defect"), part: () => this.keep("part"),
        close: () => this.close(),
      };
      acts[act]();
    }

    // Keys work on the picture; while a label is typed only Enter and Escape do.
    _key(event) {
      event.stopPropagation(); // the page below has keys of its own
      const typed = event.target.matches("input:not([type=range])"), key = event.key.toLowerCase();
      const does = (work) => {
        event.preventDefault();
        work();
      };
      if (key === "escape") return does(() => (typed ? this.stage.focus() : this.clear()));
      if (key === "enter" && !event.target.closest("button")) return does(() => this.keep(event.shiftKey ? "part" : "defect"));
      if (typed) return;
      if (event.ctrlKey || event.metaKey) {
        if (key === "z") does(() => this._act(event.shiftKey ? "redo" : "undo"));
        if (key === "y") does(() => this._act("redo"));
        return;
      }
      const more = { n: "another", "+": "closer", "=": "closer", "-": "farther", 0: "fit" };
      if (KEYS[key]) return does(() => this.choose(KEYS[key]));
      if (more[key]) return does(() => this._act(more[key]));
      if (/^[1-9]$/.test(key)) return does(() => this.takeRegion(Number(key) - 1));
      if (key === "[" || key === "]") {
        return does(() => {
          this.find("radius").value = this.radius + (key === "]" ? 3 : -3);
          this.canvas.draw();
        });
      }
      if (event.target === this.stage) this._crosshairKey(event, does);
    }

    // Arrows move a crosshair, Space clicks there or paints a dot: no mouse is needed.
    _crosshairKey(event, does) {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const [wide, high] = this.canvas.size;
      const at = this.cursor || [wide / 2, high / 2];
      if (arrows[event.key]) {
        const step = event.shiftKey ? 1 : STEP_PX, [dx, dy] = arrows[event.key];
        const within = (one, most) => Math.min(most, Math.max(0, one));
        does(() => {
          this.arrows = true;
          this.cursor = [within(at[0] + dx * step, wide), within(at[1] + dy * step, high)];
          this.canvas.draw();
        });
      }
      if (event.key === " ") does(() => this._here(at));
    }

    _here(at) {
      if (this.tool === "plus" || this.tool === "minus") this.click(at, this.tool === "plus");
      if (this.tool === "brush" || this.tool === "eraser") {
        this.drag = { tool: this.tool, last: at };
        this._stroke(at);
        this.drag = null;
        this.session.record(this.tool);
      }
    }
  }

  // The button beside an inspection opens its editor; `told` hears of the last mask kept.
  anomalyst.attachMasks = (element, told) => {
    const root = element.querySelector(".an-masks[data-about]");
    if (!root) return;
    const editor = new MaskEditor(root, told);
    root.anomalystEditor = editor;
    root.querySelector("[data-masks-open]").addEventListener("click", () => editor.open());
  };
})();
