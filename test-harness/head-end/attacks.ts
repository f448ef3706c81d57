import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt, { type MqttClient } from "mqtt";
import { Status } from "../../src/bytes/status.js";
import { Branch, Direction } from "../../src/key-store/chains.js";
import { ServerUnicast } from "../../src/key-store/server-unicast.js";
import {
	createUnicastHeader,
	decodeUnicastHeader,
	UNICAST_OVERHEAD_BYTES,
	type UnicastHeader,
	UnicastType,
} from "../../src/key-store/unicast.js";
import { CommandKind, encodeCommandAnchor, encodeCommandHeader } from "../../src/messages/command.js";
import { Diagnostic } from "../../src/messages/diagnostics.js";
import { Kind } from "../../src/messages/kinds.js";
import { downTopic } from "../../src/messages/topics.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { UserError } from "../user-error.js";
import type { AttackKind, AttackView, DiagnosticsView } from "./api.js";
import type { HeadEnd } from "./head-end.js";
import { SealedLog } from "./sealed-log.js";

export const ATTACK_KINDS: readonly AttackKind[] = Object.freeze(["replay", "tamper", "forge", "stale", "foreign"]);

/** Where a state record of the concentrator's log has what. */
const STATE_RECORD = 1;
const STATE_AT = 11;
/** How long the meter has for a message before its counters are asked for, ms. */
const SETTLE_MILLISECONDS = 400;
const CAPTURE_MILLISECONDS = 8000;

interface Shot {
	readonly what: string;
	readonly bytes: Buffer;
}

export interface AttacksOptions {
	readonly headEnd: HeadEnd;
	/** What a thief copies. */
	readonly concentratorFolder: string;
}

/**
 * Attacks on one meter, through the real broker: an attacker with a connection of his own, who hears every message, may
 * publish on every topic and, for one of them, has copied the concentrator's folder. What the meter made of it is its
 * own word: its counters of refusals, asked for over the secured channel before and after.
 */
export class Attacks {
	readonly #options: AttacksOptions;
	#isRunning = false;

	constructor(options: AttacksOptions) {
		this.#options = options;
	}

	/** @throws UserError when it cannot be run */
	async run(id: string, kind: AttackKind): Promise<AttackView> {
		if (this.#isRunning) throw new UserError("an attack is under way");
		const { headEnd } = this.#options;
		if (headEnd.state(id) !== "online") throw new UserError(`meter ${id} is not connected`);
		this.#isRunning = true;
		const url = headEnd.fleet.link?.url ?? "";
		let client: MqttClient | undefined;
		try {
			client = await mqtt.connectAsync(url, { reconnectPeriod: 0, connectTimeout: 5000, protocolVersion: 4 });
			const heard = new Map<string, Buffer>();
			client.on("error", () => {});
			client.on("message", (topic, payload) => {
				if (isEndToEndDown(payload)) heard.set(topic, Buffer.from(payload));
			});
			await client.subscribeAsync("wattlock/v1/+/down", { qos: 1 });
			return await this.#attack(client, heard, id, kind);
		} finally {
			this.#isRunning = false;
			await client?.endAsync(true).catch(() => {});
		}
	}

	async #attack(client: MqttClient, heard: Map<string, Buffer>, id: string, kind: AttackKind): Promise<AttackView> {
		const before = await this.#counters(id);
		const captured = await this.#captured(heard, id);
		const shots = await this.#shots(kind, id, captured, heard);
		const topic = downTopic(id);
		for (const { bytes } of shots) await client.publishAsync(topic, bytes, { qos: 1 });
		await pause(SETTLE_MILLISECONDS);
		const after = await this.#counters(id);
		const refused: Record<string, number> = {};
		for (const [name, count] of Object.entries(after.refusals)) {
			const more = count - (before.refusals[name] ?? 0);
			if (more > 0) refused[name] = more;
		}
		const total = Object.values(refused).reduce((sum, count) => sum + count, 0);
		return {
			kind,
			meter: id,
			utcSeconds: this.#options.headEnd.fleet.clock.utcSeconds(),
			sent: shots.map(({ what, bytes }) => ({ what, byteLength: bytes.length, hex: bytes.toString("hex") })),
			refusalsBefore: before.refusals,
			refusalsAfter: after.refusals,
			refused,
			relayOpen: after.relayOpen,
			held: total >= shots.length && before.relayOpen === after.relayOpen,
			why: WHY[kind],
		};
	}

