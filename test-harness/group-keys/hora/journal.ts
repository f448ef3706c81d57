import { createHash } from "node:crypto";
import {
	closeSync,
	existsSync,
	fsyncSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	writeSync,
} from "node:fs";
import { join } from "node:path";
import { UserError } from "../../user-error.js";
import type { LeafKeyOf, Outgoing } from "../controller.js";
import { HoraController, type HoraControllerOptions, type Operation, Seats } from "./controller.js";
import { HoraTree } from "./tree.js";

const KEY = 16;
const DIGEST_BYTES = 8;
const HEADER_BYTES = 4 + DIGEST_BYTES;

/**
 * What a concentrator keeps of its groups: `state-N`, all keys at the start of a day, and `journal-N`, every generation since.
 * A record of the journal is length 4, digest 8, operation; the operation holds everything that decides the bytes of its
 * messages, so a restart makes the last ones again, byte for byte (HORA 4.1 rule 9). It is on the disk before they are sent.
 * Operation: group 1, refresh slot + 1 4, seed 32, hidden 32, leaves 2, slots 4 each, joins 2, each: meter 4, slot 4, carried 1,
 * leaf key 16. State: length 4 of a JSON head, the head, then for each tree keys, stamps, occupied, meters; digest 8.
 * @throws UserError when the folder cannot be used
 */
export class JournalledController {
	readonly controller: HoraController;
	/** What each group was sent last, and may not have been: sent again after a restart. Members ignore what they know. */
	readonly pending: readonly Outgoing[];
	readonly #folder: string;
	#number = 0;
	#file = -1;

