import { button, call, element, follow, mark, newestFirst, say } from "./common.js";

const FINAL = new Set(["successful", "failed", "skipped", "cancelled"]);
const name = decodeURIComponent(location.pathname.split("/").at(-1));
const path = `/api/jobs/${encodeURIComponent(name)}`;

async function show() {
  const details = await call(path);
  document.title = `${name} · goflow`;
  document.getElementById("name").textContent = name;
  const schedule = document.getElementById("schedule");
  const showSchedule = (active) => {
    schedule.textContent = details.schedule
      ? `Schedule ${details.schedule} (${details.timezone}), switched ${active ? "on" : "off"}`
      : "Runs when it is executed by hand.";
  };
  showSchedule(details.active);
  const actions = document.getElementById("actions");
  actions.append(button("Execute", () => call(`${path}/submit`, "POST")));
  if (details.schedule) {
    actions.append(button("Toggle", async () => showSchedule((await call(`${path}/toggle`, "POST")).active)));
  }
  const states = new Map();
  for (const task of details.tasks) {
    const state = element("td", { textContent: "never ran" });
    states.set(task, state);
    const heading = element("th", { scope: "row", textContent: task });
    const after = element("td", { textContent: details.dag[task].join(", ") || "–" });
    document.getElementById("tasks").append(element("tr", {}, heading, state, after));
  }
  follow(name, (executions) => {
    const newest = newestFirst(executions);
    for (const { name: task, state } of newest[0].tasks) {
      states.get(task)?.replaceChildren(mark(state), ` ${state}`);
    }
    document.getElementById("executions").replaceChildren(...newest.slice(0, 50).map(row));
  });
}

function row(execution) {
  const submitted = element("time", {
    dateTime: execution.submitted,
    title: execution.submitted,
    textContent: new Date(execution.submitted).toLocaleString(),
  });
  const actions = element("td");
  if (!FINAL.has(execution.state)) {
    actions.append(button("Cancel", () => call(`/api/executions/${execution.id}/cancel`, "POST")));
  }
  return element("tr", {}, element("td", {}, submitted), element("td", {}, mark(execution.state), ` ${execution.state}`),
    element("td", { textContent: execution.reason }), actions);
}

show().catch((error) => say(`The job could not be read: ${error.message}`));
