// Returns the visible texts whose contrast with what is painted behind them is below 4.5 to 1.
() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });

  // The browser itself turns any CSS colour into red, green, blue and opacity.
  const parse = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) => {
    const blend = (i) => top[i] * top[3] + below[i] * (1 - top[3]);
    return [blend(0), blend(1), blend(2), 1];
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255, 1];
    const colour = parse(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour : over(colour, behind(element.parentElement ?? element.getRootNode().host));
  };
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const weak = [];
  const check = (element, text, pseudo) => {
    const ground = behind(element);
    const ink = over(parse(getComputedStyle(element, pseudo).color), ground);
    const ratio = contrast(ink, ground);
    if (ratio < 4.5) weak.push(`${ratio.toFixed(2)} <${element.tagName} id=${element.id} class=${element.className}> ${text}`);
  };
  // What stands in a shadow root is painted too; behind it is its host.
  const all = (root) => [...root.querySelectorAll("*")].flatMap((element) =>
    element.shadowRoot ? [element, ...all(element.shadowRoot)] : [element]);
  for (const element of all(document.body)) {
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const text = [...element.childNodes].find((node) => node.nodeType === 3 && node.data.trim());
    if (text) check(element, text.data.trim().slice(0, 40), undefined);
    if (element.matches("input, select, textarea")) check(element, "value", undefined);
    if (element.placeholder) check(element, "placeholder", "::placeholder");
    if (element.dataset.group) check(element, "group", "::before");
  }
  return weak;
}
