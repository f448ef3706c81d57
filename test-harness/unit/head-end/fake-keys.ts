import { createHash, randomBytes } from "node:crypto";
import { Status } from "../../../src/bytes/status.js";
import { Branch } from "../../../src/key-store/chains.js";
import { KeyStore } from "../../../src/key-store/key-store.js";
import { UNICAST_OVERHEAD_BYTES, UnicastType } from "../../../src/key-store/unicast.js";
import {
	CONTENT_PREFIX_BYTES,
	createCatchUp,
	createTimeContent,
	decodeCatchUp,
	decodeTime,
	NONCE_BYTES,
} from "../../../src/messages/channel.js";
import { allTopic, anchorTopic } from "../../../src/messages/topics.js";
import type { DeviceFile } from "../../../src/provisioning/device-file.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { DAY_SECONDS } from "../../days.js";

const AREA = Object.freeze({ firstSector: 0, sectorCount: 8 });
const FLASH = Object.freeze({ sectorBytes: 4096, sectorCount: 8, writeBytes: 16, writeOnce: true });
const DEVICE_KEY = Object.freeze({
	copyTo(into: Uint8Array, offset: number): void {
		into.fill(0x5a, offset, offset + 32);
	},
});

function hash(...parts: Uint8Array[]): Buffer {
	return createHash("sha256").update(Buffer.concat(parts)).digest().subarray(0, 16);
}

/** A meter's end of the secured channel: its real key store, and the contract of docs/DESIGN-SECURED-CHANNEL.md by hand. */
export class FakeKeys {
	flash: FlashSimulator;
	store!: KeyStore;
	readonly file: DeviceFile;
	justWitnessed = false;
	/** Statuses of what came down, in order. */
	readonly statuses: Status[] = [];
	/** UTCTime of the last TIME. */
	timeSeconds = Number.NaN;
	/** The concentrator's word for the largest head. */
	witnessedHead = Number.NaN;
	#timeNonce: Buffer = Buffer.alloc(0);
	#catchUpNonce: Buffer = Buffer.alloc(0);

	constructor(file: DeviceFile, flash = new FlashSimulator(FLASH)) {
		this.file = {
			...file,
			id: file.id.slice(),
			roots: file.roots.slice(),
			calendarRoot: file.calendarRoot.slice(),
			updateKey: file.updateKey.slice(),
		};
		this.flash = flash;
		this.boot();
		if (!this.store.isProvisioned && this.store.provision(this.file) !== Status.ok)
			throw new Error("the device file was not taken");
	}

	/** Power comes back. */
	boot(): void {
		this.store = new KeyStore(new NodeCrypto(), this.flash, DEVICE_KEY, AREA);
		this.store.open();
	}

	/** Somebody writes an old image into the flash. */
	putBack(image: Uint8Array): void {
		this.flash = new FlashSimulator({ ...FLASH, image });
		this.boot();
	}

	get domain(): number {
		return this.store.domain;
	}

	topics(): string[] {
		return [anchorTopic(this.domain), allTopic(this.domain)];
	}

	disconnected(): void {
		this.#timeNonce = this.#catchUpNonce = Buffer.alloc(0);
	}

	/** Checks by hand that the day's T_0 is a leaf under the root. @returns whether a day began */
	anchor(bytes: Buffer): boolean {
		const levels = bytes[5]!;
		const epoch = bytes.readUInt16BE(3);
		let index = epoch - this.file.calendarFirstEpoch;
		let node = hash(bytes.subarray(6, 22), Buffer.alloc(16), Buffer.from("y"), bytes.subarray(3, 5));
		for (let height = 1; height <= levels; height++) {
			const sibling = bytes.subarray(6 + 16 * height, 22 + 16 * height);
			const pair = (index & 1) === 0 ? [node, sibling] : [sibling, node];
			index >>= 1;
			node = hash(...pair, Buffer.from("z"), Buffer.from([height, index >> 8, index & 0xff]));
		}
		if (!node.equals(this.file.calendarRoot)) throw new Error("an anchor that is not of the calendar");
		if (epoch <= this.store.epoch) return false;
		if (this.store.stageEpoch(epoch, true) !== Status.ok) throw new Error("the day was not taken");
		return this.store.commitEpoch() === Status.ok;
	}

	/** CATCHUP-REQ or TIME-REQ; empty when nothing may be sealed. */
	ask(type: number): Buffer {
		const nonce = randomBytes(NONCE_BYTES);
		const isTime = type === UnicastType.timeRequest;
		const trailer = isTime ? nonce : Buffer.alloc(NONCE_BYTES + 6);
		if (isTime) this.#timeNonce = nonce;
		else {
			this.#catchUpNonce = nonce;
			nonce.copy(trailer);
			trailer.writeUInt32BE(this.store.headSequence, NONCE_BYTES);
			trailer.writeUInt16BE(this.store.downIndex(Branch.neighbourhood), NONCE_BYTES + 4);
		}
		const branch = isTime ? Branch.endToEnd : Branch.neighbourhood;
		const into = Buffer.alloc(UNICAST_OVERHEAD_BYTES);
		const count = this.store.sealMessage(branch, type, new Uint8Array(0), 0, into, trailer);
		return count === 0 ? Buffer.alloc(0) : Buffer.concat([into, trailer]);
	}

	/** DATA with a message; empty when nothing may be sealed. */
	data(message: Uint8Array, byteLength: number): Buffer {
		const content = Buffer.alloc(CONTENT_PREFIX_BYTES + byteLength);
		content.writeUInt16BE(this.store.downIndex(Branch.endToEnd));
		content.set(message.subarray(0, byteLength), CONTENT_PREFIX_BYTES);
		const into = Buffer.alloc(content.length + UNICAST_OVERHEAD_BYTES);
		const count = this.store.sealMessage(Branch.endToEnd, UnicastType.data, content, content.length, into);
		return into.subarray(0, count);
	}

	/** @returns the message of a COMMAND; undefined for anything else, and for what was refused */
	receive(payload: Buffer): Uint8Array | undefined {
		const { store } = this;
		const content = Buffer.alloc(1200);
		const type = payload[0];
		const bound =
			type === UnicastType.time
				? this.#timeNonce
				: type === UnicastType.catchUp
					? this.#catchUpNonce
					: new Uint8Array(0);
		let status = store.openMessage(payload, payload.length, content, bound);
		// the type of the head end under the keys of the neighbourhood
		if (status === Status.ok && type !== UnicastType.catchUp && store.opened.branch !== Branch.endToEnd)
			status = Status.notAuthorised;
		this.statuses.push(status);
		if (status !== Status.ok) return undefined;
		const view = new DataView(content.buffer, content.byteOffset);
		if (type === UnicastType.catchUp) {
			const catchUp = createCatchUp();
			if (decodeCatchUp(view, store.openedByteLength, catchUp) !== Status.ok) throw new Error("bad CATCHUP");
			this.witnessedHead = catchUp.head;
			const wasWitnessed = store.isWitnessed;
			if (store.witness(catchUp.head) === Status.ok) this.justWitnessed = !wasWitnessed;
			return undefined;
		}
		if (type === UnicastType.time) {
			const time = createTimeContent();
			if (decodeTime(view, store.openedByteLength, time) !== Status.ok) throw new Error("bad TIME");
			this.timeSeconds = time.epoch * DAY_SECONDS + time.interval * store.intervalSeconds + time.milliseconds / 1000;
			return undefined;
		}
		return content.subarray(CONTENT_PREFIX_BYTES, store.openedByteLength);
	}
}
