import { Status } from "../../src/bytes/status.js";
import { Branch } from "../../src/key-store/chains.js";
import { ODOMETER_VALUE_BYTES } from "../../src/key-store/odometer.js";
import { ServerUnicast } from "../../src/key-store/server-unicast.js";
import { createUnicastHeader, decodeUnicastHeader, UnicastType } from "../../src/key-store/unicast.js";
import { CONTENT_PREFIX_BYTES } from "../../src/messages/channel.js";
import { NodeCrypto } from "../crypto/node-crypto.js";

/** What an auditor must know of a meter. */
export interface AuditedMeter {
	/** 8 bytes. */
	readonly id: Uint8Array;
	readonly domain: number;
	readonly shortAddress: number;
	/** V_e of the end-to-end branch. @param into receives 32 bytes */
	dayValue(epoch: number, into: Uint8Array): void;
}

const crypto = new NodeCrypto();

/**
 * Listens on a meter's own line, with the registry at hand: what was said, and whether any key ever sealed two
 * messages. It takes no part in what head end and concentrator do.
 */
export class Auditor {
	/** Messages that carry an index again that was used before, other than repeats byte for byte. */
	keyReuses = 0;
	/** Messages that could not be opened. */
	refusals = 0;
	readonly opened = new Uint8Array(2048);
	readonly view = new DataView(this.opened.buffer);
	openedByteLength = 0;
	readonly #unicast: ServerUnicast;
	readonly #header = createUnicastHeader();
	readonly #meter: AuditedMeter;
	readonly #value = new Uint8Array(ODOMETER_VALUE_BYTES);
	#epoch = -1;
	/** Of each branch: epoch × 65 536 + index of the last message, and its bytes. */
	readonly #last = [-1, -1];
	readonly #lastBytes: Buffer[] = [Buffer.alloc(0), Buffer.alloc(0)];

	constructor(meter: AuditedMeter) {
		this.#meter = meter;
		this.#unicast = new ServerUnicast(crypto, {
			branch: Branch.endToEnd,
			id: meter.id,
			domain: meter.domain,
			shortAddress: meter.shortAddress,
			save: () => true,
		});
	}

	/**
	 * @param isRepeat the link says that it sends this again
	 * @returns whether `opened` now holds a new message of the end-to-end branch
	 */
	hear(payload: Uint8Array, isRepeat: boolean): boolean {
		const header = this.#header;
		if (decodeUnicastHeader(payload, payload.length, header) !== Status.ok) {
			this.refusals++;
			return false;
		}
		const { branch, epoch, index } = header;
		const number = epoch * 0x1_0000 + index;
		if (number <= this.#last[branch]!) {
			if (!isRepeat && !(number === this.#last[branch] && this.#lastBytes[branch]!.equals(payload))) this.keyReuses++;
			return false;
		}
		this.#last[branch] = number;
		this.#lastBytes[branch] = Buffer.from(payload);
		if (branch !== Branch.endToEnd || header.type !== UnicastType.data) return false;
		if (epoch > this.#epoch) {
			this.#meter.dayValue(epoch, this.#value);
			this.#unicast.startDay(epoch, this.#value, 0);
			this.#epoch = epoch;
		}
		if (this.#unicast.openMessage(payload, payload.length, this.opened) !== Status.ok) {
			this.refusals++;
			return false;
		}
		this.openedByteLength = this.#unicast.openedByteLength - CONTENT_PREFIX_BYTES;
		this.opened.copyWithin(0, CONTENT_PREFIX_BYTES, this.#unicast.openedByteLength);
		return true;
	}
}
