// Regions, phrases and table rows of one number light up together; views and keys work on the page.
(function () {
  const light = (number) => document.querySelectorAll("[data-region]").forEach((one) =>
    one.classList.toggle("an-lit", one.dataset.region === number && !one.classList.contains("an-lit")));
  document.addEventListener("click", (event) => {
    const region = event.target.closest("[data-region]");
    if (region) light(region.dataset.region);
    const word = event.target.closest(".an-word");
    if (word) document.querySelectorAll(".an-word").forEach((one) => one.classList.toggle("an-looked-at", one === word));
    const view = event.target.closest("[data-view-to]");
    if (view) view.closest(".an-viewer").dataset.view = view.dataset.viewTo;
    if (event.target.closest("[data-theme-turn]")) {
      const dark = document.body.classList.toggle("dark");
      localStorage.setItem("anomalyst-theme", dark ? "dark" : "light");
    }
  });
  document.addEventListener("input", (event) => {
    const viewer = event.target.closest(".an-viewer");
    if (viewer && event.target.matches("[data-heat]")) viewer.style.setProperty("--heat", event.target.value);
    if (viewer && event.target.matches("[data-drawn]")) viewer.classList.toggle("an-nodrawn", !event.target.checked);
    if (viewer && event.target.matches("[data-boxes]")) viewer.classList.toggle("an-nobox", !event.target.checked);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
    const button = { r: "review-right", w: "review-wrong", f: "review-fine", s: "review-skip" }[event.key];
    const found = button && document.getElementById(button);
    if (found) { event.preventDefault(); (found.querySelector("button") || found).click(); }
    if (event.target.matches(".an-word") && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
      const words = [...event.target.closest(".an-reply").querySelectorAll(".an-word")];
      const next = words[words.indexOf(event.target) + (event.key === "ArrowRight" ? 1 : -1)];
      if (next) { event.preventDefault(); next.focus(); }
    }
    if ((event.key === "Enter" || event.key === " ") && event.target.matches("tr[data-region], .an-word")) event.target.click();
  });
  const wanted = localStorage.getItem("anomalyst-theme");
  if (wanted) document.addEventListener("DOMContentLoaded", () => document.body.classList.toggle("dark", wanted === "dark"));
})();
