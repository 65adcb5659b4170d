// The API's documentation, generated from openapi.json: request and response of each call, and an example to send.

import { call } from "./api.js";
import { el, find } from "./dom.js";

const api = await (await fetch("/openapi.json")).json();
const schemas = api.components?.schemas ?? {};

/** A schema, with its reference resolved. */
const resolved = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] ?? {} : schema ?? {});

/** A schema's type as text: "list of text", "Filters", "integer or null". */
function typed(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typed).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typed(schema.items ?? {})}`;
  return { string: "text", integer: "integer", number: "number", boolean: "true or false", null: "null", object: "object" }[schema.type] ?? "anything";
}

const WORDS = { minimum: "at least", maximum: "at most", maxLength: "length at most", maxItems: "length at most" };

/** The default and the limits of a value. */
function limits(schema, required) {
  const parts = Object.entries(WORDS).filter(([key]) => schema[key] !== undefined).map(([key, word]) => `${word} ${schema[key]}`);
  if (required) parts.unshift("required");
  else if (schema.default !== undefined) parts.unshift(`default ${JSON.stringify(schema.default)}`);
  return parts.join(", ");
}

/** A table of the fields; nested schemas follow under their own headings. */
function fields(schema, seen = new Set()) {
  const { properties = {}, required = [] } = resolved(schema);
  const rows = Object.entries(properties).map(([name, field]) =>
    el("tr", {}, el("th", { scope: "row" }, el("code", {}, name)), el("td", {}, typed(field)),
      el("td", {}, limits(field, required.includes(name))), el("td", {}, field.description ?? "")));
  const parts = JSON.stringify(properties).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g);
  const below = [...new Set([...parts].map((match) => match[1]))].filter((name) => !seen.has(name));
  below.forEach((name) => seen.add(name));
  return [
    rows.length ? el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, rows))) : null,
    below.map((name) => [el("h4", {}, name), fields(schemas[name], seen)]),
  ];
}

const ofBody = (content) => content?.["application/json"]?.schema;

/** The example of a body. */
const example = (schema) => schema.examples?.[0] ?? resolved(schema).examples?.[0] ?? {};

/** The first entry of a list that the service gives without a key; otherwise nothing. */
async function first(path, list) {
  const answer = await fetch(`${path}?limit=1`, { credentials: "omit" }).catch(() => null);
  return answer?.ok ? (await answer.json())[list]?.[0] : undefined;
}

/** What exists here, so that examples have an answer. */
const [user, item, category] = await Promise.all([first("/v1/users", "users"), first("/v1/items", "items"), first("/v1/categories", "categories")]);
const HERE = { user_id: user?.user_id, item_id: item?.item_id, items: item && [item.item_id], history: item && [item.item_id], categories: category && [category.name] };

/** An example with users, items and categories that exist here. */
function local(value) {
  if (Array.isArray(value)) return value.map(local);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, HERE[key] !== undefined && known(inner) ? HERE[key] : local(inner)]));
}

/** Whether a value consists of ids or names, and so can be replaced by others. */
const known = (value) => typeof value === "string" || (Array.isArray(value) && value.every((one) => typeof one === "string"));

/** A form that sends a request and shows the response. */
function sender(path, method, body) {
  const route = el("input", { type: "text", value: path, "aria-label": "Path", spellcheck: "false" });
  const text = body ? el("textarea", { rows: 8, "aria-label": "Body", spellcheck: "false" }, JSON.stringify(local(example(body)), null, 2)) : null;
  const answer = el("pre", { role: "status", hidden: true });
  const send = async () => {
    answer.hidden = false;
    try {
      const result = await call(route.value, body ? { body: JSON.parse(text.value) } : {});
      answer.textContent = JSON.stringify(result, null, 2);
    } catch (error) {
      answer.textContent = [error.message, error.fix].filter(Boolean).join(" ");
    }
  };
  return el("div", { class: "send" }, route, text, el("button", { type: "button", class: "primary", onclick: send }, "Send"), answer);
}

function oneCall(path, method, spec) {
  const body = ofBody(spec.requestBody?.content), answers = ofBody(spec.responses?.[200]?.content);
  const asked = (spec.parameters ?? []).map(({ name, in: where, required, schema, description }) =>
    el("tr", {}, el("th", { scope: "row" }, el("code", {}, name)), el("td", {}, `${typed(schema)}, in the ${where}`),
      el("td", {}, limits(schema, required)), el("td", {}, description ?? "")));
  const others = Object.entries(spec.responses ?? {}).filter(([status]) => status !== "200");
  return el("details", { class: "call", id: `${method}${path.replaceAll(/\W+/g, "-")}` },
    el("summary", {}, el("strong", {}, method.toUpperCase()), " ", el("code", {}, path), " ", el("span", { class: "hint" }, spec.description ?? spec.summary ?? "")),
    asked.length ? [el("h3", {}, "Parameters"), el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, asked)))] : null,
    body ? [el("h3", {}, "Request body"), fields(body)] : null,
    answers ? [el("h3", {}, "Response"), fields(answers)] : null,
    others.length ? [el("h3", {}, "Other responses"), el("ul", {}, others.map(([status, one]) => el("li", {}, el("code", {}, status), " ", one.description)))] : null,
    answers ? [el("h3", {}, "Try it"), sender(path, method, body)] : null);
}

find("description").textContent = (api.info.description ?? "").replaceAll(/[*`]/g, "");
const byTag = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, spec] of Object.entries(methods)) {
    const tag = spec.tags?.[0] ?? "other";
    byTag.set(tag, [...(byTag.get(tag) ?? []), oneCall(path, method, spec)]);
  }
}
for (const [tag, calls] of byTag) find("calls").append(el("h2", {}, tag[0].toUpperCase() + tag.slice(1)), ...calls);
