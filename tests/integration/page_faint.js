// Texts that WCAG 2 AA calls too faint, with their contrast.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = ([red, green, blue, alpha], under) =>
    [red, green, blue].map((value, i) => (value * alpha) / 255 + under[i] * (1 - alpha / 255));
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const behind = (node) => {
    if (!node) return dark ? [0, 0, 0] : [255, 255, 255];
    return over(rgba(getComputedStyle(node).backgroundColor), behind(node.parentElement));
  };
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility()) continue;
    if (node.closest("script, style, noscript, option")) continue;
    const style = getComputedStyle(node);
    const ground = behind(node);
    const both = [luminance(ground), luminance(over(rgba(style.color), ground))];
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const shown = text.data.trim().slice(0, 40);
    if (ratio < (large ? 3 : 4.5)) faint.push([shown, ratio.toFixed(2)]);
  }
  return faint;
}