	async #counters(id: string): Promise<{ refusals: Record<string, number>; relayOpen: boolean | null }> {
		const { headEnd } = this.#options;
		const view = (await headEnd.ask(id, Kind.diagnosticsRequest)) as DiagnosticsView;
		const refusals: Record<string, number> = {};
		for (const { key, name, value } of view.entries)
			if (key > Diagnostic.refusals && key < Diagnostic.refusals + 0x100)
				refusals[name.replace(/^refusals /, "")] = value;
		const flags = headEnd.views.latestReading(id)?.flags;
		return { refusals, relayOpen: flags ? flags.includes("relayOpen") : null };
	}

	/** The question for the counters went through the broker, sealed: the attacker has it. */
	async #captured(heard: Map<string, Buffer>, id: string): Promise<Buffer> {
		const deadline = performance.now() + CAPTURE_MILLISECONDS;
		for (;;) {
			const found = heard.get(downTopic(id));
			if (found) return found;
			if (performance.now() > deadline) throw new UserError("the broker gave the attacker nothing to work with");
			await pause(20);
		}
	}

	async #shots(kind: AttackKind, id: string, captured: Buffer, heard: Map<string, Buffer>): Promise<Shot[]> {
		const header = headerOf(captured);
		switch (kind) {
			case "replay":
				return [{ what: `the sealed message ${header.index} of today, once more`, bytes: captured }];
			case "tamper": {
				const bit = [0, 1, 2, 3, 4, 5].find((each) => (header.index & (1 << each)) === 0)!;
				const flipped = Buffer.from(captured);
				flipped[8]! ^= 1 << bit;
				const content = Buffer.from(flipped);
				content[12]! ^= 1;
				return [
					{ what: `one bit of the index flipped: ${header.index} says ${header.index + (1 << bit)}`, bytes: flipped },
					{ what: "the same, and one bit of the content", bytes: content },
				];
			}
			case "forge":
				return this.#forged(id, header);
			case "stale": {
				const tomorrow = Buffer.from(captured);
				tomorrow.writeUInt16BE(header.epoch + 1, 5);
				const old = Buffer.from(captured);
				old.writeUInt16BE(header.epoch - 2, 5);
				const far = Buffer.from(captured);
				far.writeUInt16BE(Math.min(65_000, header.index + 200), 7);
				return [
					{ what: "of tomorrow, which no anchor has opened", bytes: tomorrow },
					{ what: "of the day before yesterday", bytes: old },
					{ what: "200 indices ahead", bytes: far },
				];
			}
			case "foreign": {
				const { headEnd } = this.#options;
				const other = headEnd.ids().find((each) => each !== id && headEnd.state(each) === "online");
				if (other === undefined) throw new UserError("there is no second meter whose messages could be taken");
				await headEnd.ask(other, Kind.diagnosticsRequest);
				const bytes = await this.#captured(heard, other);
				const relabelled = Buffer.from(bytes);
				captured.copy(relabelled, 1, 1, 5); // domain and short address of the victim
				relabelled.writeUInt16BE(header.index + 1, 7);
				return [
					{ what: `sealed for meter ${other}`, bytes },
					{ what: "the same with the victim's address and next index in its header", bytes: relabelled },
				];
			}
		}
	}

	/** Everything that a stolen concentrator can do to make a meter disconnect. */
	#forged(id: string, seen: UnicastHeader): Shot[] {
		const crypto = new NodeCrypto();
		const idBytes = new Uint8Array(Buffer.from(id, "hex"));
		const { domain, shortAddress } = seen;
		const state = this.#stolenState(id);
		const command = disconnectCommand();
		const peer = (branch: Branch) => ({ branch, id: idBytes, domain, shortAddress, save: () => true });
		const seal = (server: ServerUnicast): Buffer => {
			const sealed = Buffer.alloc(command.length + UNICAST_OVERHEAD_BYTES);
			if (server.sealMessage(UnicastType.command, command, command.length, sealed) === 0)
				throw new UserError("the stolen chain has no index left today");
			return sealed;
		};
		const neighbour = new ServerUnicast(crypto, peer(Branch.neighbourhood));
		if (neighbour.restore(state) !== Status.ok) throw new UserError("the stolen state is of another version");
		// as the head end: the stolen keys under the other branch's name
		const state2 = new Uint8Array(state);
		const view = new DataView(state2.buffer);
		view.setUint16(4, seen.index + 1); // downIndex: the next that the meter takes
		view.setUint16(6, seen.index + 1);
		const impostor = new ServerUnicast(crypto, peer(Branch.endToEnd));
		impostor.restore(state2);
		return [
			{ what: "disconnect, sealed with the stolen keys in the head end's name", bytes: seal(impostor) },
			{ what: "disconnect, sealed with the stolen keys as the concentrator", bytes: seal(neighbour) },
		];
	}

	#stolenState(id: string): Uint8Array {
		const loot = mkdtempSync(join(tmpdir(), "wattlock-loot-"));
		try {
			cpSync(this.#options.concentratorFolder, loot, { recursive: true });
			let state: Uint8Array | undefined;
			SealedLog.open(
				join(loot, "neighbourhood.log"),
				readFileSync(join(loot, "concentrator.key")),
				(record) => {
					if (record[0] === STATE_RECORD && record.toString("hex", 1, 9) === id)
						state = new Uint8Array(record.subarray(STATE_AT));
				},
				() => {},
			);
			if (!state) throw new UserError(`the concentrator has nothing of meter ${id}`);
			return state;
		} finally {
			rmSync(loot, { recursive: true, force: true });
		}
	}
}

