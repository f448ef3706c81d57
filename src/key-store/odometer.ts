import { InvariantError } from "../bytes/status.js";
import { type Crypto, NO_BYTES } from "../crypto/crypto.js";
import { Label } from "./labels.js";

/** Digits of an epoch, most significant first, base 16. */
const LEVELS = 4;
export const ODOMETER_VALUE_BYTES = 32;
/** Per level the value of the next sibling; zeros when the digit is 15. */
export const ODOMETER_STATE_BYTES = LEVELS * ODOMETER_VALUE_BYTES;
/** 65 536 days: 179 years. */
export const EPOCH_MAX = 0xffff;
/** Days of a block that is delegated to a concentrator. */
export const BLOCK_DAYS = 16;

function digit(epoch: number, level: number): number {
	return (epoch >> (12 - 4 * level)) & 15;
}

/** One step in place: 32 bytes. */
function step(crypto: Crypto, bytes: Uint8Array, from: number, label: number, into: number): void {
	crypto.kdf(bytes, from, ODOMETER_VALUE_BYTES, label, NO_BYTES, 0, 0, bytes, into, ODOMETER_VALUE_BYTES);
}

/** Keeps what comes after the value at `value` on `level`, over whatever was kept before. */
function keep(crypto: Crypto, bytes: Uint8Array, state: number, level: number, epoch: number, value: number): void {
	const into = state + level * ODOMETER_VALUE_BYTES;
	if (digit(epoch, level) < 15) step(crypto, bytes, value, Label.nextSibling, into);
	else bytes.fill(0, into, into + ODOMETER_VALUE_BYTES);
}

/** From a value on `level` whose digit is right: keeps, descends and walks along, to the day's value. */
function descend(crypto: Crypto, bytes: Uint8Array, state: number, level: number, epoch: number, value: number): void {
	keep(crypto, bytes, state, level, epoch, value);
	for (let lower = level + 1; lower < LEVELS; lower++) {
		step(crypto, bytes, value, Label.firstChild, value);
		for (let i = digit(epoch, lower); i > 0; i--) step(crypto, bytes, value, Label.nextSibling, value);
		keep(crypto, bytes, state, lower, epoch, value);
	}
}

/**
 * Sets an odometer to a day, from its root. State and value lie in one array, that of the secrets.
 * @param state where the 128 bytes of state go
 * @param value holds the root, 32 bytes, and receives V_e over it: derive the day's keys, then wipe it
 */
export function startOdometer(crypto: Crypto, bytes: Uint8Array, state: number, epoch: number, value: number): void {
	if (!(epoch >= 0 && epoch <= EPOCH_MAX)) throw new InvariantError("no such epoch");
	for (let i = digit(epoch, 0); i > 0; i--) step(crypto, bytes, value, Label.nextSibling, value);
	descend(crypto, bytes, state, 0, epoch, value);
}

/**
 * Moves an odometer to a later day: at most 62 compressions, 2.1 on average for one day. Irreversible: afterwards the
 * state gives no earlier day. Whoever calls has checked that the day is true (HORA 3.2).
 * @param from the epoch that the state stands at
 * @param epoch later than `from`
 * @param value receives V_e, 32 bytes: derive the day's keys, then wipe it
 */
export function jumpOdometer(
	crypto: Crypto,
	bytes: Uint8Array,
	state: number,
	from: number,
	epoch: number,
	value: number,
): void {
	if (!(from >= 0 && epoch > from && epoch <= EPOCH_MAX)) throw new InvariantError("an odometer moves forward only");
	let level = 0;
	while (digit(from, level) === digit(epoch, level)) level++;
	const kept = state + level * ODOMETER_VALUE_BYTES;
	bytes.copyWithin(value, kept, kept + ODOMETER_VALUE_BYTES);
	for (let i = digit(epoch, level) - digit(from, level) - 1; i > 0; i--)
		step(crypto, bytes, value, Label.nextSibling, value);
	descend(crypto, bytes, state, level, epoch, value);
}

