import { Status } from "../../src/bytes/status.js";
import type { Crypto } from "../../src/crypto/crypto.js";
import type { Branch } from "../../src/key-store/chains.js";
import { KeyStore, type Provisioning } from "../../src/key-store/key-store.js";
import { attachedDay, ODOMETER_STATE_BYTES, startOdometer } from "../../src/key-store/odometer.js";
import type { LeafKeys, RecordPart } from "../../src/key-store/record-part.js";
import { ServerUnicast } from "../../src/key-store/server-unicast.js";
import type { DeviceKey } from "../../src/platform/device-key.js";
import { toHex } from "../crypto/vector-suite.js";
import { MemoryFlash } from "./memory-flash.js";

/** Four days of a meter and its two servers, the same on every engine: no clock, no chance, nothing of Node. */

const FIRST_DAY = 40_013; // day 13 of a block: the three days to come end it
const AREA = Object.freeze({ firstSector: 0, sectorCount: 3 });
const DATA = 0x08;
const COMMAND = 0x09;
const TIME_REQUEST = 0x0a;
const TIME = 0x0b;
const CATCH_UP_REQUEST = 0x06;
const CATCH_UP = 0x07;
const ATTACH = 0x10;
const NEIGHBOUR = 0x11;

function counted(first: number, byteLength: number): Uint8Array {
	return Uint8Array.from({ length: byteLength }, (_, i) => first + i);
}

export function scenarioProvisioning(generation: number, epoch: number): Provisioning {
	return {
		id: counted(0xa0, 8),
		generation,
		domain: 0x0102,
		shortAddress: 0x0304,
		epoch,
		roots: counted(generation, 64),
		calendarRoot: counted(0xc0, 16),
		calendarFirstEpoch: 32_768,
		calendarLevels: 15,
		teslaIntervalSeconds: 900,
		updateKey: counted(0x40, 56),
	};
}

export class ScenarioDeviceKey implements DeviceKey {
	copyTo(into: Uint8Array, offset: number): void {
		for (let i = 0; i < 32; i++) into[offset + i] = 0x80 + i;
	}
}

/** Leaf keys of two trees, as a group scheme would keep them. */
class Leaves implements RecordPart {
	readonly byteLengthMax = 32;
	readonly bytes = new Uint8Array(32);
	readonly #staged = new Uint8Array(32);
	#isStaged = false;
	#byteLength = 0;

