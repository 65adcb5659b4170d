"""A real headless Chromium, and what it is asked about a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that is installed on this machine."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, (
        f"the page is tested in Chromium, and none of {', '.join(_NAMES)} is installed: "
        "`apt-get install -y chromium` on Debian or Ubuntu, or put any Chromium on the PATH as "
        "`chromium`"
    )
    expect.set_options(timeout=30_000)  # a machine busy with other tests is slow
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, under) => top.slice(0, 3).map((value, i) => value * top[3] / 255 + under[i] * (1 - top[3] / 255));
  const behind = (node) => {
    if (!node) return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
    return over(rgba(getComputedStyle(node).backgroundColor), behind(node.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility() || node.closest("script, style, noscript, option")) continue;
    const style = getComputedStyle(node), ground = behind(node), ink = over(rgba(style.color), ground);
    const [dark, bright] = [light(ground), light(ink)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.push([text.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return faint;
}"""
"""Texts that WCAG 2 AA calls too faint, with their contrast."""

UNLABELLED = """() => {
  const named = (node) => (node.getAttribute("aria-label") || [...(node.labels ?? [])].map((label) => label.textContent).join("")
    || (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("")
    || (node.matches("button, a, [role=tab], [role=option], figure") ? node.textContent : "")).trim();
  const found = [];
  for (const node of document.querySelectorAll("button, a, input, select, [role=listbox], [role=tablist], [role=tabpanel], [role=region], dialog")) {
    if (!named(node)) found.push(`no name: ${node.outerHTML.slice(0, 90)}`);
  }
  for (const image of document.images) if (image.getAttribute("alt") === null) found.push(`no alt: ${image.outerHTML.slice(0, 90)}`);
  for (const node of document.querySelectorAll("*")) {
    for (const name of ["aria-controls", "aria-labelledby", "aria-describedby", "for"]) {
      for (const id of (node.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) found.push(`${name} names nothing: ${id}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) found.push(`twice: ${id}`);
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter((node) => node.checkVisibility()).map((node) => Number(node.tagName[1]));
  levels.reduce((last, level) => { if (level > last + 1) found.push(`a heading of level ${level} under ${last}`); return level; }, 0);
  if (!document.documentElement.lang) found.push("no language");
  return found;
}"""
"""What a screen reader could not make sense of."""
