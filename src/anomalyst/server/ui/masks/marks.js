// What is drawn over the picture and its masks: clicks, boxes, regions found, the brush.
(function () {
  window.anomalyst = window.anomalyst || {};

  anomalyst.drawMarks = (context, editor) => {
    const { canvas, session, pointer } = editor, { points, box } = session.state;
    const outline = ([x0, y0, x1, y1], colour, dashes) => {
      const [left, top] = canvas.toScreen(x0, y0);
      context.setLineDash(dashes);
      context.lineWidth = 1.5;
      context.strokeStyle = colour;
      context.strokeRect(left, top, (x1 - x0) * canvas.scale, (y1 - y0) * canvas.scale);
      context.setLineDash([]);
      return [left, top];
    };
    context.font = "700 12px ui-monospace, monospace";
    editor.about.regions.forEach((region, index) => {
      const [left, top] = outline(region.box_xyxy, "rgba(64,224,255,.75)", [3, 4]);
      context.fillStyle = "#111";
      context.fillRect(left - 1, top - 15, 15, 15);
      context.fillStyle = "#40e0ff";
      context.fillText(index + 1, left + 3, top - 4);
    });
    if (box) outline(box, "#fff", []);
    if (pointer.drag && pointer.drag.box) outline(pointer.drag.box, "#fff", [6, 4]);
    for (const { x, y, positive } of points) {
      const [left, top] = canvas.toScreen(x, y);
      context.beginPath();
      context.arc(left, top, 7, 0, 2 * Math.PI);
      context.fillStyle = positive ? "#12a150" : "#d3273a";
      context.fill();
      context.strokeStyle = "#fff";
      context.lineWidth = 2;
      context.stroke();
      context.beginPath();
      context.moveTo(left - 3.5, top);
      context.lineTo(left + 3.5, top);
      if (positive) {
        context.moveTo(left, top - 3.5);
        context.lineTo(left, top + 3.5);
      }
      context.stroke();
    }
    if (pointer.cursor) crosshair(context, editor, pointer.cursor);
  };

  function crosshair(context, editor, [x, y]) {
    const round = editor.tool === "brush" || editor.tool === "eraser";
    for (const [colour, width] of [["rgba(0,0,0,.7)", 3], ["#fff", 1.2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      if (round) context.arc(x, y, editor.radius, 0, 2 * Math.PI);
      else if (editor.pointer.byKeys || editor.tool === "box") {
        for (const [dx, dy] of [[9, 0], [0, 9]]) {
          context.moveTo(x - dx, y - dy);
          context.lineTo(x + dx, y + dy);
        }
      }
      context.stroke();
    }
  }
})();
