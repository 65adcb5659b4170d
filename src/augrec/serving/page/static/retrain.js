// The second tab: the decision of the last retrain, and its reasons.

import { call, keyed } from "./api.js";
import { el, find, trainedOn } from "./dom.js";

const KINDS = { real: "real data", placebo: "placebo", generated: "generated" };
const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const plain = (name) => (name ?? "–").replaceAll("_", " ");
const when = (text) => new Date(text).toLocaleString("en", { dateStyle: "long", timeStyle: "short" });

/** Load and show it; called each time the tab is opened. */
export async function show() {
  const panel = find("retrain");
  if (!panel.childElementCount) panel.replaceChildren(message("One moment …", "Loading the last retrain."));
  try {
    const result = await call("/v1/page/retrain");
    if (result.state === "asking") {
      setTimeout(() => panel.hidden || show(), 1000);
      return;
    }
    panel.replaceChildren(...(STATES[result.state] ?? STATES.unreachable)(result));
  } catch (error) {
    panel.replaceChildren(message("Cannot show the last retrain", error.message));
  }
}

const STATES = {
  none: () => [message("Nothing has been retrained yet", "After the first run (augrec run), its decision and its audits are shown here.")],
  unreachable: () => [message("The registry does not answer", "Recommendations do not need it. Open this tab again in a minute.")],
  decided: (result) => [verdict(result), scores(result), ...audits(result), gate(result), moves(result), moreFigures(result)].filter(Boolean),
};

function message(title, text) {
  return el("div", { class: "message" }, el("h1", {}, title), el("p", {}, text));
}

function verdict({ run, winner, verdict: chosen, sentences, outcome, stale }) {
  const links = keyed() ? null : el("a", { href: "/v1/page/report", target: "_blank", rel: "noopener" }, "Full report");
  return el("div", { class: "verdict" },
    el("h1", {}, chosen === "generated" ? "Generated data is used" : "No generated data this time"),
    [...sentences, outcome].filter(Boolean).map((sentence) => el("p", {}, sentence)),
    el("p", { class: "facts" }, el("span", {}, `Decided ${when(run.finished)}`),
      el("span", {}, "Chosen: ", el("strong", {}, `${winner.recommender}, trained on ${trainedOn(winner.policy)}`)),
      el("span", {}, `Commit ${run.commit.slice(0, 8)}`), links),
    stale ? el("p", { class: "hint", role: "status" }, "The registry does not answer now: this is the previous state.") : null);
}

function scores({ arms, groups, metric, rule }) {
  if (!arms.length) return null;
  const best = groups.map((_, place) => Math.max(...arms.map((arm) => arm.values[place] ?? -1)));
  const head = el("tr", {}, el("th", { scope: "col" }, "recommender"), el("th", { scope: "col" }, "trained on"),
    el("th", { scope: "col", class: "n" }, "validation", el("small", {}, "chosen by")), groups.map(({ name, users }) => el("th", { scope: "col", class: "n" }, name, el("small", {}, users === null ? "" : `${users.toLocaleString("en")} users`))));
  const rows = arms.map((arm) => el("tr", { class: arm.won ? "won" : null },
    el("th", { scope: "row" }, arm.recommender, arm.won ? el("span", { class: "spoken" }, " (chosen)") : null),
    el("td", {}, el("span", { class: `kind ${arm.kind}` }, plain(arm.policy)), el("span", { class: "spoken" }, `, ${KINDS[arm.kind] ?? arm.kind}`), arm.words ? el("small", {}, arm.words) : null),
    el("td", { class: "n" }, number(arm.valid)), arm.values.map((value, place) => el("td", { class: value !== null && value === best[place] ? "n best" : "n" }, number(value)))));
  return el("section", {}, el("h2", { id: "scores" }, "Results of each model"),
    el("p", { class: "hint" }, `${metric} on test users, by the length of their history; 1 is a perfect list. The highlighted row was chosen, bold is the best of a column. ${rule}`),
    el("p", { class: "legend" }, Object.entries(KINDS).map(([kind, words]) => el("span", { class: `kind ${kind}` }, words))),
    scroll("scores", el("table", {}, el("thead", {}, head), el("tbody", {}, rows))));
}

function audits({ audits: found, figures }) {
  const drawn = figures.filter((figure) => figure.section === "generated");
  return [el("section", {}, el("h2", {}, "Audits of the generated data"),
    found.length ? el("p", { class: "hint" }, "A sample may be used only within limits: coverage of the items, diversity, copies of users, and how well an attacker recognises training users.")
      : el("p", { class: "hint" }, "This run generated nothing."),
    found.map(audit), pictures(drawn))];
}

function audit({ generator, passed, limits }) {
  const id = `audit-${generator}`;
  const rows = limits.map((row) => el("tr", {}, el("th", { scope: "row" }, row.name), el("td", { class: "n" }, number(row.value)),
    el("td", { class: "n" }, `${row.bound} ${row.limit}`), el("td", {}, row.undecided ? el("span", { class: row.passed ? "" : "no" }, "? too few users") : yes(row.passed))));
  return el("div", {}, el("h3", { id }, plain(generator), ": ", el("span", { class: passed ? "yes" : "no" }, passed ? "passed" : "failed")),
    rows.length ? scroll(id, el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "measured"), el("th", { scope: "col", class: "n" }, "found"),
      el("th", { scope: "col", class: "n" }, "allowed"), el("th", { scope: "col" }, "held"))), el("tbody", {}, rows))) : null);
}

function gate({ recommenders }) {
  if (!recommenders.length) return null;
  const rows = recommenders.map((row) => el("tr", {}, el("th", { scope: "row" }, row.recommender), el("td", {}, plain(row.candidate)),
    el("td", {}, yes(row.accepted)), el("td", {}, plain(row.chosen)), el("td", { class: "words" }, row.reason)));
  const heads = ["recommender", "best with generated data", "accepted", "chosen", "because"];
  return el("section", {}, el("h2", { id: "gate" }, "Results of the gate"),
    scroll("gate", el("table", {}, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows))));
}

const MOVED = { promote: "became champion", rollback: "was restored", reject: "was rejected" };

function instead(kind, replaced) {
  if (!replaced) return "";
  return kind === "reject" ? `, version ${replaced} stays` : ` in place of version ${replaced}`;
}

function moves({ moves: done }) {
  if (!done?.length) return null;
  const line = ({ kind, version, replaced, reason, at }) => el("li", {},
    `Version ${version} ${MOVED[kind]}${instead(kind, replaced)}.`,
    el("small", {}, `${when(at)} · ${reason}`));
  return el("section", {}, el("h2", {}, "Changes of the champion"), el("ol", { class: "moves" }, done.map(line)));
}

function moreFigures({ figures }) {
  const rest = figures.filter((figure) => figure.section !== "generated");
  return rest.length ? el("details", {}, el("summary", {}, `${rest.length} more figures of this run`), pictures(rest)) : null;
}

function pictures(figures) {
  return figures.length ? el("div", { class: "figures" }, figures.map(picture)) : null;
}

/** As an image, an SVG cannot run scripts or load anything. */
function picture({ title, caption, text, svg }) {
  const image = el("img", { alt: text, width: 266, height: 169, src: URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  return el("figure", {}, el("h4", {}, title), el("p", {}, caption), image);
}

function yes(held) {
  return el("span", { class: held ? "yes" : "no" }, held ? "✓ yes" : "✗ no");
}

/** A wide table scrolls on its own, also with the keyboard. */
function scroll(labelledby, table) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": labelledby }, table);
}
