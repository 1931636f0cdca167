// Signing in, confirming, settings.

import { exchange } from "./api.js";
import { $ } from "./dom.js";

const signInDialog = $("sign-in");
let signingIn = null;

signInDialog.addEventListener("cancel", (event) => event.preventDefault());
signInDialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("sign-in-trouble").textContent = "";
  try {
    await exchange($("token").value);
  } catch (error) {
    $("sign-in-trouble").textContent = error.status ? error.message : "The service does not answer. Try again in a moment.";
    $("token").select();
    return;
  }
  $("token").value = "";
  signInDialog.close();
});

/** Let the reader sign in; resolves when that is done. Requests that meet this together share one dialog. */
export const signIn = () => {
  signingIn ??= new Promise((resolve) => {
    signInDialog.addEventListener("close", () => {
      signingIn = null;
      resolve();
    }, { once: true });
    for (const other of document.querySelectorAll("dialog[open]")) other.close();
    signInDialog.showModal();
    $("token").focus();
  });
  return signingIn;
};

/** Ask before something is done; resolves to whether it shall be. */
export const confirmed = (title, text, action) =>
  new Promise((resolve) => {
    const dialog = $("confirm");
    $("confirm-title").textContent = title;
    $("confirm-text").textContent = text;
    dialog.querySelector("[value=yes]").textContent = action;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });

export const singleKeys = () => localStorage.getItem("keys") !== "off";

/** Whether to go on to the next image without a verdict after each verdict. */
export const advances = () => localStorage.getItem("advance") === "on";

const settings = $("settings");
$("advance").checked = advances();
$("advance").addEventListener("change", (event) => localStorage.setItem("advance", event.target.checked ? "on" : "off"));
$("open-settings").addEventListener("click", () => openSettings());
$("single-keys").checked = singleKeys();
$("single-keys").addEventListener("change", (event) => localStorage.setItem("keys", event.target.checked ? "on" : "off"));
$("theme").value = document.documentElement.dataset.theme;
$("theme").addEventListener("change", (event) => {
  localStorage.setItem("theme", event.target.value);
  document.documentElement.dataset.theme = event.target.value;
});

export const openSettings = () => settings.showModal();
