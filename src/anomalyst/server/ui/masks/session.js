// One inspection under the mask editor: what was clicked and painted so far, every step of which
// can be undone, and the requests to the server.
(function () {
  window.anomalyst = window.anomalyst || {};

  const VIEWED_FROM = 2; // times the whole picture, from which only what is seen is segmented
  const VIEW_LEAST_PX = 64;
  const NOTHING = Object.freeze({ points: [], box: null, answer: null, painted: false, tools: [], runs: null });

  anomalyst.MaskSession = class {
    constructor(about, changed) {
      Object.assign(this, { about, changed });
      this.path = `/api/v1/inspections/${about.id}`;
      this.bits = new anomalyst.MaskBits(about.wide, about.high);
      this.saved = []; // as the server tells them
      this.savedBits = new anomalyst.MaskBits(about.wide, about.high); // value: number in `saved`
      this.view = null; // what the segmenter looked at last
      this.timing = {};
      this.asked = null; // what the server has not answered yet
      this._begin();
    }

    // Nothing is drawn, and nothing can be undone.
    _begin() {
      this.state = NOTHING;
      this.steps = [];
      this.undone = [];
      this.bits.clear();
    }

    get empty() {
      return !this.bits.bounds && !this.state.points.length && !this.state.box;
    }

    async request(path, body, options = {}) {
      const headers = { "Content-Type": "application/json" };
      if (this.about.pass) headers["X-Page-Pass"] = this.about.pass;
      const answer = await fetch(path, {
        method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), ...options,
      });
      if (answer.ok) return answer;
      const problem = await answer.json().catch(() => ({}));
      const told = { 401: this.about.words.signed_out, 403: this.about.words.forbidden };
      throw new Error(told[answer.status] || problem.detail || `${this.about.words.answered} ${answer.status}`);
    }

    async picture(box, signal) {
      const edges = box ? `?x0=${box[0]}&y0=${box[1]}&x1=${box[2]}&y1=${box[3]}` : "";
      const answer = await this.request(`${this.path}/view.jpg${edges}`, null, { signal });
      return createImageBitmap(await answer.blob());
    }

    // The view that holds all places asked about: the former one while that does, else what is
    // seen, if that is a small part, rounded so that it serves a little panning, too.
    viewFor(seen, zoomed) {
      const { wide, high } = this.about, { points, box } = this.state;
      const places = points.map((p) => [p.x, p.y]);
      if (box) places.push([box[0], box[1]], [box[2], box[3]]);
      const holds = (view) => places.every(([x, y]) => x >= view[0] && x <= view[2] && y >= view[1] && y <= view[3]);
      const parts = 2 ** Math.floor(Math.log2(Math.max(1, zoomed)));
      const level = zoomed < VIEWED_FROM ? 1 : parts;
      if (level === 1) return (this.view = null);
      const former = this.view;
      if (former && former.level === level && holds(former) && _holdsMiddle(former, seen)) return former;
      const size = [wide / level, high / level].map((one) => Math.max(VIEW_LEAST_PX, Math.round(1.25 * one)));
      const middle = [(seen[0] + seen[2]) / 2, (seen[1] + seen[3]) / 2];
      const start = (at, length, whole) => Math.round(Math.min(Math.max(0, at - length / 2), Math.max(0, whole - length)));
      const x0 = start(middle[0], size[0], wide), y0 = start(middle[1], size[1], high);
      const view = [x0, y0, Math.min(wide, x0 + size[0]), Math.min(high, y0 + size[1])];
      view.level = level;
      return (this.view = holds(view) ? view : null);
    }

    // Let the server look at a view before the first click.
    async lookAhead(view) {
      await this.request(`${this.path}/segment`, { ahead: true, view_xyxy: view && [...view] });
    }

    // Ask what the points and the box mean. A newer question makes an older one's answer void.
    async ask(tool, view) {
      this.stop();
      const asked = (this.asked = new AbortController()), started = performance.now();
      const { points, box, painted } = this.state;
      const body = { ...this._prompts(), view_xyxy: view && [...view] };
      if (painted && this.bits.bounds) body.mask = this._mask();
      try {
        const answer = await this.request(`${this.path}/segment`, body, { signal: asked.signal });
        const { candidates, encode_ms, prompt_ms } = await answer.json();
        if (this.asked !== asked) return false;
        this.asked = null;
        const answers = candidates.map(({ mask, iou }) => ({ runs: anomalyst.unpackRuns(mask.counts), iou }));
        const found = answers.filter(({ runs }) => runs.length > 1); // an empty one is no answer
        if (!found.length) throw new Error(this.about.words.nowhere);
        this.state = { ...this.state, points, box, painted: false, answer: { found, view, chosen: 0 } };
        this._apply();
        this.record(tool);
        this.timing = { encode_ms, prompt_ms, click_ms: performance.now() - started };
        return true;
      } catch (problem) {
        if (problem.name === "AbortError" || (this.asked && this.asked !== asked)) return false;
        this.asked = null;
        this.restore(); // the click that was refused is taken back
        throw problem;
      }
    }

    stop() {
      if (this.asked) this.asked.abort();
      this.asked = null;
    }

    // A click that is not answered yet is taken back; whether there was one.
    halt() {
      const waited = this.asked !== null;
      this.stop();
      if (waited) this.restore();
      return waited;
    }

    another() {
      const { answer } = this.state;
      if (!answer || answer.found.length < 2) return false;
      this.state = { ...this.state, answer: { ...answer, chosen: (answer.chosen + 1) % answer.found.length } };
      this._apply();
      this.record();
      return true;
    }

    get chosen() {
      const { answer } = this.state;
      return answer && answer.found[answer.chosen];
    }

    // A region's own mask in place of what is drawn.
    take(mask) {
      this.halt();
      this.state = { ...this.state, points: [], box: null, answer: null, painted: true };
      this.bits.clear();
      this.bits.fill(anomalyst.unpackRuns(mask.counts));
      this.record("region");
    }

    // A step is done: it can be undone from here on.
    record(tool) {
      const tools = tool && !this.state.tools.includes(tool) ? [...this.state.tools, tool] : this.state.tools;
      const painted = this.state.painted || tool === "brush" || tool === "eraser";
      this.state = { ...this.state, tools, painted, runs: this.bits.runs() };
      this.steps.push(this.state);
      this.undone = [];
      this.changed();
    }

    undo() {
      if (this.halt()) return;
      if (this.steps.length) this.undone.push(this.steps.pop());
      this.restore();
    }

    redo() {
      this.halt();
      if (this.undone.length) this.steps.push(this.undone.pop());
      this.restore();
    }

    // Nothing is drawn; that can be undone.
    wipe() {
      this.halt();
      if (this.empty) return;
      this.state = NOTHING;
      this.bits.clear();
      this.record();
    }

    async keep(what, label) {
      this.halt();
      const { state } = this;
      const iou = this.chosen ? this.chosen.iou : null;
      const body = { mask: this._mask(), what, label, tools: state.tools, prompts: this._prompts(), iou };
      const kept = await (await this.request(`${this.path}/masks`, body)).json();
      this._begin();
      await this.load();
      return kept;
    }

    async remove(id) {
      await this.request(`/api/v1/feedback/${id}/undo`, {});
      await this.load();
    }

    async load() {
      this.saved = await (await this.request(`${this.path}/masks`)).json();
      this.savedBits.clear();
      this.saved.forEach(({ mask }, index) => {
        if (mask) this.savedBits.fill(anomalyst.unpackRuns(mask.counts), (index % 254) + 1);
      });
      this.changed();
    }

    restore() {
      const last = this.steps[this.steps.length - 1];
      this.state = last || NOTHING;
      this.bits.clear();
      if (last) this.bits.fill(last.runs);
      this.changed();
    }

    // The answer in place of what is drawn; beside its view all stays.
    _apply() {
      const { found, view, chosen } = this.state.answer;
      if (!view) this.bits.clear();
      this.bits.fill(found[chosen].runs, 1, view);
    }

    _prompts() {
      const { points, box } = this.state;
      const prompts = { points_xy: points.map((p) => [p.x, p.y]), labels: points.map((p) => (p.positive ? 1 : 0)) };
      return box ? { ...prompts, box_xyxy: box } : prompts;
    }

    _mask() {
      const { wide, high } = this.about;
      return { size: [high, wide], counts: anomalyst.packRuns(this.bits.runs()) };
    }
  };

  function _holdsMiddle(view, seen) {
    const x = (seen[0] + seen[2]) / 2, y = (seen[1] + seen[3]) / 2;
    const [w, h] = [view[2] - view[0], view[3] - view[1]];
    return Math.abs(x - (view[0] + view[2]) / 2) < w / 4 && Math.abs(y - (view[1] + view[3]) / 2) < h / 4;
  }
})();
