// Mouse, pen and fingers on the picture: one draws with the tool that is chosen, two zoom and pan.
(function () {
  window.anomalyst = window.anomalyst || {};

  const MARGIN_PX = 6; // what moves less was a click
  const STEP_PX = 12; // that an arrow key moves the crosshair by; with Shift: 1
  const PAINTS = ["brush", "eraser"];
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  anomalyst.MaskPointer = class {
    constructor(editor) {
      this.editor = editor;
      this.pointers = new Map();
      this.drag = this.pinch = this.cursor = null;
      this.byKeys = false; // the crosshair was moved by arrow keys
    }

    listen(on) {
      for (const name of ["down", "move", "up", "cancel", "leave"]) {
        on(this.editor.stage, `pointer${name}`, (event) => this[`_${name}`](event));
      }
      on(this.editor.stage, "contextmenu", (event) => event.preventDefault());
      on(this.editor.stage, "wheel", (event) => this._wheel(event), { passive: false });
    }

    _wheel(event) {
      event.preventDefault();
      const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)); // lines, or pixels
      this.editor.canvas.zoom(factor, event.offsetX, event.offsetY);
      this.editor.sharpen();
    }

    // Arrows move the crosshair, Space clicks there or paints a dot: no mouse is needed.
    key(event) {
      const { canvas } = this.editor, [wide, high] = canvas.size;
      const at = this.cursor || [wide / 2, high / 2];
      if (event.key === " ") this._here(at);
      if (!ARROWS[event.key]) return event.key === " ";
      const step = event.shiftKey ? 1 : STEP_PX, [dx, dy] = ARROWS[event.key];
      const within = (one, most) => Math.min(most, Math.max(0, one));
      this.byKeys = true;
      this.cursor = [within(at[0] + dx * step, wide), within(at[1] + dy * step, high)];
      canvas.draw();
      return true;
    }

    _here(at) {
      const { tool, session } = this.editor;
      if (tool === "plus" || tool === "minus") this.editor.click(at, tool === "plus");
      if (!PAINTS.includes(tool)) return;
      session.halt();
      this.drag = { tool, last: at };
      this._stroke(at);
      this.drag = null;
      session.record(tool);
    }

    _at(event) {
      const frame = this.editor.stage.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    }

    _down(event) {
      event.preventDefault();
      this.editor.stage.focus();
      this.byKeys = false;
      this.editor.stage.setPointerCapture(event.pointerId);
      const at = this._at(event);
      this.pointers.set(event.pointerId, at);
      if (this.pointers.size === 2) {
        this._drop(); // a second finger: both zoom and pan, and what the first began is taken back
        this.pinch = [...this.pointers.values()];
        return;
      }
      if (this.pinch) return;
      const pans = this.editor.tool === "pan" || event.button === 1;
      const against = event.button === 2 || event.altKey || event.shiftKey;
      const tool = pans ? "pan" : this.editor.tool;
      this.drag = { tool, from: at, last: at, moved: false, against };
      this.editor.session.halt();
      if (PAINTS.includes(tool)) this._stroke(at);
    }

    _move(event) {
      const at = this._at(event);
      this.cursor = event.pointerType === "touch" && !this.pointers.size ? null : at;
      if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, at);
      if (this.pinch && this.pointers.size === 2) return this._pinched();
      const { drag } = this;
      if (drag) {
        drag.moved = drag.moved || Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > MARGIN_PX;
        if (drag.tool === "pan") this.editor.canvas.pan(at[0] - drag.last[0], at[1] - drag.last[1]);
        if (drag.tool === "box") drag.box = this._box(drag.from, at);
        if (PAINTS.includes(drag.tool)) this._stroke(at);
        drag.last = at;
      }
      this.editor.canvas.draw();
    }

    _up(event) {
      this.pointers.delete(event.pointerId);
      if (this.pinch) {
        if (!this.pointers.size) this.pinch = null;
        this.editor.sharpen();
        return;
      }
      const { drag } = this;
      this.drag = null;
      if (!drag) return;
      if (drag.tool === "pan") this.editor.sharpen();
      if (PAINTS.includes(drag.tool)) this.editor.session.record(drag.tool);
      if (drag.tool === "plus" || drag.tool === "minus") {
        if (!drag.moved) this.editor.click(drag.from, (drag.tool === "plus") !== drag.against);
      }
      if (drag.tool === "box" && drag.moved) this.editor.askBox(drag.box, "box");
      if (event.pointerType === "touch") this.cursor = null;
      this.editor.canvas.draw();
    }

    _cancel(event) {
      this.pointers.delete(event.pointerId);
      if (!this.pointers.size) this.pinch = null;
      this._drop();
    }

    _leave() {
      if (!this.drag && !this.byKeys) this.cursor = null;
      this.editor.canvas.draw();
    }

    // What a finger began is not meant.
    _drop() {
      if (this.drag && PAINTS.includes(this.drag.tool)) this.editor.session.restore();
      this.drag = null;
    }

    _pinched() {
      const [a, b] = [...this.pointers.values()], [c, d] = this.pinch;
      const far = ([p, q], [r, s]) => Math.hypot(p - r, q - s);
      const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      this.editor.canvas.zoom(far(a, b) / Math.max(1, far(c, d)), ...middle);
      this.editor.canvas.pan(middle[0] - (c[0] + d[0]) / 2, middle[1] - (c[1] + d[1]) / 2);
      this.pinch = [a, b];
    }

    _stroke(at) {
      const { canvas, session } = this.editor, { drag } = this;
      const value = drag.tool === "brush" && !drag.against ? 1 : 0;
      session.bits.stroke(canvas.toPicture(...drag.last), canvas.toPicture(...at), this.editor.radius / canvas.scale, value);
      drag.last = at;
      canvas.draw();
    }

    _box(from, to) {
      const [ax, ay] = this.editor.canvas.toPicture(...from), [bx, by] = this.editor.canvas.toPicture(...to);
      const inside = (at, most) => Math.round(Math.min(most, Math.max(0, at)));
      const { wide, high } = this.editor.about;
      return [
        inside(Math.min(ax, bx), wide), inside(Math.min(ay, by), high),
        inside(Math.max(ax, bx), wide), inside(Math.max(ay, by), high),
      ];
    }
  };
})();
