// The pack's templates open on their first step, at a size at which it can be read.
//
// ComfyUI 0.33 fits a template whole into the window; 0.3.75 takes the view that the file tells, which leaves Nodes 2.0
// out of account. Copies that the user saves open as they were left: the mark of a template is taken off.

import { app } from "../../scripts/app.js";

const MARK = "iqaadapter_opening_view";
const CORNER = [90, 135]; // pixels to the left of the first step and above it, where the front end has its bars
const OTHER = [20, 20]; // pixels that stay free to its right and below it

app.registerExtension({
  name: "iqaadapter.opening_view",
  afterConfigureGraph() {
    const { extra, _groups } = app.graph;
    if (!extra?.[MARK]) return;
    delete extra[MARK];
    const { canvas, ds } = app.canvas;
    const { pos, size } = _groups[0];
    const space = [canvas.clientWidth, canvas.clientHeight].map((all, axis) => all - CORNER[axis] - OTHER[axis]);
    ds.scale = Math.min(1, space[0] / size[0], space[1] / size[1]);
    ds.offset = CORNER.map((edge, axis) => edge / ds.scale - pos[axis]);
    app.canvas.setDirty(true, true);
  },
});
