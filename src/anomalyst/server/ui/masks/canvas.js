// The picture under a magnifier, with masks over it. What is drawn is sampled at the screen's own
// pixels, so that a picture of any size takes as long as the window is large.
(function () {
  window.anomalyst = window.anomalyst || {};

  const MOST_SCALE = 32; // screen pixels to one of the picture
  const MARGIN = 0.98;

  anomalyst.MaskCanvas = class {
    constructor(canvas, wide, high) {
      Object.assign(this, { canvas, wide, high, scale: 1, left: 0, top: 0, opacity: 0.45 });
      this.layers = []; // { bits, colours }: value -> "r,g,b"
      this.fits = true; // the whole picture is seen, in a window of any size
      this.picture = this.detail = null; // the whole picture made small; { image, box }
      this.marks = () => {}; // draws points and boxes over all
      this.ratio = 1;
      this._asked = false;
    }

    get size() {
      return [this.canvas.clientWidth, this.canvas.clientHeight];
    }

    get fitting() {
      const [wide, high] = this.size;
      return MARGIN * Math.min(wide / this.wide, high / this.high);
    }

    fit() {
      this.fits = true;
      this.scale = this.fitting;
      this._settle();
    }

    resize() {
      const [wide, high] = this.size;
      if (!wide || !high) return;
      this.ratio = Math.min(2, window.devicePixelRatio || 1);
      [this.canvas.width, this.canvas.height] = [Math.round(wide * this.ratio), Math.round(high * this.ratio)];
      this.scale = this.fits ? this.fitting : Math.max(this.scale, this.fitting);
      this._settle();
    }

    zoom(factor, x = this.size[0] / 2, y = this.size[1] / 2) {
      const [px, py] = this.toPicture(x, y);
      const before = this.scale;
      this.scale = Math.min(Math.max(before * factor, this.fitting), Math.max(MOST_SCALE, this.fitting));
      this.fits = this.scale === this.fitting;
      [this.left, this.top] = [x - px * this.scale, y - py * this.scale];
      this._settle();
    }

    pan(dx, dy) {
      [this.left, this.top] = [this.left + dx, this.top + dy];
      this._settle();
    }

    // The picture stays in the window: centred where it is smaller, else without a gap beside it.
    _settle() {
      const [wide, high] = this.size;
      const kept = (at, window_, picture) =>
        picture <= window_ ? (window_ - picture) / 2 : Math.min(0, Math.max(window_ - picture, at));
      this.left = kept(this.left, wide, this.wide * this.scale);
      this.top = kept(this.top, high, this.high * this.scale);
      this.draw();
    }

    toPicture(x, y) {
      return [(x - this.left) / this.scale, (y - this.top) / this.scale];
    }

    toScreen(x, y) {
      return [x * this.scale + this.left, y * this.scale + this.top];
    }

    // What is seen of the picture, in its whole pixels.
    visible() {
      const [wide, high] = this.size;
      const [x0, y0] = this.toPicture(0, 0), [x1, y1] = this.toPicture(wide, high);
      return [
        Math.max(0, Math.floor(x0)), Math.max(0, Math.floor(y0)),
        Math.min(this.wide, Math.ceil(x1)), Math.min(this.high, Math.ceil(y1)),
      ];
    }

    draw() {
      if (this._asked) return;
      this._asked = true;
      requestAnimationFrame(() => {
        this._asked = false;
        this._draw();
      });
    }

    _draw() {
      const context = this.canvas.getContext("2d");
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      context.clearRect(0, 0, ...this.size);
      context.imageSmoothingEnabled = this.scale < 4; // closer, single pixels are to be seen
      if (this.picture) this._image(context, this.picture, [0, 0, this.wide, this.high]);
      if (this.detail) this._image(context, this.detail.image, this.detail.box);
      for (const layer of this.layers) this._layer(context, layer);
      this.marks(context);
    }

    _image(context, image, [x0, y0, x1, y1]) {
      const [left, top] = this.toScreen(x0, y0);
      context.drawImage(image, left, top, (x1 - x0) * this.scale, (y1 - y0) * this.scale);
    }

    // Each screen pixel takes the value of the picture's pixel below it; borders are drawn opaque.
    _layer(context, { bits, colours }) {
      if (!bits.bounds) return;
      const [wide, high] = this.size;
      const [fromX, fromY] = this.toScreen(bits.bounds[0], bits.bounds[1]);
      const [toX, toY] = this.toScreen(bits.bounds[2], bits.bounds[3]);
      const x0 = Math.max(0, Math.floor(fromX) - 1), y0 = Math.max(0, Math.floor(fromY) - 1);
      const w = Math.min(wide, Math.ceil(toX) + 1) - x0, h = Math.min(high, Math.ceil(toY) + 1) - y0;
      if (w <= 0 || h <= 0) return;
      const row = w + 2, seen = new Uint8Array(row * (h + 2)); // a border of nothing around
      const rows = Int32Array.from({ length: h }, (_, j) => Math.floor((y0 + j + 0.5 - this.top) / this.scale));
      for (let i = 0; i < w; i++) {
        const x = Math.floor((x0 + i + 0.5 - this.left) / this.scale);
        if (x < 0 || x >= this.wide) continue;
        const column = bits.data.subarray(x * this.high, (x + 1) * this.high);
        for (let j = 0, at = row + i + 1; j < h; j++, at += row) seen[at] = column[rows[j]] || 0;
      }
      const image = new ImageData(w, h), pixels = new Uint32Array(image.data.buffer);
      const inks = colours.map((c) => [_ink(c, this.opacity), _ink(c, 1)]);
      for (let j = 0; j < h; j++) {
        for (let i = 0, at = (j + 1) * row + 1; i < w; i++, at++) {
          const value = seen[at];
          if (!value) continue;
          const inside = seen[at - 1] === value && seen[at + 1] === value && seen[at - row] === value && seen[at + row] === value;
          pixels[j * w + i] = inks[value][inside ? 0 : 1];
        }
      }
      const sheet = (this._sheet = this._sheet || document.createElement("canvas"));
      [sheet.width, sheet.height] = [w, h];
      sheet.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(sheet, x0, y0);
    }
  };

  function _ink(colour, opacity) {
    const [r, g, b] = colour ? colour.split(",").map(Number) : [0, 0, 0];
    return ((Math.round(255 * opacity) << 24) | (b << 16) | (g << 8) | r) >>> 0; // bytes r, g, b, a
  }
})();
