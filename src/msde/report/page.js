"use strict";
(() => {
  const page = document.documentElement;
  const rows = [...document.querySelectorAll("tbody tr")];
  const viewer = document.getElementById("viewer");
  const overlays = document.getElementById("overlays");
  const flaggedOnly = document.getElementById("flagged-only");
  const compared = document.getElementById("compared").content;
  const inViewer = (selector) => viewer.querySelector(selector);
  let chosen = null;

  const picture = (source, kind, shot) => {
    const img = document.createElement("img");
    img.src = source;
    img.className = kind;
    img.alt = shot.querySelector("img").alt + (kind === "overlay" ? ", with overlay" : "");
    return img;
  };

  const beside = (place, kind, numbers = "") => {
    const figures = numbers.split(" ").filter(Boolean).map((n) => compared.getElementById(`${kind}-${n}`).cloneNode(true));
    inViewer(place).hidden = figures.length === 0;
    inViewer(`${place} .compared`).replaceChildren(...figures);
  };

  const show = (shot) => {
    const shown = [picture(shot.dataset.large, "plain", shot)];
    if (shot.dataset.overlay) {
      shown[0].classList.add("covered");
      shown.push(picture(shot.dataset.overlay, "overlay", shot));
    }
    inViewer(".picture").replaceChildren(...shown);
    beside(".alike", "normal", shot.dataset.alike);
    beside(".labelled", "labelled", shot.dataset.labelled);
  };

  const slice = (shot, all) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(shot.cloneNode(true));
    button.setAttribute("aria-pressed", String(shot === all[0]));
    button.addEventListener("click", () => {
      for (const other of button.parentNode.children) other.setAttribute("aria-pressed", String(other === button));
      show(shot);
    });
    return button;
  };

  const choose = (row) => {
    if (!row) return;
    if (chosen) chosen.removeAttribute("aria-current");
    chosen = row;
    row.setAttribute("aria-current", "true");
    const shots = [...row.querySelectorAll(".shot")];
    const isVolume = row.classList.contains("volume");
    viewer.className = row.className;
    inViewer(".rank").textContent = `${rows.indexOf(row) + 1} of ${rows.length}`;
    inViewer("h2").replaceChildren(...[...row.querySelector(".name").childNodes].map((node) => node.cloneNode(true)));
    for (const link of viewer.querySelectorAll("h2 a")) link.replaceWith(...link.childNodes);
    inViewer(".words").replaceChildren(...[...row.querySelector(".often").childNodes].map((node) => node.cloneNode(true)));
    inViewer(".side-by-side").hidden = shots.length === 0;
    if (shots.length) show(shots[0]);
    inViewer(".slices").hidden = !isVolume || shots.length === 0;
    inViewer(".strip").replaceChildren(...(isVolume ? shots.map((shot) => slice(shot, shots)) : []));
    inViewer(".chart").replaceChildren(...[...row.querySelector(".score").childNodes].map((node) => node.cloneNode(true)));
    document.getElementById("said").textContent =
      `${inViewer(".rank").textContent}: ${inViewer("h2").textContent}. ${inViewer(".words").textContent}`;
  };

  const go = (row) => {
    if (!row) return;
    choose(row);
    row.querySelector("a").focus({ preventScroll: true });
    const beside = getComputedStyle(viewer).position === "sticky";
    (beside ? row : viewer).scrollIntoView({ block: "nearest" });
  };

  const step = (by) => {
    const visible = rows.filter((row) => !flaggedOnly.checked || row.classList.contains("flagged"));
    go(visible[Math.min(Math.max(visible.indexOf(chosen) + by, 0), visible.length - 1)]);
  };

  page.classList.add("js");
  for (const part of document.querySelectorAll(".controls, #viewer")) part.hidden = rows.length === 0;
  const hasOverlays = document.querySelector("[data-overlay]") !== null;
  page.classList.toggle("no-overlays", !hasOverlays);
  overlays.checked = hasOverlays;
  const apply = () => {
    page.classList.toggle("overlays", overlays.checked);
    page.classList.toggle("flagged-only", flaggedOnly.checked);
  };
  flaggedOnly.checked = false;
  overlays.addEventListener("change", apply);
  flaggedOnly.addEventListener("change", () => {
    apply();
    if (flaggedOnly.checked && !chosen.classList.contains("flagged")) step(1);
  });
  apply();

  document.querySelector("tbody").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (event.target.closest("a")) event.preventDefault();
    if (row) go(row);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, button")) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === " " && hasOverlays) {
      event.preventDefault();
      overlays.checked = !overlays.checked;
      apply();
    }
  });
  choose(rows.find((row) => "#" + row.id === location.hash) || rows[0]);
})();
