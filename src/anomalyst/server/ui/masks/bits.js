// Masks on the page: run lengths as COCO packs them, and a bitmap of the whole picture to paint on.
// A bitmap lies in columns, as the run lengths do, so that both are read and written in long runs.
(function () {
  window.anomalyst = window.anomalyst || {};

  anomalyst.unpackRuns = (text) => {
    const runs = [];
    let value = 0, factor = 1;
    for (const letter of text) {
      const bits = letter.charCodeAt(0) - 48;
      value += (bits & 31) * factor; // not <<: a run may be longer than 32 bits count
      factor *= 32;
      if (bits & 32) continue;
      if (bits & 16) value -= factor;
      runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
      value = 0;
      factor = 1;
    }
    return runs;
  };

  anomalyst.packRuns = (runs) => {
    const letters = [];
    runs.forEach((run, index) => {
      let rest = index > 2 ? run - runs[index - 2] : run;
      for (let more = true; more;) {
        const bits = rest & 31;
        rest = Math.floor(rest / 32);
        more = bits & 16 ? rest !== -1 : rest !== 0;
        letters.push(String.fromCharCode((more ? bits | 32 : bits) + 48));
      }
    });
    return letters.join("");
  };

  anomalyst.MaskBits = class {
    constructor(wide, high) {
      Object.assign(this, { wide, high, data: new Uint8Array(wide * high) });
      this.clear();
    }

    clear() {
      this.data.fill(0);
      this.bounds = null; // x0, y0, x1, y1 that hold all that is set, perhaps more
    }

    // Set `value` where the runs are mask; `box`: only inside it, and what else lies there is cleared.
    fill(runs, value = 1, box = null) {
      const target = box ? new Uint8Array(this.data.length) : this.data;
      let at = 0;
      runs.forEach((run, index) => {
        if (index % 2) {
          target.fill(value, at, at + run);
          if (run) this._reach(Math.floor(at / this.high), Math.floor((at + run - 1) / this.high) + 1);
        }
        at += run;
      });
      if (!box) return;
      const [x0, y0, x1, y1] = box;
      for (let x = x0; x < x1; x++) {
        const start = x * this.high;
        this.data.set(target.subarray(start + y0, start + y1), start + y0);
      }
    }

    runs() {
      const found = [], all = this.data.length;
      let at = this.bounds ? this.bounds[0] * this.high : all, last = 0;
      const end = this.bounds ? this.bounds[2] * this.high : all;
      const some = this.data.subarray(0, end); // what lies behind is empty
      for (let value = 1; at < end; value = 1 - value) {
        const next = some.indexOf(value, at);
        at = next < 0 ? (value ? all : end) : next;
        if (at === all) break;
        found.push(at - last);
        last = at;
      }
      found.push(all - last);
      return found.length > 1 && !found[found.length - 1] ? found.slice(0, -1) : found;
    }

    area() {
      return this.runs().reduce((sum, run, index) => (index % 2 ? sum + run : sum), 0);
    }

    // A stroke from one place to the next, its ends round.
    stroke([fromX, fromY], [toX, toY], radius, value) {
      const [lowX, highX] = [Math.min(fromX, toX) - radius, Math.max(fromX, toX) + radius];
      const x0 = Math.max(0, Math.floor(lowX)), x1 = Math.min(this.wide, Math.ceil(highX) + 1);
      const [alongX, alongY] = [toX - fromX, toY - fromY];
      const length = alongX * alongX + alongY * alongY || 1;
      const y0 = Math.max(0, Math.floor(Math.min(fromY, toY) - radius));
      const y1 = Math.min(this.high, Math.ceil(Math.max(fromY, toY) + radius) + 1);
      for (let x = x0; x < x1; x++) {
        for (let y = y0; y < y1; y++) {
          const [awayX, awayY] = [x + 0.5 - fromX, y + 0.5 - fromY];
          const share = Math.min(1, Math.max(0, (awayX * alongX + awayY * alongY) / length));
          const [offX, offY] = [awayX - share * alongX, awayY - share * alongY];
          if (offX * offX + offY * offY <= radius * radius) this.data[x * this.high + y] = value;
        }
      }
      if (value && x0 < x1 && y0 < y1) this._reach(x0, x1, y0, y1);
    }

    _reach(x0, x1, y0 = 0, y1 = this.high) {
      const b = this.bounds || [x0, y0, x1, y1];
      this.bounds = [Math.min(b[0], x0), Math.min(b[1], y0), Math.max(b[2], x1), Math.max(b[3], y1)];
    }
  };
})();