/**
 * The down seed of a block of 16 days, which gives exactly those days. For the owner of the root.
 * @param block epoch / 16, 0 to 4095
 * @param value holds the root, 32 bytes, and receives the seed over it
 */
export function blockSeed(crypto: Crypto, bytes: Uint8Array, block: number, value: number): void {
	if (!(block >= 0 && block <= EPOCH_MAX >> 4)) throw new InvariantError("no such block");
	for (let level = 0; level < LEVELS - 1; level++) {
		for (let i = digit(block << 4, level); i > 0; i--) step(crypto, bytes, value, Label.nextSibling, value);
		step(crypto, bytes, value, Label.firstChild, value);
	}
}

/**
 * The concentrator's odometer: from the down seed of a block to its days in turn. Keeps the value of the next day alone.
 * @param next holds the value of the day `from`, 32 bytes, at first the seed (day 0 of the block); receives that of the
 * day after `day`, or zeros after the last
 * @param from 0 to 15, the day within the block that `next` belongs to
 * @param day 0 to 15, not before `from`
 * @param value receives the value of `day`
 */
export function nextBlockDay(
	crypto: Crypto,
	bytes: Uint8Array,
	next: number,
	from: number,
	day: number,
	value: number,
): void {
	if (!(from >= 0 && day >= from && day < BLOCK_DAYS)) throw new InvariantError("a block has 16 days, in order");
	bytes.copyWithin(value, next, next + ODOMETER_VALUE_BYTES);
	for (let i = day - from; i > 0; i--) step(crypto, bytes, value, Label.nextSibling, value);
	if (day < BLOCK_DAYS - 1) step(crypto, bytes, value, Label.nextSibling, next);
	else bytes.fill(0, next, next + ODOMETER_VALUE_BYTES);
}

export const ATTACH_SECRET_BYTES = 16;
/** Secret, then the concentrator's identity: the context of the next day's value. */
export const ATTACH_CONTEXT_BYTES = ATTACH_SECRET_BYTES + 4;

/**
 * V_e of the day of an ATTACH: V_e = KDF(s, "i", epoch, DC), independent of all before (HORA section 5).
 * @param context secret 16, DC 4, at `offset`
 * @param value receives 32 bytes
 */
export function attachedDay(
	crypto: Crypto,
	context: Uint8Array,
	offset: number,
	epoch: number,
	bytes: Uint8Array,
	value: number,
): void {
	// Not secret, and the value's place is free: the context is built there.
	bytes[value] = epoch >> 8;
	bytes[value + 1] = epoch;
	for (let i = 0; i < 4; i++) bytes[value + 2 + i] = context[offset + ATTACH_SECRET_BYTES + i]!;
	const { attachedDay: label } = Label;
	crypto.kdf(context, offset, ATTACH_SECRET_BYTES, label, bytes, value, 6, bytes, value, ODOMETER_VALUE_BYTES);
}

/**
 * The value of the day after an ATTACH, out of the one that the old concentrator knows: next = KDF(next, "b", s, DC), in
 * place. Later days of the block follow from it as ever; the next block does not, and needs no change: the old one never
 * had its seed. On the last day of a block there is none.
 * @param next 32 bytes in `bytes`
 */
export function attachedNext(
	crypto: Crypto,
	bytes: Uint8Array,
	next: number,
	context: Uint8Array,
	offset: number,
): void {
	const { attachedNext: label } = Label;
	const size = ODOMETER_VALUE_BYTES;
	crypto.kdf(bytes, next, size, label, context, offset, ATTACH_CONTEXT_BYTES, bytes, next, size);
}

/** The same in a meter's state; nothing to do on the last day of a block. */
export function attachOdometer(
	crypto: Crypto,
	bytes: Uint8Array,
	state: number,
	epoch: number,
	context: Uint8Array,
	offset: number,
): void {
	if (digit(epoch, LEVELS - 1) < 15)
		attachedNext(crypto, bytes, state + (LEVELS - 1) * ODOMETER_VALUE_BYTES, context, offset);
}
