import { button, call, element, follow, mark, newestFirst, say } from "./common.js";

const LATEST = 25;
const strips = new Map();

async function show() {
  const { jobs } = await call("/api/jobs");
  document.getElementById("empty").hidden = jobs.length > 0;
  for (const name of jobs) {
    const path = `/api/jobs/${encodeURIComponent(name)}`;
    const details = await call(path);
    const schedule = element("td");
    const showSchedule = (active) => {
      schedule.textContent = details.schedule ? `${details.schedule} ${active ? "(on)" : "(off)"}` : "by hand";
    };
    showSchedule(details.active);
    const strip = element("td", { className: "strip", textContent: "never ran" });
    strips.set(name, strip);
    const actions = element("td", { className: "actions" }, button("Execute", () => call(`${path}/submit`, "POST")));
    if (details.schedule) {
      actions.append(button("Toggle", async () => showSchedule((await call(`${path}/toggle`, "POST")).active)));
    }
    const link = element("a", { href: `/ui/jobs/${encodeURIComponent(name)}`, textContent: name });
    const heading = element("th", { scope: "row" }, link);
    document.getElementById("jobs").append(element("tr", {}, heading, schedule, strip, actions));
  }
  follow("", (executions) => {
    for (const [name, strip] of strips) {
      const latest = newestFirst(executions).filter((execution) => execution.job === name).slice(0, LATEST);
      if (latest.length) strip.replaceChildren(...latest.reverse().map((execution) => mark(execution.state)));
    }
  });
}

show().catch((error) => say(`The jobs could not be read: ${error.message}`));
