/// <reference lib="dom" />
import type { AttackKind, AttackView, AuditView, CommandView, MeterView, StatusView } from "../api.js";
import { h, panel, setText } from "./dom.js";
import * as format from "./format.js";
import { type Live, request } from "./live.js";

const ATTACKS: readonly [AttackKind, string, string][] = [
	["replay", "Replay", "A sealed message that was heard, sent once more"],
	["tamper", "Tamper", "One bit of a sealed message flipped"],
	["forge", "Stolen concentrator", "Its whole folder, used to disconnect the meter"],
	["stale", "Other day", "Messages of another day, and far ahead"],
	["foreign", "Other meter", "A message sealed for another meter"],
];

/** What can be ordered with a click; all else goes over the interface. */
const ORDERS: readonly [label: string, order: Readonly<Record<string, unknown>>][] = [
	["Disconnect", { name: "disconnect", reason: 3 }],
	["Connect", { name: "connect" }],
	["Limit to 3 kW for an hour", { name: "loadLimit", limitWatts: 3000, durationSeconds: 3600 }],
	["Lift the limit", { name: "loadLimit", limitWatts: 0 }],
	["Report the key head", { name: "keyMaintenance" }],
];

function day(epoch: number | null | undefined): string {
	if (epoch === null || epoch === undefined) return format.NOTHING;
	return `${epoch} (${new Date(Date.UTC(2000, 0, 1 + epoch)).toISOString().slice(0, 10)})`;
}

/** `replayed 3 · badTag 1`, or a word that there are none. */
export function refusalText(refusals: Readonly<Record<string, number>> | null | undefined): string {
	const entries = Object.entries(refusals ?? {});
	return entries.length === 0 ? "none" : entries.map(([name, count]) => `${format.words(name)} ${count}`).join(" · ");
}

type Fact = readonly [name: string, value: string];

function factList(): { root: HTMLElement; set(facts: readonly Fact[]): void } {
	const root = h("dl", { class: "facts" });
	return {
		root,
		set(facts) {
			root.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
		},
	};
}

/** The meter's own counters, out of its last diagnostics. */
function ownRefusals(meter: MeterView): Record<string, number> {
	const refusals: Record<string, number> = {};
	for (const { name, value } of meter.lastDiagnostics?.entries ?? [])
		if (name.startsWith("refusals ")) refusals[name.slice(9)] = value;
	return refusals;
}

function meterFacts(meter: MeterView, audit: AuditView | undefined, live: Live): Fact[] {
	const { security } = meter;
	if (!security) return [["Session", "messages go in clear"]];
	const { endToEnd, concentrator } = security;
	const sessions = {
		open: "open",
		waiting: "waiting for the meter",
		"never heard": "never heard",
		decommissioned: "over",
	};
	return [
		["Session", sessions[security.state]],
		["Day of the keys", day(endToEnd?.epoch)],
		[
			"Generation",
			`${security.confirmedGeneration || "none known"}${security.newestGeneration === security.confirmedGeneration ? "" : `, ${security.newestGeneration} given`}`,
		],
		["Anchor", `${day(security.anchorEpoch)}, ${format.ago(security.anchorUtcSeconds, live.now())}`],
		["End to end, up", endToEnd ? `next ${endToEnd.upNext}, ${endToEnd.accepted} opened` : format.NOTHING],
		[
			"End to end, down",
			endToEnd
				? `next ${endToEnd.downNext}, ${endToEnd.downNext - endToEnd.acknowledged} of 32 open, ${endToEnd.kept} kept, ${endToEnd.resent} repeated`
				: format.NOTHING,
		],
		[
			"Neighbourhood",
			concentrator ? `up next ${concentrator.upNext}, down next ${concentrator.downNext}` : "not heard yet",
		],
		["Witnessed head", concentrator ? `key record ${concentrator.witnessedHead}` : format.NOTHING],
		["Refused by the meter", refusalText(ownRefusals(meter))],
		["Refused by the head end", refusalText(security.refusals)],
		["Refused by the concentrator", refusalText(concentrator?.refusals)],
		["Meter's log", audit ? `${audit.verdict.status}: ${audit.verdict.text}` : format.NOTHING],
		["Head end's own log", audit ? `${audit.own.status}: ${audit.own.text}` : format.NOTHING],
	];
}

const COMMAND_CLASS: Readonly<Record<CommandView["state"], string>> = {
	created: "attention",
	sent: "attention",
	executed: "good",
	failed: "bad",
	refused: "bad",
	expired: "attention",
	interrupted: "attention",
	unknown: "attention",
};

function commandRow(command: CommandView): HTMLElement {
	return h(
		"tr",
		{},
		h("td", { class: "nowrap" }, format.time(command.createdSeconds)),
		h("td", {}, format.words(command.name)),
		h("td", {}, h("span", { class: `tag ${COMMAND_CLASS[command.state]}` }, command.state)),
		h(
			"td",
			{},
			command.statusName === "" ? `sent ${command.sentCount}×` : `${command.statusName}, row ${command.rowSequence}`,
		),
		h("td", { class: "soft" }, command.operator),
	);
}

