import { Status } from "../bytes/status.js";
import type { NorFlash } from "../platform/flash.js";
import { REGISTER_KIND, REGISTER_SECTORS, type SectorRange } from "./layout.js";
import { encodeProfileRow, PROFILE_ROW_BYTES, type ProfileRow, type ProfileStore } from "./profile-store.js";
import { RecordLog, type RecordLogCounters } from "./record-log.js";

/** Largest encoded registers. */
export const REGISTER_BYTES_MAX = 512;
/** Default time between commits. */
export const COMMIT_PERIOD_MILLISECONDS = 60_000;
/** A supply-fail signal that flutters costs at most one commit in this time. */
export const POWER_FAIL_SPACING_MILLISECONDS = 10_000;

/**
 * Commit, payload version 1: 8 + n or 48 + n bytes, big-endian. Log kind "Regi".
 * | offset | size | field       | unit and range                                                                    |
 * |-------:|-----:|-------------|-----------------------------------------------------------------------------------|
 * |      0 |    1 | flags       | bit 0: a profile row is on its way; bit 1: written under a failing supply         |
 * |      1 |    1 | reserved    | 0                                                                                 |
 * |      2 |    2 | reserved    | 0                                                                                 |
 * |      4 |    4 | rowSequence | bit 0 set: the row has this sequence in the profile, or a later one; else 0       |
 * |      8 | 0,40 | row         | bit 0 set: the load profile row, version 1                                        |
 * |        |    n | registers   | as the metrology encodes them, with their own version; to the end                 |
 */
export const COMMIT_VERSION = 1;
const COMMIT_HEADER_BYTES = 8;
const FLAG_ROW = 1;
const FLAG_POWER_FAIL = 2;
const RECORD_BYTES = COMMIT_HEADER_BYTES + PROFILE_ROW_BYTES + REGISTER_BYTES_MAX;

/**
 * The registers in flash: the newest good commit wins. Each commit is a record of its own; the ring keeps hours of them,
 * so a commit that is damaged costs one period.
 *
 * Loss by a power cut: what was measured since the last commit, at most power x (period + time of one commit); with a
 * supply-fail signal what was measured after it.
 *
 * A row of the load profile and the registers that it belongs to are written as one: the row travels in the commit, then
 * goes to the profile; `open`, `load`, `finishRow` at start write it when a cut came between. So no interval is lost or
 * counted twice.
 */
export class RegisterStore {
	readonly log: RecordLog;
	/** Of the last good `load`. */
	byteLength = 0;
	/** Commits left out because the supply-fail signal fluttered. */
	powerFailCommitsRefused = 0;

	readonly #periodMilliseconds: number;
	/** A commit, and behind it the row of the newest commit, as long as it is not known to be in the profile. */
	readonly #view = new DataView(new ArrayBuffer(RECORD_BYTES + PROFILE_ROW_BYTES));
	readonly #bytes = new Uint8Array(this.#view.buffer, 0, RECORD_BYTES);
	readonly #row = new Uint8Array(this.#view.buffer, RECORD_BYTES);
	#rowPending = false;
	/** The newest commit is of a newer firmware: it is not buried under ours. */
	#newerVersion = false;
	#rowSequence = 0;
	#nextCommitMilliseconds = 0;
	#powerFailAllowedMilliseconds = Number.NEGATIVE_INFINITY;

	constructor(
		flash: NorFlash,
		periodMilliseconds = COMMIT_PERIOD_MILLISECONDS,
		area: SectorRange = REGISTER_SECTORS,
		counters?: RecordLogCounters,
	) {
		this.#periodMilliseconds = periodMilliseconds;
		this.log = new RecordLog(flash, area.firstSector, area.sectorCount, REGISTER_KIND, RECORD_BYTES, counters);
	}

	/** See `RecordLog.open`. */
	open(): Status {
		return this.log.open();
	}

	/**
	 * The registers of the newest good commit, and its row if one was on its way.
	 * @param into 512 bytes; receives the registers from index 0
	 * @returns `ok`, with `byteLength` set; `notFound` on a new meter; `badChecksum` when there were commits and none is
	 * good (registers are lost, say so; a cut in the very first commit of a new meter looks the same); `badVersion` when a
	 * newer firmware wrote it: commits are then refused too, so that its registers stay
	 */
	load(into: Uint8Array): Status {
		const bytes = this.#bytes;
		this.#rowPending = false;
		this.#newerVersion = false;
		const status = this.log.readNewest(bytes);
		if (status !== Status.ok) return status;
		this.#newerVersion = this.log.readVersion > COMMIT_VERSION;
		if (this.log.readVersion !== COMMIT_VERSION) return Status.badVersion;
		const withRow = this.log.readByteLength >= COMMIT_HEADER_BYTES && (bytes[0]! & FLAG_ROW) !== 0;
		const start = withRow ? COMMIT_HEADER_BYTES + PROFILE_ROW_BYTES : COMMIT_HEADER_BYTES;
		const byteLength = this.log.readByteLength - start;
		if (byteLength < 0 || byteLength > into.length) return Status.badLength;
		if (withRow) {
			for (let i = 0; i < PROFILE_ROW_BYTES; i++) this.#row[i] = bytes[COMMIT_HEADER_BYTES + i]!;
			this.#rowSequence = this.#view.getUint32(4);
			this.#rowPending = true;
		}
		for (let i = 0; i < byteLength; i++) into[i] = bytes[start + i]!;
		this.byteLength = byteLength;
		return Status.ok;
	}