	stageDay(_epoch: number, keys: LeafKeys): void {
		keys.deriveLeafKey(0, this.#staged, 0);
		keys.deriveLeafKey(200, this.#staged, 16);
		this.#isStaged = true;
	}

	encodeStaged(into: DataView): number {
		const from = this.#isStaged ? this.#staged : this.bytes;
		const byteLength = this.#isStaged ? 32 : this.#byteLength;
		for (let i = 0; i < byteLength; i++) into.setUint8(i, from[i]!);
		return byteLength;
	}

	commit(): void {
		if (!this.#isStaged) return;
		this.bytes.set(this.#staged);
		this.#byteLength = 32;
		this.#isStaged = false;
	}

	abort(): void {
		this.#isStaged = false;
	}

	restore(from: DataView, byteLength: number): Status {
		for (let i = 0; i < byteLength; i++) this.bytes[i] = from.getUint8(i);
		this.#byteLength = byteLength;
		this.#isStaged = false;
		return Status.ok;
	}
}

export interface ScenarioLine {
	readonly what: string;
	readonly answer: string;
}

/**
 * @param from first line that is wanted: all together are larger than the memory of a small machine
 * @returns what was sent, answered and written, in turn
 */
export function runScenario(crypto: Crypto, from = 0, to = Number.POSITIVE_INFINITY): ScenarioLine[] {
	const scenario = new Scenario(crypto, from, to);
	scenario.firstDay();
	scenario.lossAndForgery();
	scenario.otherConcentrator();
	scenario.newKeys();
	return scenario.lines;
}

/** Fields rather than locals: a meter's stack on XS has 512 slots. */
class Scenario {
	readonly lines: ScenarioLine[] = [];
	readonly #crypto: Crypto;
	readonly #from: number;
	readonly #to: number;
	readonly #flash = new MemoryFlash(1024, AREA.sectorCount);
	readonly #leaves = new Leaves();
	#count = 0;
	#provisioning = scenarioProvisioning(1, FIRST_DAY);
	#store: KeyStore;
	#servers: ServerUnicast[];

	constructor(crypto: Crypto, from: number, to: number) {
		this.#crypto = crypto;
		this.#from = from;
		this.#to = to;
		this.#store = this.#open();
		this.#servers = this.#serversOf(0x0102, 0x0304);
	}

	#note(what: string, answer: string | number): void {
		if (this.#count >= this.#from && this.#count < this.#to) this.lines.push({ what, answer: String(answer) });
		this.#count++;
	}

	#open(): KeyStore {
		const store = new KeyStore(this.#crypto, this.#flash, new ScenarioDeviceKey(), AREA, undefined, this.#leaves);
		this.#note("open", store.open());
		return store;
	}

	#serversOf(domain: number, shortAddress: number): ServerUnicast[] {
		const id = counted(0xa0, 8);
		return [0, 1].map(
			(branch) =>
				new ServerUnicast(this.#crypto, { branch: branch as Branch, id, domain, shortAddress, save: () => true }),
		);
	}

	#startServers(epoch: number): void {
		for (const branch of [0, 1]) {
			const bytes = new Uint8Array(ODOMETER_STATE_BYTES + 32);
			bytes.set(this.#provisioning.roots.subarray(32 * branch, 32 * branch + 32), ODOMETER_STATE_BYTES);
			startOdometer(this.#crypto, bytes, 0, epoch, ODOMETER_STATE_BYTES);
			this.#servers[branch]!.startDay(epoch, bytes, ODOMETER_STATE_BYTES);
		}
	}

	#up(branch: Branch, type: number, byteLength: number, bound?: Uint8Array): void {
		const into = new Uint8Array(byteLength + 18);
		const text = counted(byteLength, byteLength);
		const sealed = into.subarray(0, this.#store.sealMessage(branch, type, text, byteLength, into, bound));
		this.#note(`up ${branch} ${type}`, toHex(sealed));
		if (sealed.length === 0) return;
		text.fill(0);
		const status = this.#servers[branch]!.openMessage(sealed, sealed.length, text, bound);
		this.#note("server", `${status} ${toHex(text)}`);
	}

	#seal(branch: Branch, type: number, content: Uint8Array, bound?: Uint8Array): Uint8Array {
		const into = new Uint8Array(content.length + 18);
		return into.subarray(0, this.#servers[branch]!.sealMessage(type, content, content.length, into, bound));
	}

	#take(sealed: Uint8Array, bound?: Uint8Array): void {
		const store = this.#store;
		const text = new Uint8Array(sealed.length);
		const status = store.openMessage(sealed, sealed.length, text, bound);
		this.#note("meter", `${status} ${store.openedByteLength} ${toHex(text)} head ${store.headSequence}`);
	}

	#down(branch: Branch, type: number, content: Uint8Array, bound?: Uint8Array): void {
		const sealed = this.#seal(branch, type, content, bound);
		this.#note(`down ${branch} ${type}`, toHex(sealed));
		this.#take(sealed, bound);
		this.#servers[branch]!.acknowledge(this.#store.downIndex(branch));
	}

	#roll(epoch: number): void {
		this.#note("stage", this.#store.stageEpoch(epoch, true));
		this.#note("commit", this.#store.commitEpoch());
		this.#note("leaves", toHex(this.#leaves.bytes));
		this.#startServers(epoch);
	}

	#noteFlash(): void {
		const into = new Uint8Array(32);
		this.#crypto.sha256(this.#flash.bytes, 0, this.#flash.bytes.length, into, 0, 32);
		this.#note("flash", toHex(into));
	}

	firstDay(): void {
		const nonce = counted(0x90, 8);
		this.#note("provision", this.#store.provision(this.#provisioning));
		this.#startServers(FIRST_DAY);
		this.#up(0, DATA, 26); // the technician's proof
		this.#up(0, DATA, 4); // not before the witness
		this.#up(1, CATCH_UP_REQUEST, 0, nonce);
		this.#down(1, CATCH_UP, counted(1, 28), nonce);
		this.#note("witness", this.#store.witness(1));
		this.#up(0, TIME_REQUEST, 0, nonce);
		this.#down(0, TIME, counted(2, 8), nonce);
		this.#note("unacknowledged", `${this.#store.unacknowledged(0)} ${this.#store.unacknowledged(1)}`);
		for (const byteLength of [0, 1, 16, 64, 200]) {
			this.#up(0, DATA, byteLength);
			this.#up(1, NEIGHBOUR, byteLength);
			this.#down(0, COMMAND, counted(byteLength, byteLength));
			this.#down(1, NEIGHBOUR, counted(byteLength, byteLength));
		}
		for (let i = 0; i < 70; i++) this.#up(0, DATA, 3); // past a reservation
		this.#note("slot", this.#store.useFlashSlot(9));
		this.#note("version", this.#store.raiseSecurityVersion(2));
	}

	/** Loss, repetition and forgery, over a day's end and a restart. */
	lossAndForgery(): void {
		const lost = [0, 1, 2, 3].map((n) => this.#seal(0, COMMAND, counted(n, 5)));
		this.#take(lost[2]!);
		this.#take(lost[2]!);
		this.#take(lost[1]!);
		for (const at of [1, 6, 7, 9, 10, 22]) {
			const forged = Uint8Array.from(lost[3]!);
			forged[at] = forged[at]! ^ 0x55;
			this.#take(forged);
		}
		this.#roll(FIRST_DAY + 1);
		this.#take(lost[3]!);
		this.#up(0, DATA, 5);
		this.#note("end yesterday", this.#store.endYesterday());
		this.#store = this.#open();
		this.#note("witness", this.#store.witness(1));
		this.#up(0, DATA, 5);
		this.#up(1, NEIGHBOUR, 5);
	}

	otherConcentrator(): void {
		const context = Uint8Array.from([...counted(0x10, 16), 0xfe, 0xdc, 0xba, 0x98]);
		this.#down(0, ATTACH, Uint8Array.from([0x11, 0x12, 0x13, 0x14, 0x9c, 0x4e, ...context]));
		const { domain, shortAddress, concentrator } = this.#store;
		this.#note("attached", `${domain} ${shortAddress} ${concentrator} ${toHex(this.#leaves.bytes)}`);
		this.#servers = this.#serversOf(0x1112, 0x1314);
		const value = new Uint8Array(32);
		attachedDay(this.#crypto, context, 0, FIRST_DAY + 1, value, 0);
		this.#servers[1]!.startDay(FIRST_DAY + 1, value, 0);
		this.#up(1, NEIGHBOUR, 5);
		this.#down(1, NEIGHBOUR, counted(7, 7));
		this.#roll(FIRST_DAY + 3); // into the next block
		this.#up(1, NEIGHBOUR, 5);
		this.#up(0, DATA, 5);
	}

	newKeys(): void {
		this.#provisioning = scenarioProvisioning(2, FIRST_DAY + 3);
		this.#note("stage", this.#store.stageReseed(this.#provisioning));
		this.#note("commit", this.#store.commitReseed());
		this.#servers = this.#serversOf(0x0102, 0x0304);
		this.#startServers(FIRST_DAY + 3);
		this.#up(0, DATA, 26);
		this.#noteFlash();
		this.#note("factory reset", this.#store.factoryReset());
		this.#note("slot and version", `${this.#store.flashSlotNext} ${this.#store.minimumSecurityVersion()}`);
		this.#noteFlash();
	}
}