const WHY: Readonly<Record<AttackKind, string>> = Object.freeze({
	replay:
		"Each message has its own key, erased when it was opened, and the index is recorded in flash before the meter acts.",
	tamper:
		"Header and content are bound by the seal; with one bit changed the tag fails and nothing is learnt or moved.",
	forge:
		"The concentrator holds the neighbourhood branch alone: end-to-end keys do not follow from its own, and its branch may not command.",
	stale:
		"A day's keys exist only after its anchor and until its end, and an index 32 or more ahead is refused before any key is made.",
	foreign: "Another meter's keys follow from another root, and the identity of the meter is bound by every seal.",
});

function pause(milliseconds: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function headerOf(bytes: Buffer): UnicastHeader {
	const header = createUnicastHeader();
	decodeUnicastHeader(bytes, bytes.length, header);
	return header;
}

function isEndToEndDown(bytes: Buffer): boolean {
	const header = createUnicastHeader();
	return (
		decodeUnicastHeader(bytes, bytes.length, header) === Status.ok &&
		header.type === UnicastType.command &&
		header.branch === Branch.endToEnd &&
		header.direction === Direction.down
	);
}

/** A whole COMMAND: notAfter of the whole day, then a disconnect in the form that a meter would take. */
function disconnectCommand(): Buffer {
	const content = Buffer.alloc(64);
	content.writeUInt16BE(0xffff, 0);
	const view = new DataView(content.buffer, content.byteOffset + 2);
	encodeCommandHeader(CommandKind.disconnect, Uint8Array.of(0xba, 0xd0, 0, 0, 0, 0, 0, 1), 0xffff_ffff, view);
	view.setUint8(16, 5);
	const byteLength = encodeCommandAnchor(new Uint8Array(16), 1, view);
	return content.subarray(0, 2 + byteLength);
}