	/**
	 * After `load` and after the profile's `open`: writes the row of the newest commit into the profile unless it is there.
	 * Also repeats an append that failed. Nothing to do is `ok`.
	 */
	finishRow(profile: ProfileStore): Status {
		if (!this.#rowPending) return Status.ok;
		// The profile's sequence only moves on by this row, or by slots that torn attempts at this row have used up.
		if (profile.log.newestSequence < this.#rowSequence) {
			const status = profile.appendEncoded(this.#row);
			if (status !== Status.ok) return status;
		}
		this.#rowPending = false;
		return Status.ok;
	}

	/** When the next `commit` is due. */
	deadlineMilliseconds(): number {
		return this.#nextCommitMilliseconds;
	}

	/**
	 * Commits the registers: durable when it returns `ok`. Takes a few milliseconds, and at every seventh call one erase
	 * more, done after the commit so that the next one is quick.
	 * @param nowMilliseconds the monotonic clock; the next commit is due one period later
	 */
	commit(nowMilliseconds: number, registers: Uint8Array, byteLength: number): Status {
		const status = this.#write(registers, byteLength, 0);
		this.#nextCommitMilliseconds = nowMilliseconds + this.#periodMilliseconds;
		if (status === Status.ok) this.log.prepare();
		return status;
	}

	/**
	 * At the end of an interval: commits the registers as they are after it, together with its row, then appends the row.
	 * When this returns other than `ok` before the commit was durable (`badLength`, flash failure), nothing has happened;
	 * when only the append failed, every later commit carries the row until `finishRow` succeeds.
	 */
	commitWithRow(
		nowMilliseconds: number,
		registers: Uint8Array,
		byteLength: number,
		row: ProfileRow,
		profile: ProfileStore,
	): Status {
		let status = this.finishRow(profile);
		if (status !== Status.ok) return status;
		encodeProfileRow(row, this.#view, RECORD_BYTES);
		this.#rowSequence = profile.nextSequence;
		this.#rowPending = true;
		status = this.#write(registers, byteLength, 0);
		this.#nextCommitMilliseconds = nowMilliseconds + this.#periodMilliseconds;
		if (status !== Status.ok) {
			this.#rowPending = false;
			return status;
		}
		status = this.finishRow(profile);
		this.log.prepare();
		return status;
	}

	/**
	 * The supply fails: commits without any erase.
	 * @returns `busy` when the last such commit is less than 10 s ago (a fluttering signal would wear the flash)
	 */
	commitPowerFail(nowMilliseconds: number, registers: Uint8Array, byteLength: number): Status {
		if (nowMilliseconds < this.#powerFailAllowedMilliseconds) {
			this.powerFailCommitsRefused++;
			return Status.busy;
		}
		this.#powerFailAllowedMilliseconds = nowMilliseconds + POWER_FAIL_SPACING_MILLISECONDS;
		return this.#write(registers, byteLength, FLAG_POWER_FAIL);
	}

	#write(registers: Uint8Array, byteLength: number, flags: number): Status {
		if (!(byteLength >= 0 && byteLength <= REGISTER_BYTES_MAX && byteLength <= registers.length))
			return Status.badLength;
		if (this.#newerVersion) return Status.badVersion;
		const bytes = this.#bytes;
		const view = this.#view;
		let at = COMMIT_HEADER_BYTES;
		view.setUint32(0, 0);
		view.setUint8(0, this.#rowPending ? flags | FLAG_ROW : flags);
		view.setUint32(4, this.#rowPending ? this.#rowSequence : 0);
		if (this.#rowPending) for (let i = 0; i < PROFILE_ROW_BYTES; i++) bytes[at++] = this.#row[i]!;
		for (let i = 0; i < byteLength; i++) bytes[at++] = registers[i]!;
		return this.log.append(bytes, at, COMMIT_VERSION);
	}
}

/**
 * The energy that a power cut may cost, to be declared: power x (period + 1 s for a late commit), in mWh, rounded up.
 * @param powerMilliwattsMax the largest power of the meter, all phases
 */
export function declaredLossMilliwattHours(powerMilliwattsMax: number, periodMilliseconds: number): number {
	return Math.ceil((powerMilliwattsMax * (periodMilliseconds + 1000)) / 3_600_000);
}
