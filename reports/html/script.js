// Filtering, and opening a claim that is linked to. Everything else works without this.
(() => {
  const tiles = [...document.querySelectorAll("details.tile")];
  const form = document.querySelector(".filters");
  const search = form.querySelector("input[type=search]");
  const output = form.querySelector("output");
  const toggle = form.querySelector("button");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());

  const apply = () => {
    const wanted = new Set([...form.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value));
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const tile of tiles) {
      const visible = wanted.has(tile.dataset.state) && words.every((word) => tile.dataset.text.includes(word));
      tile.hidden = !visible;
      shown += visible;
    }
    for (const section of document.querySelectorAll("section.category")) {
      section.hidden = !section.querySelector("details.tile:not([hidden])");
    }
    output.textContent = shown === tiles.length ? "" : `${shown} shown`;
  };
  form.addEventListener("input", apply);

  toggle.addEventListener("click", () => {
    const open = toggle.textContent === "Open all";
    for (const tile of tiles) if (!tile.hidden) tile.open = open;
    toggle.textContent = open ? "Close all" : "Open all";
  });

  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details.tile")) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView({ block: "start" });
      target.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
