import assert from "node:assert/strict";
import { Status } from "../../../src/bytes/status.js";
import type { Actuators } from "../../../src/commands/actuators.js";
import { AuditLog } from "../../../src/commands/audit-log.js";
import { Source } from "../../../src/commands/authorisation.js";
import { CommandHandler } from "../../../src/commands/command-handler.js";
import { ControlState } from "../../../src/commands/control-state.js";
import { type Device, SupplyControl } from "../../../src/commands/supply-control.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { type AuditRow, createAuditHeader, createAuditRow, decodeAuditHeader } from "../../../src/messages/audit.js";
import {
	COMMAND_BYTES_MAX,
	COMMAND_HEADER_BYTES,
	encodeCommandAnchor,
	encodeCommandHeader,
	type TariffTable,
} from "../../../src/messages/command.js";
import { Kind, MESSAGE_BYTES_MAX } from "../../../src/messages/kinds.js";
import { createReceipt, decodeReceipt, type Receipt } from "../../../src/messages/receipt.js";
import { EventStore } from "../../../src/storage/event-store.js";
import { SettingsStore } from "../../../src/storage/settings-store.js";
import { MeterAudit } from "../../accountability/meter-audit.js";
import { FlashSimulator, type FlashSimulatorOptions } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

export const IDENTIFIER = Uint8Array.from([0, 0x0d, 0x6f, 0, 0, 0, 0x12, 0x34]);
export const NOW = 848_000_000;
const SETTINGS = Object.freeze({ firstSector: 0, sectorCount: 4 });
const EVENTS = Object.freeze({ firstSector: 4, sectorCount: 4 });
/** Settings 4 sectors, events 4: at least 189 rows. */
const FLASH = Object.freeze({ sectorBytes: 4096, sectorCount: 8, writeBytes: 16, writeOnce: true });

export function newFlash(options: FlashSimulatorOptions = {}): FlashSimulator {
	return new FlashSimulator({ ...FLASH, ...options });
}

/** What the world outside sees of a meter; outlives its restarts. */
export class FakeDevice implements Device {
	relay: boolean | undefined;
	/** Each thing that was done, in order. */
	done: string[] = [];
	relayStatus: Status = Status.ok;
	head = 77;

	setRelay(closed: boolean): Status {
		if (this.relayStatus !== Status.ok) return this.relayStatus;
		this.relay = closed;
		this.done.push(closed ? "close" : "open");
		return Status.ok;
	}
	calendarChanged(table: TariffTable): void {
		this.done.push(`calendar ${table.switchCount}`);
	}
	configurationChanged(readingSeconds: number, intervalSeconds: number): void {
		this.done.push(`configuration ${readingSeconds} ${intervalSeconds}`);
	}
	synchroniseClock(stepSecondsMax: number): Status {
		this.done.push(`clock ${stepSecondsMax}`);
		return Status.ok;
	}
	readProfile(firstSequence: number, count: number): Status {
		this.done.push(`profile ${firstSequence} ${count}`);
		return Status.ok;
	}
	keyHead(): number {
		return this.head;
	}
	decommission(): Status {
		this.done.push("decommission");
		return Status.ok;
	}
}

/** A meter's command room on a flash, opened. */
export class World {
	readonly flash: FlashSimulator;
	readonly device: FakeDevice;
	readonly audit: AuditLog;
	readonly supply: SupplyControl;
	readonly handler: CommandHandler;
	now = 1_000_000;
	utcSeconds = NOW;
	readonly #into = new DataView(new ArrayBuffer(MESSAGE_BYTES_MAX));

