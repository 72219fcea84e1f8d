// Trajectory viewer: balls, sticks and the periodic box on a plain 2D canvas.
// One <figure class="viewer"> holds a canvas, the controls and the data (see viewer.py).
"use strict";

function decodeTrajectory(data) {
  const bytes = Uint8Array.from(atob(data.positions), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const positions = new Float32Array(bytes.length / 2);
  for (let k = 0; k < positions.length; k++) {
    positions[k] = data.origin[k % 3] + data.scale[k % 3] * (view.getInt16(2 * k, true) + 32768);
  }
  return positions;
}

function mixColors(a, b, t) {
  const parts = (c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
  const [p, q] = [parts(a), parts(b)];
  return "#" + p.map((v, i) => Math.round(v + (q[i] - v) * t).toString(16).padStart(2, "0")).join("");
}

function startViewer(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const canvas = figure.querySelector("canvas");
  const [play, slider, clock] = ["button", "input", "output"].map((s) => figure.querySelector(s));
  const context = canvas.getContext("2d");
  const all = decodeTrajectory(data);
  const atoms = data.kinds.length;
  const radii = data.kinds.map((k) => 0.25 + 0.28 * data.elements[k].radius);
  const reach = data.kinds.map((k) => data.bond * data.elements[k].radius);
  const home = { rotation: multiply(turn(1, -0.5), turn(0, 0.35)), zoom: 1 };
  const state = { frame: 0, playing: false, rotation: home.rotation, zoom: 1, sprites: new Map() };
  const levels = 6; // steps of depth shading

  function turn(axis, angle) {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return axis === 0 ? [1, 0, 0, 0, c, -s, 0, s, c] : [c, 0, s, 0, 1, 0, -s, 0, c];
  }

  function multiply(a, b) {
    return a.map((_, k) => {
      const [row, column] = [3 * Math.floor(k / 3), k % 3];
      return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6];
    });
  }

  function corners(frame) {
    if (!data.cells.length) return null;
    const c = data.cells[Math.min(frame, data.cells.length - 1)];
    return [...Array(8).keys()].map((k) =>
      [0, 1, 2].map((x) => (k & 1 ? c[x] : 0) + (k & 2 ? c[3 + x] : 0) + (k & 4 ? c[6 + x] : 0)));
  }

  // The view is centred on the cell of the first frame, or on the atoms.
  const outline = corners(0) || [data.origin, data.origin.map((o, x) => o + 65535 * data.scale[x])];
  const centre = [0, 1, 2].map((x) => outline.reduce((sum, p) => sum + p[x], 0) / outline.length);
  const size = Math.max(2, ...outline.map((p) => Math.hypot(...p.map((v, x) => v - centre[x]))));

  function project(x, y, z) {
    const m = state.rotation;
    const [a, b, c] = [x - centre[0], y - centre[1], z - centre[2]];
    const depth = m[6] * a + m[7] * b + m[8] * c;
    const scale = (state.zoom * state.pixels * 4) / (4 * size - depth); // mild perspective
    return [
      state.width / 2 + scale * (m[0] * a + m[1] * b + m[2] * c),
      state.height / 2 - scale * (m[3] * a + m[4] * b + m[5] * c),
      depth, scale,
    ];
  }

  const fogOf = (depth) => Math.max(0, Math.min(0.6, 0.3 - (0.3 * depth) / size));

  function sprite(kind, fog) {
    const level = Math.round((fog / 0.6) * (levels - 1));
    const key = kind * levels + level;
    if (!state.sprites.has(key)) {
      const ball = document.createElement("canvas");
      ball.width = ball.height = 96;
      const pen = ball.getContext("2d");
      const base = mixColors(data.elements[kind].color, state.paper, (0.6 * level) / (levels - 1));
      const light = pen.createRadialGradient(36, 32, 4, 48, 48, 46);
      light.addColorStop(0, mixColors(base, "#ffffff", 0.75));
      light.addColorStop(0.35, base);
      light.addColorStop(1, mixColors(base, "#000000", 0.45));
      pen.fillStyle = light;
      pen.beginPath();
      pen.arc(48, 48, 46, 0, 2 * Math.PI);
      pen.fill();
      state.sprites.set(key, ball);
    }
    return state.sprites.get(key);
  }

  function bondsOf(p) {
    const bonds = [];
    if (atoms > 3000) return bonds;
    for (let i = 0; i < atoms; i++) {
      for (let j = i + 1; j < atoms; j++) {
        const far = reach[i] + reach[j];
        const dx = p[3 * i] - p[3 * j];
        if (dx > far || dx < -far) continue;
        const dy = p[3 * i + 1] - p[3 * j + 1];
        const dz = p[3 * i + 2] - p[3 * j + 2];
        if (dx * dx + dy * dy + dz * dz < far * far) bonds.push([i, j]);
      }
    }
    return bonds;
  }

  function items(p) {
    const points = [];
    for (let i = 0; i < atoms; i++) points.push(project(p[3 * i], p[3 * i + 1], p[3 * i + 2]));
    const list = points.map((q, i) => ({ depth: q[2], atom: i }));
    for (const [i, j] of bondsOf(p)) {
      const middle = points[i].map((v, k) => (v + points[j][k]) / 2);
      list.push({ depth: (points[i][2] + middle[2]) / 2 - 0.05, from: i, middle });
      list.push({ depth: (points[j][2] + middle[2]) / 2 - 0.05, from: j, middle });
    }
    const box = corners(state.frame);
    if (box) {
      const q = box.map((c) => project(...c));
      for (const [a, b] of [[0, 1], [0, 2], [0, 4], [1, 3], [1, 5], [2, 3], [2, 6], [3, 7], [4, 5], [4, 6], [5, 7], [6, 7]]) {
        list.push({ depth: (q[a][2] + q[b][2]) / 2, edge: [q[a], q[b]] });
      }
    }
    list.sort((a, b) => a.depth - b.depth);
    return [list, points];
  }

  function line(a, b, color, width) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(a[0], a[1]);
    context.lineTo(b[0], b[1]);
    context.stroke();
  }

  function draw() {
    const p = all.subarray(3 * atoms * state.frame, 3 * atoms * (state.frame + 1));
    const [list, points] = items(p);
    context.clearRect(0, 0, state.width, state.height);
    context.lineCap = "round";
    for (const item of list) {
      const fog = fogOf(item.depth);
      if (item.edge) {
        line(...item.edge, mixColors(state.ink, state.paper, 0.35 + fog * 0.8), 1);
      } else if (item.middle) {
        const kind = data.elements[data.kinds[item.from]];
        const color = mixColors(mixColors(kind.color, "#000000", 0.2), state.paper, fog);
        line(points[item.from], item.middle, color, 0.2 * points[item.from][3]);
      } else {
        const [x, y, , scale] = points[item.atom];
        const r = radii[item.atom] * scale;
        context.drawImage(sprite(data.kinds[item.atom], fog), x - r, y - r, 2 * r, 2 * r);
      }
    }
    slider.value = state.frame;
    const time = data.timeStep ? `${(state.frame * data.timeStep).toFixed(2)} ps` : `frame ${state.frame + 1}`;
    if (clock.value !== time) clock.value = time;
    slider.setAttribute("aria-valuetext", time);
  }

  const request = () => {
    if (!state.waiting) state.waiting = requestAnimationFrame(() => { state.waiting = 0; draw(); });
  };

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    const colors = getComputedStyle(canvas);
    state.width = canvas.clientWidth;
    state.height = canvas.clientHeight;
    state.pixels = (0.5 * Math.min(state.width, state.height) * 1.02);
    canvas.width = Math.round(state.width * ratio);
    canvas.height = Math.round(state.height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    state.paper = colors.getPropertyValue("--paper").trim();
    state.ink = colors.getPropertyValue("--ink").trim();
    state.sprites.clear();
    draw();
  }

  function setFrame(frame) {
    state.frame = ((frame % data.frames) + data.frames) % data.frames;
    request();
  }

  function setPlaying(on) {
    state.playing = on && data.frames > 1;
    play.textContent = state.playing ? "Pause" : "Play";
    let last = performance.now();
    const tick = (now) => {
      if (!state.playing) return;
      if (now - last > 45) {
        last = now;
        if (figure.dataset.visible !== "no") setFrame(state.frame + 1);
      }
      requestAnimationFrame(tick);
    };
    if (state.playing) requestAnimationFrame(tick);
  }

  function rotate(dx, dy) {
    state.rotation = multiply(multiply(turn(1, dx), turn(0, dy)), state.rotation);
    request();
  }

  function zoom(factor) {
    state.zoom = Math.max(0.3, Math.min(12, state.zoom * factor));
    request();
  }

  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...pointers].find(([id]) => id !== event.pointerId);
    if (other) {
      const distance = (p) => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]) || 1;
      zoom(distance(now) / distance(before));
    } else {
      rotate((now[0] - before[0]) * 0.008, (now[1] - before[1]) * 0.008);
    }
    pointers.set(event.pointerId, now);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; // let the page scroll until clicked
    event.preventDefault();
    zoom(Math.exp(-0.0015 * event.deltaY));
  }, { passive: false });
  const keys = {
    ArrowLeft: () => rotate(-0.1, 0), ArrowRight: () => rotate(0.1, 0),
    ArrowUp: () => rotate(0, -0.1), ArrowDown: () => rotate(0, 0.1),
    "+": () => zoom(1.15), "=": () => zoom(1.15), "-": () => zoom(1 / 1.15),
    " ": () => setPlaying(!state.playing),
    ",": () => setFrame(state.frame - 1), ".": () => setFrame(state.frame + 1),
    Home: () => { state.rotation = home.rotation; state.zoom = home.zoom; request(); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  play.addEventListener("click", () => setPlaying(!state.playing));
  slider.addEventListener("input", () => { setPlaying(false); setFrame(Number(slider.value)); });
  new IntersectionObserver((entries) => {
    figure.dataset.visible = entries[entries.length - 1].isIntersecting ? "yes" : "no";
  }).observe(canvas);
  new ResizeObserver(resize).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);
  resize();
  setPlaying(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
}

document.querySelectorAll("figure.viewer").forEach(startViewer);
