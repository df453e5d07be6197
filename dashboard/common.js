// What both pages share: the live list of executions, state marks, and calls of the API. Text is only ever set as text.

export const GLYPHS = {
  notstarted: "◷", running: "◔", upforretry: "↻", skipped: "»", failed: "✕", successful: "✓", cancelled: "⊘",
};

export function element(name, options = {}, ...children) {
  const node = document.createElement(name);
  Object.assign(node, options);
  node.append(...children);
  return node;
}

export function mark(state) {
  const node = element("span", { className: `state ${state}`, title: state, textContent: GLYPHS[state] ?? "?" });
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", state);
  return node;
}

export function button(label, action) {
  const node = element("button", { type: "button", textContent: label });
  node.addEventListener("click", async () => {
    node.disabled = true;
    try { await action(); say(""); } catch (error) { say(error.message); } finally { node.disabled = false; }
  });
  return node;
}

export function say(text) {
  const node = document.getElementById("message");
  node.textContent = text;
  node.hidden = !text;
}

export async function call(path, method = "GET") {
  const answer = await fetch(path, { method });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `${path} answered ${answer.status}`);
  return body;
}

// Calls `changed` with all executions by id whenever some changed, at most once a frame.
export function follow(job, changed) {
  const executions = new Map();
  const connection = document.getElementById("connection");
  let scheduled = false;
  const source = new EventSource(`/stream${job ? `?jobname=${encodeURIComponent(job)}` : ""}`);
  source.onopen = () => { connection.textContent = "live"; };
  source.onerror = () => { connection.textContent = "not connected, trying again…"; };
  source.onmessage = (event) => {
    const execution = JSON.parse(event.data);
    executions.set(execution.id, execution);
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; changed(executions); });
  };
}

export const newestFirst = (executions) => [...executions.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