function attackResult(view: AttackView): HTMLElement {
	const refused = refusalText(view.refused);
	return h(
		"article",
		{ class: "attack", "data-kind": view.kind, "data-held": String(view.held) },
		h(
			"div",
			{ class: "attack-head" },
			h("b", {}, ATTACKS.find(([kind]) => kind === view.kind)?.[1] ?? view.kind),
			h("span", { class: `tag ${view.held ? "good" : "bad"}` }, view.held ? "refused" : "not refused"),
		),
		h("ul", {}, ...view.sent.map(({ what, byteLength }) => h("li", {}, `${what} (${byteLength} B)`))),
		h(
			"p",
			{},
			`The meter's own counters: before ${refusalText(view.refusalsBefore)}; after ${refusalText(view.refusalsAfter)}; so it refused: ${refused}.`,
		),
		h("p", { class: "soft" }, view.why),
	);
}

/** Keys, counters, commands and attacks of one meter. `refresh` asks for what changes seldom. */
export function securityPanel(
	id: string,
	live: Live,
): { roots: HTMLElement[]; show(meter: MeterView): void; refresh(): Promise<void> } {
	const path = `/api/meters/${id}`;
	const facts = factList();
	const keys = panel("Security", { id: "security" }, facts.root);

	const commandBody = h("tbody", {});
	const noCommands = h("p", { class: "empty" }, "Nothing was ordered.");
	const choice = h(
		"select",
		{ "aria-label": "command" },
		...ORDERS.map(([label], index) => h("option", { value: String(index) }, label)),
	);
	const commands = panel(
		"Commands",
		{ class: "flush", id: "commands" },
		h("div", { class: "scroll" }, h("table", { class: "commands" }, commandBody)),
		noCommands,
	);
	const send = h("button", { type: "button", class: "button" }, "Send");
	commands.tools.append(choice, send);

	const results = h("div", { class: "attacks" });
	const attacks = panel(
		"Attacks",
		{ id: "attacks", note: "through the real broker, by somebody with a connection of his own" },
		results,
	);
	for (const [kind, label, title] of ATTACKS) {
		const button = h("button", { type: "button", class: "button", title, "data-attack": kind }, label);
		button.addEventListener("click", async () => {
			for (const each of attacks.tools.querySelectorAll("button")) each.disabled = true;
			setText(attacks.note, `${label}: attacking …`);
			try {
				const view = await request<AttackView>("/api/attacks", "POST", undefined, { meter: id, kind });
				results.querySelector(`[data-kind="${kind}"]`)?.remove();
				results.prepend(attackResult(view));
				setText(attacks.note, "");
			} catch (error) {
				setText(attacks.note, (error as Error).message);
			}
			for (const each of attacks.tools.querySelectorAll("button")) each.disabled = false;
		});
		attacks.tools.append(button);
	}

	let meter: MeterView | undefined;
	let audit: AuditView | undefined;
	const roots = [keys.root, h("div", { class: "grid two" }, commands.root, attacks.root)];

	function show(view: MeterView): void {
		meter = view;
		for (const root of roots) root.hidden = view.security === null;
		facts.set(meterFacts(view, audit, live));
		setText(keys.note, audit && audit.own.status !== "ok" ? "the head end's own log does not hold" : "");
	}

	async function refresh(): Promise<void> {
		if (!meter?.security) return;
		const [list, told] = await Promise.all([
			request<CommandView[]>(`${path}/commands`),
			request<AuditView>(`${path}/audit`),
		]);
		audit = told;
		commandBody.replaceChildren(...list.slice(0, 12).map(commandRow));
		noCommands.hidden = list.length > 0;
		facts.set(meterFacts(meter, audit, live));
	}

	send.addEventListener("click", async () => {
		send.disabled = true;
		try {
			await request<CommandView>(`${path}/commands`, "POST", undefined, ORDERS[Number(choice.value)]![1]);
			setText(commands.note, "");
			await refresh();
		} catch (error) {
			setText(commands.note, (error as Error).message);
		}
		send.disabled = false;
	});

	return { roots, show, refresh };
}

/** The fleet's security in a line of facts. */
export function fleetSecurityPanel(): { root: HTMLElement; show(status: StatusView | undefined): void } {
	const facts = factList();
	const view = panel("Security", { id: "fleet-security" }, facts.root);
	view.root.hidden = true;
	return {
		root: view.root,
		show(status) {
			const security = status?.security;
			view.root.hidden = !security;
			if (!security) return;
			const commands = Object.entries(security.commands).map(([state, count]) => `${state} ${count}`);
			facts.set([
				["Meters in the registry", `${security.meters}, ${security.open} with an open session`],
				["Day", day(security.today)],
				["Anchor", day(security.anchorEpoch)],
				["Keys disclosed", format.number(security.disclosed, 0)],
				["Sealed and not acknowledged", format.number(security.kept, 0)],
				["Refused by the head end", refusalText(security.refusals)],
				["Commands", commands.length === 0 ? "none" : commands.join(" · ")],
				["Session log", `${format.number(security.records, 0)} records, ${format.number(security.syncs, 0)} syncs`],
			]);
		},
	};
}
