/** States of a slot. */
export const SlotState = Object.freeze({
	/** Not in use; inside the ring: finished, waiting for older ones. */
	free: 0,
	/** To be sent on this connection. */
	queued: 1,
	/** Handed to the link on this connection; QoS 1 waits for its PUBACK. */
	sent: 2,
} as const);

/** Cells of a slot: bytes of the packet, its identifier, `SlotState`. */
const LENGTH = 0;
const IDENTIFIER = 1;
const STATE = 2;
/** 0, 1, or 2: QoS 1 and sent before, on any connection. */
const KIND = 3;
const SLOT_CELLS = 4;

/**
 * Messages on their way out: a ring of `countMax` slots of `slotBytes` each, made once. A slot holds the encoded
 * PUBLISH, so a resend is a copy. Slots leave in the order in which they came; one that finishes early stays reserved
 * until the older ones are finished, which keeps the order and costs nothing while a broker acknowledges in order, as
 * [MQTT-4.6.0-2] asks.
 */
export class InFlight {
	readonly bytes: Uint8Array;
	readonly countMax: number;
	readonly slotBytes: number;
	/** Four numbers of each slot: see `LENGTH` to `KIND`. */
	readonly #slots: Uint32Array;
	#head = 0;
	#count = 0;

	constructor(countMax: number, slotBytes: number) {
		this.countMax = countMax;
		this.slotBytes = slotBytes;
		this.bytes = new Uint8Array(countMax * slotBytes);
		this.#slots = new Uint32Array(SLOT_CELLS * countMax);
	}

	/** Slots in the ring, finished ones that wait included. */
	get count(): number {
		return this.#count;
	}

	/** The slot that `add` will take, -1 when all are taken. Its bytes start at `slot * slotBytes`. */
	next(): number {
		return this.#count === this.countMax ? -1 : (this.#head + this.#count) % this.countMax;
	}

	/** Takes the slot given by `next`, whose bytes have been written. */
	add(byteLength: number, identifier: number, qos: 0 | 1): void {
		const slot = this.next();
		this.#slots[SLOT_CELLS * slot + LENGTH] = byteLength;
		this.#slots[SLOT_CELLS * slot + IDENTIFIER] = identifier;
		this.#slots[SLOT_CELLS * slot + STATE] = SlotState.queued;
		this.#slots[SLOT_CELLS * slot + KIND] = qos;
		this.#count++;
	}

	byteLength(slot: number): number {
		return this.#slots[SLOT_CELLS * slot + LENGTH]!;
	}

	identifier(slot: number): number {
		return this.#slots[SLOT_CELLS * slot + IDENTIFIER]!;
	}

	isQos1(slot: number): boolean {
		return this.#slots[SLOT_CELLS * slot + KIND]! > 0;
	}

	isRetain(slot: number): boolean {
		return (this.bytes[slot * this.slotBytes]! & 0x01) !== 0;
	}

	/** The oldest queued slot, -1 for none. */
	firstQueued(): number {
		for (let i = 0; i < this.#count; i++) {
			const slot = (this.#head + i) % this.countMax;
			if (this.#slots[SLOT_CELLS * slot + STATE] === SlotState.queued) return slot;
		}
		return -1;
	}

	/** The unfinished slot with this packet identifier, queued or sent; -1 for none. */
	find(identifier: number): number {
		for (let i = 0; i < this.#count; i++) {
			const slot = (this.#head + i) % this.countMax;
			if (
				this.#slots[SLOT_CELLS * slot + IDENTIFIER] === identifier &&
				this.#slots[SLOT_CELLS * slot + STATE] !== SlotState.free
			)
				return slot;
		}
		return -1;
	}

	isSent(slot: number): boolean {
		return this.#slots[SLOT_CELLS * slot + STATE] === SlotState.sent;
	}

	markSent(slot: number): void {
		this.#slots[SLOT_CELLS * slot + STATE] = SlotState.sent;
		if (this.#slots[SLOT_CELLS * slot + KIND] === 1) this.#slots[SLOT_CELLS * slot + KIND] = 2;
	}

	finish(slot: number): void {
		this.#slots[SLOT_CELLS * slot + STATE] = SlotState.free;
		while (this.#count > 0 && this.#slots[SLOT_CELLS * this.#head + STATE] === SlotState.free) {
			this.#head = (this.#head + 1) % this.countMax;
			this.#count--;
		}
	}

	/** The connection is gone: QoS 0 is dropped, all QoS 1 will be sent again, oldest first. */
	connectionLost(): void {
		// `finish` moves the head, so the slots of now are walked by number.
		const head = this.#head;
		const count = this.#count;
		for (let i = 0; i < count; i++) {
			const slot = (head + i) % this.countMax;
			if (this.#slots[SLOT_CELLS * slot + STATE] === SlotState.free) continue;
			if (this.#slots[SLOT_CELLS * slot + KIND] === 0) this.finish(slot);
			else this.#slots[SLOT_CELLS * slot + STATE] = SlotState.queued;
		}
	}

	/**
	 * The broker accepted the connection. Messages that went out before are marked DUP if the session goes on
	 * [MQTT-3.3.1-1]; to a new session they are new. @returns how many will go out again
	 */
	connectionAccepted(isSessionPresent: boolean): number {
		let count = 0;
		for (let i = 0; i < this.#count; i++) {
			const slot = (this.#head + i) % this.countMax;
			if (this.#slots[SLOT_CELLS * slot + STATE] !== SlotState.queued || this.#slots[SLOT_CELLS * slot + KIND] !== 2)
				continue;
			const at = slot * this.slotBytes;
			this.bytes[at] = isSessionPresent ? this.bytes[at]! | 0x08 : this.bytes[at]! & ~0x08;
			count++;
		}
		return count;
	}
}
