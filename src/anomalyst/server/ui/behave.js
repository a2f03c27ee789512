// Regions, phrases and table rows of one number light up together; keys, theme and language work
// on every page.
(function () {
  const light = (number) => document.querySelectorAll("[data-region]").forEach((one) =>
    one.classList.toggle("an-lit", one.dataset.region === number && !one.classList.contains("an-lit")));
  document.addEventListener("click", (event) => {
    const region = event.target.closest("[data-region]");
    if (region) light(region.dataset.region);
    const word = event.target.closest(".an-word");
    if (word) document.querySelectorAll(".an-word").forEach((one) => one.classList.toggle("an-looked-at", one === word));
    if (event.target.closest("[data-theme-turn]")) {
      const dark = document.body.classList.toggle("dark");
      localStorage.setItem("anomalyst-theme", dark ? "dark" : "light");
    }
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-language]")) return;
    document.cookie = `anomalyst-language=${event.target.value}; path=/; max-age=31536000; samesite=lax`;
    location.reload();
  });

  // On Review what judges and leads on; elsewhere J and K go along the thumbnails.
  const KEYS = { r: "right", w: "wrong", f: "fine", d: "defect", u: "undo", s: "skip", j: "skip", k: "back" };
  const along = (step) => {
    const thumbs = [...document.querySelectorAll(".an-thumb")];
    const now = thumbs.findIndex((one) => one.getAttribute("aria-pressed") === "true");
    return thumbs[now < 0 ? 0 : now + step];
  };
  const button = (key) => {
    const found = KEYS[key] && document.getElementById(`review-${KEYS[key]}`);
    if (found) return found.querySelector("button") || found;
    return key === "j" ? along(1) : key === "k" ? along(-1) : null;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    const found = button(event.key.toLowerCase());
    if (found) { event.preventDefault(); found.click(); }
    if (event.target.matches(".an-word") && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
      const words = [...event.target.closest(".an-reply").querySelectorAll(".an-word")];
      const next = words[words.indexOf(event.target) + (event.key === "ArrowRight" ? 1 : -1)];
      if (next) { event.preventDefault(); next.focus(); }
    }
    if ((event.key === "Enter" || event.key === " ") && event.target.matches("tr[data-region], .an-word")) event.target.click();
  });
  // What Gradio lets scroll is reached by keys, too: of a table its first cell takes the focus.
  const SCROLLS = ".virtual-table-viewport, .prose pre";
  new MutationObserver(() => document.querySelectorAll(SCROLLS).forEach((one) => {
    const takes = one.matches("pre") ? one : one.querySelector("th, td");
    if (takes && takes.tabIndex < 0 && (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight))
      takes.tabIndex = 0;
  })).observe(document, { childList: true, subtree: true });
  const wanted = localStorage.getItem("anomalyst-theme");
  if (wanted) document.addEventListener("DOMContentLoaded", () => document.body.classList.toggle("dark", wanted === "dark"));
})();
