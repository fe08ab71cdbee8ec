// Panels: parts of a node that the pack draws itself, in the classic view and in Nodes 2.0.

const STYLE = `
  :host { display: block; box-sizing: border-box; width: 100%; height: 100%; overflow: hidden;
    color: var(--input-text, #ddd); font: 12px/1.4 var(--font-inter, Inter, Arial, sans-serif); }
  [hidden] { display: none !important; }
  .inside { box-sizing: border-box; width: 100%; height: 100%; overflow: auto; padding: 6px 8px; border-radius: 6px;
    background: var(--comfy-input-bg, #222); }
  .faint { opacity: 0.7; }
`;

const MARGIN = 10; // pixels that the classic view leaves around a panel

/**
 * Put a panel at the end of a node. It is no input: neither workflows nor prompts carry a value of it.
 *
 * @param node the node.
 * @param name of the widget.
 * @param height current height of what is drawn, in pixels, a function; 0 for nothing.
 * @param style further CSS, for this panel only.
 * @returns {widget, root}: `root` is the element to draw in.
 */
export function addPanel(node, name, height, style = "") {
  const element = document.createElement("div");
  element.className = "iqaadapter-panel";
  const shadow = element.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE + style);
  shadow.adoptedStyleSheets = [sheet];
  const root = make("div", "inside", shadow);
  const withMargin = () => (height() ? height() + 2 * MARGIN : 0);
  const widget = node.addDOMWidget(name, "iqaadapter_panel", element, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: withMargin,
    getMaxHeight: withMargin,
  });
  widget.serialize = false;
  sizeElement(element, height());
  return { widget, root };
}

/** Nodes 2.0 asks the element for its height. */
function sizeElement(element, height) {
  element.style.minHeight = `${height}px`;
  element.shadowRoot.firstElementChild.hidden = height === 0;
}

/** After a panel's height changed: at least as large a node as its contents need. */
export function fit(node, widget) {
  sizeElement(widget.element, Math.max(0, widget.options.getMinHeight() - 2 * MARGIN));
  const [width, height] = node.computeSize();
  if (node.size[0] < width || node.size[1] < height) {
    node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  }
  node.setDirtyCanvas(true, true);
}

/** A new element of a class with a text in it. */
export function make(tag, className, parent, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  parent?.append(element);
  return element;
}

/** Call `then` after a method or callback of an object, whatever it was before. */
export function after(object, method, then) {
  const before = object[method];
  object[method] = function (...given) {
    const result = before?.apply(this, given);
    then.apply(this, given);
    return result;
  };
}
