// Shows the text results of Score Images and Response Curve on the nodes themselves, as soon as they have run.

import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

function tableWidget(node) {
  const { widget } = ComfyWidgets.STRING(node, "scores", ["STRING", { multiline: true }], app);
  widget.serialize = false; // a result: neither the workflow
  widget.options.serialize = false; // nor the prompt carries it
  widget.element.readOnly = true;
  Object.assign(widget.element.style, { fontFamily: "monospace", whiteSpace: "pre" });
  return widget;
}

app.registerExtension({
  name: "IQAAdapter.ScoreTable",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!["IQAScoreImages", "IQAResponseCurve"].includes(nodeData.name)) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.call(this, output);
      const widget = this.widgets?.find(({ name }) => name === "scores") ?? tableWidget(this);
      widget.value = output.text.join("\n");
    };
  },
});
