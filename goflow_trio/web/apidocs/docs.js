// Draws the OpenAPI description of this server. All text goes in as text, never as markup.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
}

// A schema in one line: "Execution", "string, date-time", "integer 1 to 1000, default 10".
function shown(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(shown).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${shown(schema.items) || "anything"}`;
  const limits = [];
  if (schema.minimum !== undefined) limits.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) limits.push(`to ${schema.maximum}`);
  if (schema.default !== undefined && schema.default !== null && schema.default !== "") limits.push(`default ${schema.default}`);
  return [schema.type ?? "anything", schema.format, limits.join(" ")].filter(Boolean).join(", ");
}

function row(...cells) {
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function curl(path, method, operation) {
  const body = operation.requestBody ? " --json '{}'" : "";
  return `curl ${method === "post" ? "-X POST " : ""}'${location.origin}${path}'${body}`;
}

function drawOperation(path, method, operation, document_) {
  const parameters = operation.parameters.map((parameter) =>
    row(make("code", {}, parameter.name), parameter.in, shown(parameter.schema), parameter.description ?? ""));
  const body = operation.requestBody?.content["application/json"].schema;
  const answers = Object.entries(operation.responses).map(([status, response]) => {
    const found = response.$ref ? document_.components.responses[response.$ref.split("/").pop()] : response;
    const kinds = Object.entries(found.content ?? {}).map(([kind, { schema }]) => `${shown(schema)} (${kind})`);
    return row(make("code", {}, status), found.description, kinds.join("; "));
  });
  return make("details", { id: operation.operationId },
    make("summary", {}, make("span", { class: "method" }, operation["x-websocket"] ? "WEBSOCKET" : method.toUpperCase()),
      make("code", {}, path), " ", make("span", { class: "quiet" }, operation.summary)),
    operation.description ? make("p", {}, operation.description) : "",
    make("pre", {}, curl(path, method, operation)),
    parameters.length ? make("table", {}, ...parameters) : "",
    body ? make("p", {}, `Body: ${shown(body)}`) : "",
    make("table", {}, ...answers));
}

function drawSchema(name, schema) {
  const fields = Object.entries(schema.properties ?? {}).map(([field, kind]) =>
    row(make("code", {}, field), shown(kind), schema.required?.includes(field) ? "" : "may be left out"));
  return make("details", { id: name }, make("summary", {}, make("code", {}, name), " ",
    make("span", { class: "quiet" }, schema.description ?? "")), make("table", {}, ...fields));
}

const main = document.getElementById("main");
const described = await (await fetch("openapi.json")).json();
main.append(
  make("h1", {}, `${described.info.title} ${described.info.version}`),
  make("p", {}, described.info.description, " The description itself: ", make("a", { href: "openapi.json" }, "openapi.json")));
for (const { name } of described.tags) {
  main.append(make("h2", {}, name));
  for (const [path, operations] of Object.entries(described.paths))
    for (const [method, operation] of Object.entries(operations))
      if (operation.tags[0] === name) main.append(drawOperation(path, method, operation, described));
}
main.append(make("h2", {}, "shapes"), ...Object.entries(described.components.schemas).map(([name, schema]) => drawSchema(name, schema)));
