// What a screen reader could not make sense of.
() => {
  const names = (node) => [
    node.getAttribute("aria-label") ?? "",
    ...[...(node.labels ?? [])].map((label) => label.textContent),
    ...ids(node, "aria-labelledby").map((id) => document.getElementById(id)?.textContent ?? ""),
    node.matches("button, a, [role=tab], [role=option], figure") ? node.textContent : "",
  ];
  const ids = (node, attribute) => (node.getAttribute(attribute) ?? "").split(" ").filter(Boolean);
  const shown = (node) => node.outerHTML.slice(0, 90);
  const found = [];

  const roles = ["listbox", "tablist", "tabpanel", "region"].map((role) => `[role=${role}]`);
  const needing = ["button", "a", "input", "select", ...roles, "dialog"].join(", ");
  for (const node of document.querySelectorAll(needing)) {
    if (!names(node).join("").trim()) found.push(`no name: ${shown(node)}`);
  }
  for (const image of document.images) {
    if (image.getAttribute("alt") === null) found.push(`no alt: ${shown(image)}`);
  }

  for (const node of document.querySelectorAll("*")) {
    for (const attribute of ["aria-controls", "aria-labelledby", "aria-describedby", "for"]) {
      for (const id of ids(node, attribute)) {
        if (!document.getElementById(id)) found.push(`${attribute} names nothing: ${id}`);
      }
    }
  }
  const every = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(every)) {
    if (every.filter((other) => other === id).length > 1) found.push(`twice: ${id}`);
  }

  let last = 0;
  for (const node of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!node.checkVisibility()) continue;
    const level = Number(node.tagName[1]);
    if (last && level > last + 1) found.push(`a heading of level ${level} under ${last}`);
    last = level;
  }
  if (!document.documentElement.lang) found.push("no language");
  return found;
}
