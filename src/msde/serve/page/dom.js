// Elements made and found. No text is ever read as markup, whatever a file is called.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

const made = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

export const h = (tag, attributes = {}, ...children) => made(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => made(document.createElementNS(SVG, tag), attributes, children);

/** Show what is of use now, or hide it. */
export const offer = (selector, whether) => {
  for (const node of document.querySelectorAll(selector)) node.hidden = !whether;
};

/** Tell those who cannot see what has changed. */
export const say = (text) => {
  $("said").textContent = text;
};

export const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Call at once, but at most once in so many milliseconds; the last call is not lost. */
export const seldom = (milliseconds, act) => {
  let free = true;
  let wanted = false;
  const run = () => {
    free = wanted = false;
    act();
    setTimeout(() => {
      free = true;
      if (wanted) run();
    }, milliseconds);
  };
  return () => {
    wanted = true;
    if (free) run();
  };
};

/** Call once there was no further call for so many milliseconds. */
export const calmly = (milliseconds, act) => {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), milliseconds);
  };
};
