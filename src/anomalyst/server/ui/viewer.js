// The inspected picture: views, before and after, zoom and pan to its own pixels. What is closer than
// the page's small copy is fetched; both pictures of a view move together.
(function () {
  const MOST = 16; // screen pixels to one of the picture
  const STEP = 1.5, MOVE_PX = 60, WAIT_MS = 200;
  const seen = new WeakMap(); // viewer -> where it looks

  const place = (viewer) => {
    const known = seen.get(viewer); // the page is changed in place: another inspection, another look
    if (!known || known.id !== viewer.dataset.id) {
      clearTimeout(known?.later);
      seen.set(viewer, { id: viewer.dataset.id, zoom: 1, x: 0, y: 0, pointers: new Map() });
    }
    return seen.get(viewer);
  };
  const frame = (viewer) => viewer.querySelector(".an-over");
  const wide = (viewer) => Number(viewer.querySelector(".an-stage").dataset.wide);
  const high = (viewer) => Number(viewer.querySelector(".an-stage").dataset.high);
  const pixels = (viewer) => wide(viewer) / frame(viewer).clientWidth; // zoom of one to one

  function show(viewer) {
    const at = place(viewer), { clientWidth: w, clientHeight: h } = frame(viewer);
    at.x = Math.min(0, Math.max(w - w * at.zoom, at.x));
    at.y = Math.min(0, Math.max(h - h * at.zoom, at.y));
    for (const [name, value] of [["zoom", at.zoom], ["x", at.x], ["y", at.y]]) viewer.style.setProperty(`--${name}`, value);
    viewer.classList.toggle("an-zoomed", at.zoom > 1);
    viewer.classList.toggle("an-close", at.zoom / pixels(viewer) >= 3); // single pixels are to be seen
    viewer.querySelector("[data-zoomed]").textContent = `${Math.round(100 * at.zoom)} %`;
    clearTimeout(at.later);
    at.later = setTimeout(() => sharpen(viewer), WAIT_MS);
  }

  function zoom(viewer, to, x, y) {
    const at = place(viewer), { clientWidth: w, clientHeight: h } = frame(viewer);
    const next = Math.min(Math.max(1, to), Math.max(1, MOST * pixels(viewer)));
    const [cx, cy] = [x ?? w / 2, y ?? h / 2];
    at.x = cx - ((cx - at.x) * next) / at.zoom;
    at.y = cy - ((cy - at.y) * next) / at.zoom;
    at.zoom = next;
    show(viewer);
  }

  function pan(viewer, dx, dy) {
    const at = place(viewer);
    [at.x, at.y] = [at.x + dx, at.y + dy];
    show(viewer);
  }

  // More of the picture's own pixels, once what is seen stays for a moment.
  async function sharpen(viewer) {
    const at = place(viewer), base = viewer.querySelector(".an-over .an-base");
    const source = viewer.dataset.closer, dense = window.devicePixelRatio || 1;
    if (!source || !viewer.isConnected || at.zoom * frame(viewer).clientWidth * dense <= 1.1 * base.naturalWidth) return;
    if (base.naturalWidth >= wide(viewer)) return;
    const box = view(viewer);
    if (at.box && box.every((edge, i) => (i < 2 ? edge >= at.box[i] : edge <= at.box[i])) &&
        at.box[2] - at.box[0] < 1.5 * (box[2] - box[0])) return;
    const headers = viewer.dataset.pass ? { "X-Page-Pass": viewer.dataset.pass } : {};
    const [x0, y0, x1, y1] = box;
    const answer = await fetch(`${source}?x0=${x0}&y0=${y0}&x1=${x1}&y1=${y1}`, { headers }).catch(() => null);
    if (!answer || !answer.ok) return; // the small copy stays
    const shown = URL.createObjectURL(await answer.blob());
    at.box = box;
    for (const layer of viewer.querySelectorAll(".an-zoom")) detail(viewer, layer, shown, box);
    if (at.shown) URL.revokeObjectURL(at.shown);
    at.shown = shown;
  }

  // What is seen in whole pixels of the picture, and a little around it.
  function view(viewer) {
    const at = place(viewer), { clientWidth: w, clientHeight: h } = frame(viewer);
    const scale = (w * at.zoom) / wide(viewer), around = 0.1;
    const edge = (from, size, most) => {
      const low = Math.floor((-from - around * size) / scale), top = Math.ceil((-from + (1 + around) * size) / scale);
      const [start, end] = [Math.max(0, low), Math.min(most, top)];
      return end - start < 16 ? [Math.max(0, end - 16), Math.min(most, Math.max(0, end - 16) + 16)] : [start, end];
    };
    const [x0, x1] = edge(at.x, w, wide(viewer)), [y0, y1] = edge(at.y, h, high(viewer));
    return [x0, y0, x1, y1];
  }

  function detail(viewer, layer, shown, [x0, y0, x1, y1]) {
    const old = layer.querySelector(".an-detail"), image = document.createElement("img");
    Object.assign(image, { className: "an-detail", alt: "", draggable: false });
    const part = (value, whole) => `${(100 * value) / whole}%`;
    Object.assign(image.style, {
      left: part(x0, wide(viewer)), top: part(y0, high(viewer)),
      width: part(x1 - x0, wide(viewer)), height: part(y1 - y0, high(viewer)),
    });
    image.addEventListener("load", () => old && old.remove());
    image.src = shown;
    layer.querySelector(".an-base").after(image);
  }

  const ACTS = {
    in: (viewer) => zoom(viewer, place(viewer).zoom * STEP),
    out: (viewer) => zoom(viewer, place(viewer).zoom / STEP),
    fit: (viewer) => zoom(viewer, 1),
    pixels: (viewer) => zoom(viewer, pixels(viewer)),
  };
  const KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "pixels" };
  const WAYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  document.addEventListener("click", (event) => {
    const viewer = event.target.closest(".an-viewer");
    if (!viewer) return;
    const { viewTo } = event.target.closest("[data-view-to]")?.dataset || {}, act = event.target.closest("[data-zoom]");
    if (act) ACTS[act.dataset.zoom](viewer);
    if (!viewTo) return;
    viewer.dataset.view = viewTo;
    viewer.querySelectorAll("[data-view-to]").forEach((one) => one.setAttribute("aria-pressed", one.dataset.viewTo === viewTo));
    show(viewer); // side by side the frames are smaller
  });

  document.addEventListener("input", (event) => {
    const viewer = event.target.closest(".an-viewer");
    if (!viewer) return;
    if (event.target.matches("[data-heat]")) viewer.style.setProperty("--heat", event.target.value);
    if (event.target.matches("[data-cut]")) viewer.style.setProperty("--cut", event.target.value);
    if (event.target.matches("[data-drawn]")) viewer.classList.toggle("an-nodrawn", !event.target.checked);
    if (event.target.matches("[data-boxes]")) viewer.classList.toggle("an-nobox", !event.target.checked);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    const viewer = document.querySelector(".an-viewer");
    if (!viewer) return;
    const way = event.target.matches(".an-stage") && place(viewer).zoom > 1 && WAYS[event.key];
    if (way) pan(viewer, way[0] * MOVE_PX, way[1] * MOVE_PX);
    else if (KEYS[event.key]) ACTS[KEYS[event.key]](viewer);
    else return;
    event.preventDefault();
  });

  const at = (viewer, event) => {
    const own = event.target.closest("figure") || frame(viewer), box = own.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const staged = (event) => !event.target.closest(".an-cut") && event.target.closest?.(".an-stage")?.closest(".an-viewer");

  // The wheel scrolls the page until the picture is closer; with Ctrl, as a pinch on a pad, it zooms.
  document.addEventListener("wheel", (event) => {
    const viewer = staged(event);
    if (!viewer || !(event.ctrlKey || place(viewer).zoom > 1)) return;
    event.preventDefault();
    zoom(viewer, place(viewer).zoom * Math.exp(-event.deltaY / 300), ...at(viewer, event));
  }, { passive: false });

  document.addEventListener("dblclick", (event) => {
    const viewer = staged(event);
    if (viewer) zoom(viewer, place(viewer).zoom > 1 ? 1 : Math.max(2, pixels(viewer)), ...at(viewer, event));
  });

  document.addEventListener("pointerdown", (event) => {
    const viewer = staged(event);
    if (viewer) place(viewer).pointers.set(event.pointerId, at(viewer, event));
  });

  document.addEventListener("pointermove", (event) => {
    const viewer = staged(event), own = viewer && place(viewer);
    if (!own || !own.pointers.has(event.pointerId)) return;
    const before = own.pointers.get(event.pointerId), now = at(viewer, event);
    const other = [...own.pointers].find(([id]) => id !== event.pointerId);
    own.pointers.set(event.pointerId, now);
    if (other) {
      const far = (from) => Math.hypot(from[0] - other[1][0], from[1] - other[1][1]);
      zoom(viewer, (own.zoom * far(now)) / Math.max(1, far(before)), (now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2);
    } else if (own.zoom > 1) pan(viewer, now[0] - before[0], now[1] - before[1]);
  });

  for (const name of ["pointerup", "pointercancel"])
    document.addEventListener(name, (event) => document.querySelectorAll(".an-viewer").forEach((one) => place(one).pointers.delete(event.pointerId)));
})();
