import { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import {
	createFlash,
	decodeFlash,
	decodeFlashCommit,
	FLASH_A,
	FLASH_B,
	FLASH_COMMIT_BYTES,
	FLASH_COMMIT_COMMIT,
	type FlashCommit,
} from "./broadcast-messages.js";
import { HASH_BYTES } from "./calendar.js";
import type { ClockBound } from "./clock-bound.js";
import type { IntervalTiming } from "./interval-timing.js";
import { Label } from "./labels.js";

/** Steps of the two flash values together, whatever the level. */
export const FLASH_STEPS = 255;
/** Slot, scope, chain, position: context of label `f`. */
export const FLASH_CONTEXT_BYTES = 7;
/** Commits that wait for their flash at the same time. */
export const FLASH_PENDING_MAX = 2;
/** Proofs that are run through in a minute. */
export const FLASH_TRIES_MAX = 8;
const TRY_MILLISECONDS = 60_000;

/** Where used slots are remembered, across power loss. */
export interface FlashSlots {
	/**
	 * Marks a slot, and all below it, as used, in flash.
	 * @returns `ok`: it was not used before, and is now for good; else the meter does not act
	 */
	useSlot(slot: number): Status;
}

/** Moves a flash value from one position to another, in place: one compression each. `context` has slot and scope. */
export function walkFlash(
	crypto: Crypto,
	context: Uint8Array,
	chain: 0 | 1,
	start: number,
	end: number,
	value: Uint8Array,
	offset: number,
): void {
	context[5] = chain;
	for (let position = start; position < end; position++) {
		context[6] = position;
		crypto.kdf(value, offset, HASH_BYTES, Label.flashStep, context, 0, FLASH_CONTEXT_BYTES, value, offset, HASH_BYTES);
	}
}

/**
 * Flash commands: authorised now, without waiting for a key. The head end has committed to the ends of two hash chains;
 * for level c it shows x after 255 - c steps and y after c steps, so that raising c wants a preimage of the one and
 * lowering it a preimage of the other. 159 bytes: 56 of commits, 64 of tries, 39 to work with.
 * @see HORA section 7, 6
 */
export class FlashCommands {
	readonly #crypto: Crypto;
	readonly #timing: IntervalTiming;
	readonly #bound: ClockBound;
	readonly #slots: FlashSlots;
	/** As in FLASH-COMMIT. */
	readonly #pending = new Uint8Array(FLASH_PENDING_MAX * FLASH_COMMIT_BYTES);
	readonly #isPending = new Uint8Array(FLASH_PENDING_MAX);
	readonly #commit: FlashCommit = { slot: 0, scope: 0, epoch: 0, firstInterval: 0, lastInterval: 0 };
	readonly #offered: FlashCommit = { slot: 0, scope: 0, epoch: 0, firstInterval: 0, lastInterval: 0 };
	/** The last flash that was received. */
	readonly received = createFlash();
	/** When the last tries were, in a ring. */
	readonly #tries = new Float64Array(FLASH_TRIES_MAX).fill(Number.NEGATIVE_INFINITY);
	#nextTry = 0;
	/** The highest slot that is known to be used; -1: none since start. */
	#usedSlot = -1;
	readonly #values = new Uint8Array(2 * HASH_BYTES);
	readonly #context = new Uint8Array(FLASH_CONTEXT_BYTES);

	constructor(crypto: Crypto, timing: IntervalTiming, bound: ClockBound, slots: FlashSlots) {
		this.#crypto = crypto;
		this.#timing = timing;
		this.#bound = bound;
		this.#slots = slots;
	}

	/** Commits whose flash has not come yet, and whose window may still come. */
	get pendingCount(): number {
		let count = 0;
		for (let i = 0; i < FLASH_PENDING_MAX; i++) count += this.#isPending[i]!;
		return count;
	}

	/**
	 * A FLASH-COMMIT that its MAC has verified. One for a slot that is pending replaces it.
	 * @returns `ok`; `badValue`; `expired`: its window is over; `replayed`: its slot is used; `storageFull`: two others wait
	 */
	commit(nowMilliseconds: number, from: Uint8Array, offset: number): Status {
		const { intervalsADay } = this.#timing;
		const offered = this.#offered;
		if (decodeFlashCommit(from, offset, offered) !== Status.ok) return Status.badValue;
		if (offered.lastInterval >= intervalsADay) return Status.badValue; // FLC-1
		if (this.#isOver(nowMilliseconds, offered)) return Status.expired; // FLC-2
		if (offered.slot <= this.#usedSlot) return Status.replayed; // FLC-10
		let free = -1;
		for (let i = 0; i < FLASH_PENDING_MAX; i++) {
			if (this.#isPending[i] === 1) {
				decodeFlashCommit(this.#pending, i * FLASH_COMMIT_BYTES, this.#commit);
				if (this.#commit.slot === offered.slot) {
					free = i;
					break;
				}
				if (this.#isOver(nowMilliseconds, this.#commit)) this.#isPending[i] = 0;
			}
			if (this.#isPending[i] === 0) free = i;
		}
		if (free < 0) return Status.storageFull; // FLC-3
		for (let i = 0; i < FLASH_COMMIT_BYTES; i++) this.#pending[free * FLASH_COMMIT_BYTES + i] = from[offset + i]!;
		this.#isPending[free] = 1;
		return Status.ok;
	}

	/**
	 * A FLASH: 256 compressions, and only in the window of a pending commit.
	 * @returns `ok`: the slot is used, act on `received`; `badLength`, `badKind`; `notFound`: nothing is committed for it;
	 * `clockInvalid`; `outOfOrder` before its window, `expired` after it; `busy`: too many tries; `badTag`; or what `useSlot` says
	 */
	receive(nowMilliseconds: number, from: Uint8Array, byteLength: number): Status {
		const { received } = this;
		const status = decodeFlash(from, byteLength, received);
		if (status !== Status.ok) return status;
		const commit = this.#commit;
		let at = -1;
		for (let i = 0; i < FLASH_PENDING_MAX && at < 0; i++)
			if (this.#isPending[i] === 1) {
				decodeFlashCommit(this.#pending, i * FLASH_COMMIT_BYTES, commit);
				if (commit.slot === received.slot && commit.scope === received.scope) at = i;
			}
		if (at < 0) return Status.notFound; // FLC-4
		if (!this.#bound.isSet) return Status.clockInvalid; // FLC-5
		if (this.#isOver(nowMilliseconds, commit)) return Status.expired; // FLC-6
		const first = this.#timing.numberOf(commit.epoch, commit.firstInterval);
		if (this.#bound.number(nowMilliseconds) < first) return Status.outOfOrder; // FLC-7
		const next = this.#nextTry;
		if (nowMilliseconds - this.#tries[next]! < TRY_MILLISECONDS) return Status.busy; // FLC-8
		this.#tries[next] = nowMilliseconds;
		this.#nextTry = (next + 1) % FLASH_TRIES_MAX;
		if (!this.#isProven(from, at * FLASH_COMMIT_BYTES)) return Status.badTag; // FLC-9
		const used = this.#slots.useSlot(received.slot);
		// Used now or before: in both cases this commit has done its work. If flash refused, it may be tried again.
		if (used !== Status.ok && used !== Status.replayed) return used;
		this.#isPending[at] = 0;
		this.#usedSlot = Math.max(this.#usedSlot, received.slot);
		return used;
	}

	forget(): void {
		this.#isPending.fill(0);
		this.#usedSlot = -1;
	}

	#isOver(nowMilliseconds: number, commit: FlashCommit): boolean {
		return (
			this.#bound.isSet &&
			this.#bound.number(nowMilliseconds) > this.#timing.numberOf(commit.epoch, commit.lastInterval)
		);
	}

	/** @param pending where slot, scope, window and commit lie */
	#isProven(from: Uint8Array, pending: number): boolean {
		const values = this.#values;
		const context = this.#context;
		const { level } = this.received;
		for (let i = 0; i < 5; i++) context[i] = this.#pending[pending + i]!;
		for (let i = 0; i < 2 * HASH_BYTES; i++) values[i] = from[FLASH_A + i]!;
		walkFlash(this.#crypto, context, 0, FLASH_STEPS - level, FLASH_STEPS, values, 0);
		walkFlash(this.#crypto, context, 1, level, FLASH_STEPS, values, FLASH_B - FLASH_A);
		this.#crypto.kdf(
			values,
			0,
			2 * HASH_BYTES,
			Label.flashCommit,
			this.#pending,
			pending,
			FLASH_COMMIT_COMMIT,
			values,
			0,
			HASH_BYTES,
		);
		return this.#crypto.equal(values, 0, this.#pending, pending + FLASH_COMMIT_COMMIT, HASH_BYTES);
	}
}