	/** Opens what is there, or begins. @param options without the journal, which is this */
	constructor(folder: string, options: Omit<HoraControllerOptions, "journal">) {
		this.#folder = folder;
		mkdirSync(folder, { recursive: true });
		const journal = (operation: Operation) => this.#append(operation);
		this.controller = new HoraController({ ...options, journal });
		const numbers = readdirSync(folder).flatMap((name) => (/^state-\d+$/.test(name) ? [Number(name.slice(6))] : []));
		const newest = numbers.sort((a, b) => b - a).find((number) => this.#readState(number));
		if (newest === undefined && numbers.length > 0) throw new UserError(`${folder}: no state can be read`);
		if (newest === undefined) {
			this.pending = [];
			this.save();
		} else {
			this.#number = newest;
			this.pending = this.#replay();
		}
	}

	/** A new day: its leaf keys are on the disk before anything is sent under them. */
	startDay(epoch: number, leafKeyOf: LeafKeyOf): readonly Outgoing[] {
		const out = this.controller.startDay(epoch, leafKeyOf);
		this.save();
		return out;
	}

	#path(name: string): string {
		return join(this.#folder, name);
	}

	/** A new day, or whenever the journal has grown long: all keys to disk, settled, and a new journal. */
	save(): void {
		const { controller } = this;
		const arrays: Uint8Array[] = [];
		const trees = [...controller.seats].map(([group, { tree, meterOf, carried }]) => {
			tree.settleAll();
			arrays.push(tree.keys, tree.stamps, tree.occupied, new Uint8Array(meterOf.buffer));
			const { levels, g, gd, lastPatch } = tree;
			return { group, levels, g, gd, lastPatch, carried: [...carried] };
		});
		const hidden = Buffer.from(controller.hidden).toString("hex");
		const head = Buffer.from(JSON.stringify({ version: 1, epoch: controller.epoch, hidden, trees }));
		const length = Buffer.alloc(4);
		length.writeUInt32BE(head.length);
		const parts = [length, head, ...arrays];
		const digest = createHash("sha256");
		for (const part of parts) digest.update(part);
		const number = this.#number + 1;
		const draft = this.#path(`state-${number}.new`);
		const file = openSync(draft, "w", 0o600);
		for (const part of [...parts, digest.digest().subarray(0, DIGEST_BYTES)]) writeSync(file, part);
		fsyncSync(file);
		closeSync(file);
		// The journal is there before the state that it belongs to.
		const journal = openSync(this.#path(`journal-${number}`), "w", 0o600);
		fsyncSync(journal);
		renameSync(draft, this.#path(`state-${number}`));
		this.#syncFolder();
		this.close();
		this.#file = journal;
		rmSync(this.#path(`state-${this.#number}`), { force: true });
		rmSync(this.#path(`journal-${this.#number}`), { force: true });
		this.#number = number;
	}

	#syncFolder(): void {
		const folder = openSync(this.#folder, "r");
		fsyncSync(folder);
		closeSync(folder);
	}

	close(): void {
		if (this.#file >= 0) closeSync(this.#file);
		this.#file = -1;
	}

	#readState(number: number): boolean {
		const bytes = readFileSync(this.#path(`state-${number}`));
		const end = bytes.length - DIGEST_BYTES;
		if (end < 4) return false;
		const digest = createHash("sha256").update(bytes.subarray(0, end)).digest().subarray(0, DIGEST_BYTES);
		if (!digest.equals(bytes.subarray(end))) return false;
		const headBytes = bytes.readUInt32BE(0);
		const head = JSON.parse(bytes.subarray(4, 4 + headBytes).toString()) as {
			epoch: number;
			hidden: string;
			trees: { group: number; levels: number; g: number; gd: number; lastPatch: number; carried: number[] }[];
		};
		const { controller } = this;
		controller.epoch = head.epoch;
		controller.hidden.set(Buffer.from(head.hidden, "hex"));
		let at = 4 + headBytes;
		const take = (into: Uint8Array) => {
			into.set(bytes.subarray(at, at + into.length));
			at += into.length;
		};
		for (const { group, levels, g, gd, lastPatch, carried } of head.trees) {
			const tree = new HoraTree(controller.options.crypto, group, levels);
			const seats = new Seats(tree);
			take(tree.keys);
			take(tree.stamps);
			take(tree.occupied);
			take(new Uint8Array(seats.meterOf.buffer));
			tree.resume(g, gd, lastPatch);
			for (const [slot, meter] of seats.meterOf.entries()) if (meter >= 0) seats.slotOf.set(meter, slot);
			for (const meter of carried) seats.carried.add(meter);
			controller.seats.set(group, seats);
		}
		return at === end;
	}

	#append({ group, refreshSlot, leaves, joins, seed }: Operation): void {
		const bytes = Buffer.alloc(HEADER_BYTES + 5 + 64 + 2 + 4 * leaves.length + 2 + (9 + KEY) * joins.length);
		let at = HEADER_BYTES;
		at = bytes.writeUInt8(group, at);
		at = bytes.writeUInt32BE(refreshSlot + 1, at);
		bytes.set(seed, at);
		bytes.set(this.controller.hidden, at + 32);
		at = bytes.writeUInt16BE(leaves.length, at + 64);
		for (const slot of leaves) at = bytes.writeUInt32BE(slot, at);
		at = bytes.writeUInt16BE(joins.length, at);
		for (const { meter, slot, isCarried, leafKey } of joins) {
			at = bytes.writeUInt32BE(meter, at);
			at = bytes.writeUInt32BE(slot, at);
			at = bytes.writeUInt8(isCarried ? 1 : 0, at);
			bytes.set(leafKey, at);
			at += KEY;
		}
		bytes.writeUInt32BE(at - HEADER_BYTES, 0);
		createHash("sha256").update(bytes.subarray(HEADER_BYTES)).digest().copy(bytes, 4, 0, DIGEST_BYTES);
		writeSync(this.#file, bytes);
		fsyncSync(this.#file);
	}

	/** Does again what the journal says, up to the first record that was not finished. @returns the last of each group */
	#replay(): readonly Outgoing[] {
		const path = this.#path(`journal-${this.#number}`);
		const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
		const last = new Map<number, readonly Outgoing[]>();
		let at = 0;
		while (at + HEADER_BYTES <= bytes.length) {
			const end = at + HEADER_BYTES + bytes.readUInt32BE(at);
			if (end > bytes.length) break;
			const body = bytes.subarray(at + HEADER_BYTES, end);
			const digest = createHash("sha256").update(body).digest().subarray(0, DIGEST_BYTES);
			if (!digest.equals(bytes.subarray(at + 4, at + HEADER_BYTES))) break;
			const operation = this.#decode(body);
			last.set(operation.group, this.controller.apply(operation));
			at = end;
		}
		// What follows was being written when power failed; nothing of it was sent.
		this.#file = openSync(path, "w", 0o600);
		writeSync(this.#file, bytes.subarray(0, at));
		fsyncSync(this.#file);
		return [...last.values()].flat();
	}

	#decode(body: Buffer): Operation {
		const leafCount = body.readUInt16BE(69);
		const leaves = Array.from({ length: leafCount }, (_, i) => body.readUInt32BE(71 + 4 * i));
		const joinsAt = 71 + 4 * leafCount;
		const joins = Array.from({ length: body.readUInt16BE(joinsAt) }, (_, i) => {
			const at = joinsAt + 2 + (9 + KEY) * i;
			const leafKey = new Uint8Array(body.subarray(at + 9, at + 9 + KEY));
			return { meter: body.readUInt32BE(at), slot: body.readUInt32BE(at + 4), isCarried: body[at + 8] === 1, leafKey };
		});
		const hidden = body.subarray(37, 69);
		const operation = {
			group: body[0]!,
			refreshSlot: body.readUInt32BE(1) - 1,
			leaves,
			joins,
			seed: new Uint8Array(body.subarray(5, 37)),
		};
		// A tree of a new group took its first keys from the hidden seed before this generation's; make it now.
		this.controller.seatsOf(operation.group);
		this.controller.hidden.set(hidden);
		return operation;
	}
}
