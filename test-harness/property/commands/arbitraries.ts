import fc from "fast-check";
import { AuditFormat, type AuditRow } from "../../../src/messages/audit.js";
import type { DemandResponseEvent, LoadLimit, Prices, TariffTable } from "../../../src/messages/command.js";
import { Outcome, type Receipt } from "../../../src/messages/receipt.js";

export const u8 = fc.integer({ min: 0, max: 0xff });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
export const i32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
export const id = fc.uint8Array({ minLength: 8, maxLength: 8 });
export const chain = fc.uint8Array({ minLength: 16, maxLength: 16 });

export const limit: fc.Arbitrary<LoadLimit> = fc.record({
	limitWatts: u32,
	durationSeconds: u32,
	overSeconds: fc.integer({ min: 1, max: 3600 }),
	reconnectSeconds: u16,
	tripsMax: fc.integer({ min: 1, max: 255 }),
	thenWatts: u32,
});

export const prices: fc.Arbitrary<Prices> = fc
	.record({ validFromSeconds: u32, currency: u16, list: fc.array(i32, { minLength: 1, maxLength: 4 }) })
	.map(({ validFromSeconds, currency, list }) => {
		const values = new Int32Array(4);
		values.set(list);
		return { validFromSeconds, currency, tariffCount: list.length, prices: values };
	});

export const table: fc.Arbitrary<TariffTable> = fc
	.record({
		validFromSeconds: u32,
		utcOffsetMinutes: fc.integer({ min: -720, max: 840 }),
		summerTime: fc.boolean(),
		switches: fc.uniqueArray(fc.integer({ min: 0, max: 1439 }), { maxLength: 16 }),
		numbers: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 16, maxLength: 16 }),
	})
	.map(({ switches, numbers, ...rest }) => {
		const minutes = new Uint16Array(16);
		const tariffs = new Uint8Array(16);
		const sorted = [...switches].sort((a, b) => a - b);
		for (const [i, minute] of sorted.entries()) {
			minutes[i] = minute;
			tariffs[i] = numbers[i]!;
		}
		return { ...rest, switchCount: sorted.length, minutes, tariffs };
	});

export const response: fc.Arbitrary<DemandResponseEvent> = fc.record({
	startSeconds: fc.integer({ min: 0, max: 0x7fff_ffff }),
	durationSeconds: fc.integer({ min: 0, max: 0x7fff_ffff }),
	limitWatts: u32,
	dutyPermille: fc.integer({ min: 0, max: 1000 }),
	group: u8,
	optOutAllowed: fc.boolean(),
});

export const receipt: fc.Arbitrary<Receipt> = fc
	.record({
		outcome: fc.integer({ min: Outcome.executed, max: Outcome.interrupted }),
		status: u8,
		commandId: id,
		endedSeconds: u32,
		detail: i32,
		digest: chain,
		rowSequence: fc.integer({ min: 1, max: 0x7fff_ffff }),
		behind: fc.integer({ min: 0, max: 1000 }),
		headChain: chain,
		senderAnchor: chain,
	})
	.map(({ behind, ...rest }) => ({ ...rest, headSequence: rest.rowSequence + behind }));

export const auditRow: fc.Arbitrary<AuditRow> = fc
	.record({
		sequence: fc.constant(0),
		format: fc.integer({ min: AuditFormat.unchained, max: AuditFormat.command }),
		utcSeconds: u32,
		code: u16,
		detail: i32,
		commandId: id,
		value: chain,
	})
	.map((row) =>
		row.format === AuditFormat.command ? row : { ...row, commandId: new Uint8Array(8), value: new Uint8Array(16) },
	);
