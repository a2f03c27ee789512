// The mask editor: tools, keys and fingers on one picture. session.js knows what is drawn,
// canvas.js shows it.
(function () {
  window.anomalyst = window.anomalyst || {};

  const KEYS = { a: "plus", s: "minus", x: "box", b: "brush", e: "eraser", h: "pan" };
  const COLOURS = { now: "255,214,10", defect: "255,82,99", part: "76,141,255" };

  class MaskEditor {
    constructor(root, told) {
      Object.assign(this, { root, told, tool: "plus", touched: null });
      this.about = JSON.parse(root.dataset.about);
      // Words of the page, with what stands in braces in their places.
      this.words = (key, given = {}) => this.about.words[key].replace(/\{(\w+)\}/g, (_, name) => given[name]);
      this.dialog = root.querySelector("dialog");
      this.find = (name) => this.dialog.querySelector(`[data-part=${name}]`);
      this.stage = this.find("canvas");
      this.pointer = new anomalyst.MaskPointer(this);
    }

    async open() {
      this.session = new anomalyst.MaskSession(this.about, () => this.show());
      this.canvas = new anomalyst.MaskCanvas(this.stage, this.about.wide, this.about.high);
      this.canvas.layers = [
        { bits: this.session.savedBits, colours: [] }, { bits: this.session.bits, colours: [null, COLOURS.now] },
      ];
      this.canvas.marks = (context) => anomalyst.drawMarks(context, this);
      this.dialog.showModal();
      this._listen();
      this.canvas.resize();
      this.canvas.fit();
      this.choose("plus");
      this.show();
      this.stage.focus();
      this.say(this.words("reading"));
      await this._try(async () => {
        const ahead = this.session.lookAhead(null);
        ahead.catch(() => {}); // told below, after the picture
        this.canvas.picture = await this.session.picture(null);
        this.canvas.draw();
        await Promise.all([this.session.load(), ahead]);
        this.say(this.words("click"));
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
      this.find("area").textContent = area ? `${area.toLocaleString("en")} px` : this.words("nothing");
      const chosen = session.chosen;
      this.find("iou").textContent = chosen
        ? this.words("iou", { number: answer.chosen + 1, count: answer.found.length, iou: chosen.iou.toFixed(2) }) : "";
      this._showSaved();
      this.canvas.layers[0].colours = [null, ...session.saved.map(({ what }) => COLOURS[what])];
      this.canvas.draw();
    }

    _showSaved() {
      const list = this.find("saved"), { saved } = this.session;
      list.replaceChildren(...saved.map((one) => {
        const item = document.createElement("li"), words = document.createElement("span"), by = document.createElement("small");
        item.className = `an-${one.what}`;
        words.textContent = one.label ? `${this.words(one.what)}: ${one.label}` : this.words(one.what);
        const when = new Date(one.created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
        const area = one.mask ? `${one.area_px.toLocaleString("en")} px` : this.words("gone");
        by.textContent = `${one.by}, ${when}, ${area}`;
        item.append(words, by);
        if (this.about.mayUndo) {
          const remove = document.createElement("button");
          Object.assign(remove, { type: "button", textContent: this.words("remove") });
          remove.setAttribute("aria-label", `${this.words("remove")}: ${words.textContent}`);
          remove.dataset.remove = one.id;
          item.append(remove);
        }
        return item;
      }));
      this.find("none").hidden = saved.length > 0;
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
      await this.ask("click");
    }

    async ask(tool) {
      const { session, canvas } = this;
      canvas.draw();
      const view = session.viewFor(canvas.visible(), canvas.scale / canvas.fitting);
      await this._try(async () => {
        if (await session.ask(tool, view)) {
          const { click_ms } = session.timing;
          this.say(this.words("found", { ms: Math.round(click_ms) }));
        }
      });
    }

    async takeRegion(index) {
      const region = this.about.regions[index];
      if (!region) return;
      if (region.kind && !this.find("label").value) this.find("label").value = region.kind;
      if (region.mask) {
        this.session.take(region.mask);
        this.say(this.words("region", { number: index + 1 }));
        return;
      }
      await this.askBox([...region.box_xyxy], "region");
    }

    // What the box holds, in place of what was clicked before.
    async askBox(box, tool) {
      this.session.state = { ...this.session.state, points: [], box, painted: false };
      await this.ask(tool);
    }

    async keep(what) {
      if (!this.session.bits.bounds) return this.say(this.words("empty"), true);
      await this._try(async () => {
        const kept = await this.session.keep(what, this.find("label").value.trim());
        this.touched = { id: kept.id, kept: true };
        this.find("label").value = "";
        this.say(this.words(`kept_${what}`, { label: kept.label ? ` "${kept.label}"` : "", px: kept.area_px.toLocaleString("en") }));
      });
      this.stage.focus();
    }

    async remove(id) {
      await this._try(async () => {
        await this.session.remove(id);
        this.touched = { id, kept: false };
        this.say(this.words("removed"));
      });
      this.stage.focus();
    }

    clear() {
      if (this.session.empty) return this.close();
      this.session.wipe();
      this.say(this.words("cleared"));
    }

    // More of the picture's own pixels, once what is seen stays for a moment.
    sharpen() {
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
      this.pointer.listen(on);
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
        this.sharpen();
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
      if (event.target === this.stage && this.pointer.key(event)) event.preventDefault();
    }
  }

  // The button beside an inspection opens its editor; `told` hears of the last mask kept.
  anomalyst.attachMasks = (element, told) => {
    const root = element.querySelector(".an-masks[data-about]");
    if (!root) return;
    // The page is changed in place: what was attached for the inspection shown before is still there.
    const before = root.anomalystEditor;
    before?._stop?.abort();
    before?._watch?.disconnect();
    root.anomalystEditor = new MaskEditor(root, told);
    root.querySelector("[data-masks-open]").onclick = () => root.anomalystEditor.open();
  };
})();