	/** @param wrap stands between the handler and what it makes the meter do */
	constructor(
		flash: FlashSimulator = newFlash(),
		device = new FakeDevice(),
		crypto: Crypto = new NodeCrypto(),
		wrap: (actuators: Actuators) => Actuators = (actuators) => actuators,
	) {
		this.flash = flash;
		this.device = device;
		this.audit = new AuditLog(crypto, new EventStore(flash, EVENTS));
		this.supply = new SupplyControl(
			new ControlState(new SettingsStore(flash, SETTINGS)),
			this.audit,
			device,
			IDENTIFIER,
		);
		this.handler = new CommandHandler(crypto, this.audit, wrap(this.supply), IDENTIFIER);
		assert.equal(this.audit.open(), Status.ok, "the log opens");
		this.supply.open(Number.NaN);
		assert.equal(this.handler.open(Number.NaN), Status.ok, "the handler opens");
	}

	send(message: Uint8Array, source: number = Source.headEnd, isExpired = false): Status {
		return this.handler.receive(this.now, this.utcSeconds, { source, index: 5, isExpired }, message, 0, message.length);
	}

	/** All answers that wait. */
	answers(): Uint8Array[] {
		const found: Uint8Array[] = [];
		for (;;) {
			const byteLength = this.handler.transmit(this.#into);
			if (byteLength === 0) return found;
			found.push(new Uint8Array(this.#into.buffer.slice(0, byteLength)));
			this.handler.transmitted();
		}
	}

	receipts(): Receipt[] {
		return this.answers()
			.filter((bytes) => bytes[0] === Kind.receipt)
			.map(receiptOf);
	}

	/** The one receipt that waits. */
	receipt(): Receipt {
		const found = this.receipts();
		assert.equal(found.length, 1, `one receipt, not ${found.length}`);
		return found[0]!;
	}

	rows(): AuditRow[] {
		const found: AuditRow[] = [];
		for (let sequence = this.audit.oldestSequence; sequence < this.audit.nextSequence; sequence++) {
			const row = createAuditRow();
			if (this.audit.read(sequence, row) === Status.ok) found.push(row);
		}
		return found;
	}
}

/** What a head end learns of a world's log: all rows and the head, held against one another. */
export function auditOf(world: World, audit = new MeterAudit("0")): MeterAudit {
	const into = new DataView(new ArrayBuffer(MESSAGE_BYTES_MAX));
	for (let next = 1; next < world.audit.nextSequence; next = world.audit.afterSequence) {
		const byteLength = world.audit.encodeRows(1, next, world.audit.nextSequence - next, into);
		if (byteLength > 0)
			assert.equal(audit.addMessage(new Uint8Array(into.buffer.slice(0, byteLength))), Status.ok, "rows decode");
	}
	audit.addAnchor(world.audit.headSequence, world.audit.head, "audit head");
	return audit;
}

export function receiptOf(bytes: Uint8Array): Receipt {
	const receipt = createReceipt();
	assert.equal(decodeReceipt(new DataView(bytes.buffer, bytes.byteOffset), bytes.length, receipt), Status.ok);
	return receipt;
}

export function auditHeaderOf(bytes: Uint8Array) {
	const header = createAuditHeader();
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	assert.equal(decodeAuditHeader(view, bytes.length, header), Status.ok);
	return { header, view };
}

export function idOf(row: number, log = 0x1234_5678): Uint8Array {
	const id = new Uint8Array(8);
	const view = new DataView(id.buffer);
	view.setUint32(0, log);
	view.setUint32(4, row);
	return id;
}

/** A command with a body written by `body`, or given as bytes. */
export function command(
	kind: number,
	row: number,
	body: Uint8Array | ((into: DataView, at: number) => number),
	notAfterSeconds = NOW + 3600,
	commandId = idOf(row),
): Uint8Array {
	const bytes = new Uint8Array(COMMAND_BYTES_MAX + 16);
	const view = new DataView(bytes.buffer);
	encodeCommandHeader(kind, commandId, notAfterSeconds, view);
	let bodyBytes: number;
	if (typeof body === "function") bodyBytes = body(view, COMMAND_HEADER_BYTES);
	else {
		bytes.set(body, COMMAND_HEADER_BYTES);
		bodyBytes = body.length;
	}
	return bytes.slice(0, encodeCommandAnchor(new Uint8Array(16).fill(row), bodyBytes, view));
}
