import { crc32 } from "../bytes/crc.js";
import { InvariantError, Status } from "../bytes/status.js";
import type { NorFlash } from "../platform/flash.js";

/**
 * Sector header, version 1: 32 bytes, big-endian, two blocks of 16 bytes, each programmed once.
 * Block A is programmed when the erase has returned and says so; block B when the sector is taken into use.
 * | offset | size | field         | unit and range                                                              |
 * |-------:|-----:|---------------|-----------------------------------------------------------------------------|
 * |      0 |    4 | kind          | which log: four letters                                                     |
 * |      4 |    1 | formatVersion | 1                                                                           |
 * |      5 |    1 | slotUnits     | bytes of a record slot / 16, 2 to 253                                       |
 * |      6 |    2 | reserved      | 0xFFFF                                                                      |
 * |      8 |    4 | eraseCount    | erases of this sector, counted from 1; after damage taken from a neighbour  |
 * |     12 |    4 | checksumA     | CRC-32 of bytes 0 to 11                                                     |
 * |     16 |    4 | firstSequence | sequence of slot 0, 1 to 2^32 - 2                                           |
 * |     20 |    8 | reserved      | 0xFF                                                                        |
 * |     28 |    4 | checksumB     | CRC-32 of bytes 0 to 27                                                     |
 */
export const SECTOR_HEADER_BYTES = 32;
const BLOCK_BYTES = 16;
const FORMAT_VERSION = 1;

/**
 * Record, version 1: a slot of `slotUnits` x 16 bytes, big-endian; slot n of a sector starts at 32 + n x slot bytes.
 * Programmed by one aligned write of whole 16-byte blocks; the checksum is its last part, and is what commits it.
 * | offset | size | field          | unit and range                                                             |
 * |-------:|-----:|----------------|----------------------------------------------------------------------------|
 * |      0 |    4 | sequence       | firstSequence of the sector + n                                            |
 * |      4 |    2 | byteLength     | of the payload, 0 to slot bytes - 12                                       |
 * |      6 |    1 | payloadVersion | of the payload's own format                                                |
 * |      7 |    1 | reserved       | 0xFF                                                                       |
 * |      8 |    n | payload        |                                                                            |
 * |  8 + n |    4 | checksum       | CRC-32 of the log's kind (4 bytes) and bytes 0 to 7 + n                    |
 * | 12 + n |      | padding        | 0xFF up to the block's end; the rest of the slot is not programmed         |
 */
export const RECORD_OVERHEAD_BYTES = 12;
const RECORD_HEADER_BYTES = 8;

/** Of `#locate`: there is no such slot, or it is larger than this log's. */
const NOWHERE = -1;
const TOO_LARGE = -2;

/** Where the slot is in a log's buffer, behind the sector header. */
const SLOT_AT = SECTOR_HEADER_BYTES;

/** The last sequence that is given out; years at one a minute: 8 171. */
const SEQUENCE_MAX = 0xffff_fffe;
/** How many slots `append` tries when flash does not keep what was written. */
const APPEND_ATTEMPTS_MAX = 3;

/** What a sector's header says. */
const Sector = Object.freeze({
	/** Header is all ones: never used, or an erase that was not marked as complete. */
	blank: 0,
	/** Erased, marked as such, not yet in use. */
	erased: 1,
	/** In use: a good header. */
	used: 2,
	/** No good header, but a record in it is good and tells the sequences. */
	salvaged: 3,
	/** Anything else. */
	damaged: 4,
	/** Ours, but of a format version that this firmware does not know. */
	newer: 5,
} as const);
type Sector = (typeof Sector)[keyof typeof Sector];

/** What happened to one log or several since construction; they only count up. */
export class RecordLogCounters {
	erases = 0;
	programs = 0;
	bytesProgrammed = 0;
	reads = 0;
	bytesRead = 0;
	/** Records that a power cut left unfinished, found by `open` at the end of the log. */
	tornRecordsSeen = 0;
	/** Records that were asked for and are not good. */
	badRecordsSeen = 0;
	/** Sectors found by `open` that are neither erased nor good; each is erased before it is used again. */
	badSectorsSeen = 0;
	/** Of these: sectors whose header is damaged, but whose records are kept. */
	sectorsSalvaged = 0;
	/** Interrupted erases that `open` finished. */
	erasesFinished = 0;
	/** Records or headers that did not read back as written; another place was tried. */
	writeFailures = 0;
	/** Flash calls that failed. */
	flashFailures = 0;
}

/**
 * A circular log of records in a range of flash sectors. Survives a power cut in any operation, `open` included.
 *
 * A record has a sequence, counting up by one from 1 and tied to its slot. A slot that a torn append has touched is
 * used up together with its sequence: `read` says `badChecksum` there, so a gap is explicit and nothing is ever given
 * out twice. The oldest sector is erased when space is needed; all sectors wear alike. The sector with the newest good
 * record is not erased, however many appends were torn behind it.
 *
 * After construction nothing is allocated. RAM: one slot, one header, about 20 numbers; no index: `read` searches the
 * sector headers in flash, log2(sectorCount) reads, and none when it stays in one sector.
 *
 * Flash is written in aligned blocks of 16 bytes, each once between two erases, so flash encryption and flash with error
 * correction are fine; the host returns 0xFF for a block that is erased.
 */
export class RecordLog {
	readonly counters: RecordLogCounters;
	/** Of the last good `read`, `readNewest`. */
	readByteLength = 0;
	readVersion = 0;
	readSequence = 0;

	readonly #flash: NorFlash;
	readonly #firstSector: number;
	readonly #sectorCount: number;
	readonly #sectorBytes: number;
	readonly #kind: number;
	readonly #kindChecksum: number;
	readonly #recordBytes: number;
	readonly #slotBytes: number;
	/** A sector header and, from `SLOT_AT` on, a slot: two arrays in one buffer, and a view of both. */
	readonly #header: Uint8Array;
	readonly #slot: Uint8Array;
	readonly #view: DataView;

	#opened = false;
	/** A newer format is on flash: nothing is written. */
	#newerFormat = false;
	#oldestSequence = 1;
	#nextSequence = 1;
	#newestSequence = 0;

	/** Ring indices of the newest and oldest sector in use; -1: none. */
	#head = -1;
	#tail = -1;
	/** Ring index of the sector with the newest good record: never erased to make space; -1: none. */
	#newestSector = -1;
	#headBase = 1;
	#headSlotBytes = 0;
	#headEraseCount = 0;
	/** Slots of the head that may still be written, from `#headNextSlot` up to here. */
	#headSlots = 0;
	#headNextSlot = 0;
	/** Ring index of a sector that this instance has erased and marked; -1: none. */
	#prepared = -1;

	/** The sector last found by `read`, other than the head: sequences from base to below limit. */
	#foundSector = -1;
	#foundBase = 0;
	#foundLimit = 0;
	#foundSlotBytes = 0;
	/** Of the slot last found by `#locate`. */
	#locatedSlotBytes = 0;

	/** What `#inspect` found. */
	#sectorBase = 0;
	#sectorSlotBytes = 0;
	#sectorEraseCount = 0;

	/**
	 * @param firstSector first sector of the log's range in `flash`
	 * @param sectorCount at least 3: one may be empty, one holds the newest good record, one what was torn after it
	 * @param kind magic of this log, u32, other than that of every other log
	 * @param recordBytes largest payload; a later firmware may raise it, never lower it
	 * @param counters of several logs together, or absent: its own
	 */
	constructor(
		flash: NorFlash,
		firstSector: number,
		sectorCount: number,
		kind: number,
		recordBytes: number,
		counters = new RecordLogCounters(),
	) {
		const slotBytes = slotBytesOf(recordBytes);
		if (sectorCount < 3 || firstSector < 0 || firstSector + sectorCount > flash.sectorCount)
			throw new InvariantError("a record log needs three sectors or more, inside its flash");
		if (slotBytes > 253 * BLOCK_BYTES || slotBytes > flash.sectorBytes - SECTOR_HEADER_BYTES)
			throw new InvariantError("a record must fit into one sector");
		this.counters = counters;
		this.#flash = flash;
		this.#firstSector = firstSector;
		this.#sectorCount = sectorCount;
		this.#sectorBytes = flash.sectorBytes;
		this.#kind = kind >>> 0;
		this.#recordBytes = recordBytes;
		this.#slotBytes = slotBytes;
		const buffer = new ArrayBuffer(SLOT_AT + slotBytes);
		this.#header = new Uint8Array(buffer, 0, SECTOR_HEADER_BYTES);
		this.#slot = new Uint8Array(buffer, SLOT_AT);
		this.#view = new DataView(buffer);
		this.#view.setUint32(0, this.#kind);
		this.#kindChecksum = crc32(this.#header, 0, 4);
	}

	/** Sequence of the oldest slot that is still there; equal to `nextSequence` when the log is empty. */
	get oldestSequence(): number {
		return this.#oldestSequence;
	}

	/** Sequence of the newest good record, 0 when there is none. What a power cut left behind it does not count. */
	get newestSequence(): number {
		return this.#newestSequence;
	}

	/** Sequence that the next append tries to take. */
	get nextSequence(): number {
		return this.#nextSequence;
	}

	/**
	 * Finds the newest record, finishes an interrupted erase. Call it before all else; may be called again.
	 * Time: two reads of each header, at most 2 sectors read in full, at most one erase; a sector with a damaged header is
	 * searched for a good record, 8 bytes of each slot.
	 * @returns `ok` for any content of flash, garbage included; `badVersion` when a newer firmware wrote this log (reads
	 * give `notFound`, writes `badVersion`, until `eraseAll`); the status of the flash when it cannot be read at all
	 */
	open(): Status {
		const count = this.#sectorCount;
		this.#forget();
		this.#opened = true;

		let newestBase = 0;
		let readable = false;
		let lastFailure: Status = Status.ok;
		for (let ring = 0; ring < count; ring++) {
			const failures = this.counters.flashFailures;
			const state = this.#inspect(ring);
			if (this.counters.flashFailures === failures) readable = true;
			else lastFailure = Status.corrupt;
			if (state === Sector.newer) this.#newerFormat = true;
			if (state === Sector.damaged || state === Sector.salvaged) this.counters.badSectorsSeen++;
			if ((state === Sector.used || state === Sector.salvaged) && this.#sectorBase > newestBase) {
				newestBase = this.#sectorBase;
				this.#head = ring;
			}
		}
		if (!readable) return lastFailure;
		if (this.#newerFormat) {
			this.#forget();
			this.#newerFormat = true;
			return Status.badVersion;
		}
		if (this.#head < 0) return Status.ok;

		this.#enterHead();
		this.#findTail();
		// Erased is always the oldest sector, so an interrupted erase is found before what is now the oldest.
		// A flash that refuses is counted; the sector is erased again before it is used.
		this.#finishErase((this.#tail + count - 1) % count);
		this.#findNewest();
		return Status.ok;
	}

	/**
	 * Writes a record; it is durable, and has been read back, when this returns `ok`.
	 * Its sequence is then `nextSequence - 1`. Cost: one program, and at a new sector one erase unless `prepare` did it.
	 * @param payloadVersion of the payload's own format, 0 to 255
	 * @returns `ok`; `badLength`; `storageFull` after sequence 2^32 - 2; `badVersion`, see `open`; `corrupt` or the status
	 * of the flash when flash does not keep what is written: the record is then not there
	 */
	append(payload: Uint8Array, byteLength: number, payloadVersion = 1): Status {
		if (!this.#opened) throw new InvariantError("append before open");
		if (!(byteLength >= 0 && byteLength <= this.#recordBytes && byteLength <= payload.length)) return Status.badLength;
		let status: Status = Status.corrupt;
		for (let attempt = 0; attempt < APPEND_ATTEMPTS_MAX; attempt++) {
			if (this.#nextSequence > SEQUENCE_MAX) return Status.storageFull;
			if (this.#headNextSlot >= this.#headSlots) {
				status = this.#takeSector();
				if (status !== Status.ok) return status;
			}
			const sequence = this.#nextSequence;
			const address = this.#slotAddress(this.#head, this.#slotBytes, this.#headNextSlot);
			const written = this.#encode(sequence, payload, byteLength, payloadVersion);
			// From here the slot and its sequence are used up, whatever happens.
			this.#headNextSlot++;
			this.#nextSequence++;
			status = this.#program(address, this.#slot, written);
			if (status === Status.ok) {
				status = this.#readSlot(address, this.#slotBytes, sequence);
				if (status === Status.ok) {
					this.#newestSequence = sequence;
					this.#newestSector = this.#head;
					return Status.ok;
				}
				status = Status.corrupt;
			}
			this.counters.writeFailures++;
		}
		return status;
	}

	/**
	 * @param into receives the payload from index 0; used only after `ok`, which also sets `readByteLength`,
	 * `readVersion`, `readSequence`
	 * @returns `ok`; `notFound` when the sequence was never given out, is erased, or its slot is blank; `badChecksum` when
	 * a record was begun there and is not good; `badLength` when `into` is too short; `unsupported` when the slot is larger
	 * than this log's
	 */
	read(sequence: number, into: Uint8Array): Status {
		const status = this.#load(sequence);
		if (status !== Status.ok) {
			if (status !== Status.notFound) this.counters.badRecordsSeen++;
			return status;
		}
		const byteLength = this.#view.getUint16(SLOT_AT + 4);
		if (into.length < byteLength) return Status.badLength;
		const bytes = this.#slot;
		for (let i = 0; i < byteLength; i++) into[i] = bytes[RECORD_HEADER_BYTES + i]!;
		this.readByteLength = byteLength;
		this.readVersion = bytes[6]!;
		this.readSequence = sequence;
		return Status.ok;
	}

	/**
	 * Some bytes of a payload as they lie in flash, unchecked: to find a record among many without a checksum over each.
	 * What it finds must be read again with `read`.
	 * @returns whether there were so many bytes to copy to the start of `into`
	 */
	peek(sequence: number, payloadOffset: number, byteLength: number, into: Uint8Array): boolean {
		const address = this.#locate(sequence);
		const start = RECORD_HEADER_BYTES + payloadOffset;
		return (
			address >= 0 && start + byteLength <= this.#locatedSlotBytes && this.#read(address + start, into, byteLength)
		);
	}

	/**
	 * The newest good record; what a power cut left unfinished behind it is passed over.
	 * @returns `ok`; `notFound` when the log is empty; `badChecksum` when there were records and none is good
	 */
	readNewest(into: Uint8Array): Status {
		for (let sequence = this.#newestSequence; sequence >= this.#oldestSequence; sequence--) {
			const status = this.read(sequence, into);
			if (status === Status.ok || status === Status.badLength) return status;
		}
		return this.#oldestSequence === this.#nextSequence ? Status.notFound : Status.badChecksum;
	}

	/**
	 * Makes sure that the next append needs no erase. At most one erase: the oldest sector may go a little earlier.
	 * Call it when there is time, so that an append under a failing supply takes milliseconds.
	 */
	prepare(): Status {
		if (!this.#opened) throw new InvariantError("prepare before open");
		if (this.#newerFormat) return Status.badVersion;
		if (this.#headNextSlot < this.#headSlots || this.#prepared >= 0) return Status.ok;
		let status: Status = Status.corrupt;
		for (let step = 1; step <= this.#sectorCount; step++) {
			const ring = (this.#head + step) % this.#sectorCount;
			if (ring === this.#newestSector) continue;
			status = this.#prepareSector(ring);
			if (status === Status.ok) {
				this.#prepared = ring;
				return Status.ok;
			}
			if (this.#inspectHeader(ring) === Sector.used) return status;
		}
		return status;
	}

	/**
	 * The next append goes to the start of a sector of its own, so that `eraseBefore` of it can leave nothing older.
	 * Forgotten at power-off. At most one erase.
	 */
	startSector(): Status {
		if (this.#headNextSlot > 0) this.#headSlots = this.#headNextSlot;
		return this.prepare();
	}

	/**
	 * Erases at once every sector all of whose records are older than `sequence`, oldest first, but never the newest good
	 * record. After a cut: `open` finishes the erase that was running, and the caller calls this again for the rest.
	 */
	eraseBefore(sequence: number): Status {
		if (!this.#opened) throw new InvariantError("eraseBefore before open");
		while (this.#tail >= 0 && this.#tail !== this.#head) {
			const ring = this.#tail;
			const next = this.#nextInUse(ring);
			if (ring === this.#newestSector || this.#baseOf(next) > sequence) break;
			const status = this.#prepareSector(ring);
			if (status !== Status.ok) return status;
		}
		return Status.ok;
	}

	/**
	 * Erases every record. The log is then empty and goes on counting. For a factory reset: not atomic, call it again
	 * after a cut.
	 */
	eraseAll(): Status {
		const oldHead = this.#head;
		const nextSequence = this.#nextSequence;
		this.#forget();
		this.#opened = true;
		this.#head = oldHead;
		this.#oldestSequence = nextSequence;
		this.#nextSequence = nextSequence;
		for (let ring = 0; ring < this.#sectorCount; ring++) {
			if (ring === oldHead) continue;
			this.#inspectHeader(ring);
			const status = this.#eraseSector(ring, this.#sectorEraseCount);
			if (status !== Status.ok) return status;
		}
		// The old head goes last: until the new one is there it keeps the count.
		const status = this.#takeSector();
		if (status !== Status.ok || oldHead < 0 || oldHead === this.#head) return status;
		this.#inspectHeader(oldHead);
		return this.#eraseSector(oldHead, this.#sectorEraseCount);
	}

	#forget(): void {
		this.#newerFormat = false;
		this.#oldestSequence = 1;
		this.#nextSequence = 1;
		this.#newestSequence = 0;
		this.#head = -1;
		this.#tail = -1;
		this.#newestSector = -1;
		this.#headSlots = 0;
		this.#headNextSlot = 0;
		this.#headEraseCount = 0;
		this.#prepared = -1;
		this.#foundSector = -1;
	}

	/** Reads what the head holds: the next slot is behind the last one that is not blank. */
	#enterHead(): void {
		const state = this.#inspect(this.#head);
		const base = this.#sectorBase;
		const slotBytes = this.#sectorSlotBytes;
		const slots = this.#slotsOf(slotBytes);
		this.#headBase = base;
		this.#headSlotBytes = slotBytes;
		this.#headEraseCount = this.#sectorEraseCount;
		let used = slots;
		while (used > 0 && this.#isBlank(this.#slotAddress(this.#head, slotBytes, used - 1), slotBytes)) used--;
		this.#nextSequence = Math.min(base + used, SEQUENCE_MAX + 1);
		this.#headNextSlot = used;
		// A sector of another record size, or with a damaged header, gets no more records.
		this.#headSlots = state === Sector.used && slotBytes === this.#slotBytes ? slots : used;
		if (used > 0 && slotBytes <= this.#slotBytes) {
			const address = this.#slotAddress(this.#head, slotBytes, used - 1);
			if (this.#readSlot(address, slotBytes, base + used - 1) !== Status.ok) this.counters.tornRecordsSeen++;
		}
	}

	/**
	 * Walks back from the head while sequences fall. Sectors without a good header count only between good ones, and when
	 * their sequences end where the next sector's begin.
	 */
	#findTail(): void {
		const count = this.#sectorCount;
		let newerBase = this.#headBase;
		let salvaged = 0;
		let goodSeen = this.#inspect(this.#head) === Sector.used;
		if (!goodSeen) this.counters.sectorsSalvaged++;
		this.#tail = this.#head;
		this.#oldestSequence = this.#headBase;
		for (let step = 1; step < count; step++) {
			const ring = (this.#head + count - step) % count;
			const state = this.#inspect(ring);
			if (state !== Sector.used && state !== Sector.salvaged) continue;
			const base = this.#sectorBase;
			if (state === Sector.salvaged && base + this.#slotsOf(this.#slotBytes) < newerBase) continue;
			if (base >= newerBase) break;
			newerBase = base;
			if (state === Sector.salvaged) {
				salvaged++;
				if (goodSeen) continue;
			} else {
				goodSeen = true;
				this.counters.sectorsSalvaged += salvaged;
				salvaged = 0;
			}
			this.#tail = ring;
			this.#oldestSequence = base;
		}
	}

	/** The last record that is good; of many torn ones behind it none may cost it its place. */
	#findNewest(): void {
		for (let sequence = this.#nextSequence - 1; sequence >= this.#oldestSequence; sequence--) {
			if (this.#load(sequence) !== Status.ok) continue;
			this.#newestSequence = sequence;
			this.#newestSector = sequence >= this.#headBase ? this.#head : this.#foundSector;
			return;
		}
	}

	/** Finds a record and reads it into `#slot`; see `read`. */
	#load(sequence: number): Status {
		const address = this.#locate(sequence);
		if (address < 0) return address === NOWHERE ? Status.notFound : Status.unsupported;
		return this.#readSlot(address, this.#locatedSlotBytes, sequence);
	}

	/** Address of a record's slot, and `#locatedSlotBytes`; `NOWHERE`, `TOO_LARGE`. */
	#locate(sequence: number): number {
		if (!(sequence >= this.#oldestSequence && sequence < this.#nextSequence)) return NOWHERE;
		let ring = this.#head;
		let base = this.#headBase;
		let slotBytes = this.#headSlotBytes;
		if (sequence < base) {
			if (this.#foundSector < 0 || sequence < this.#foundBase || sequence >= this.#foundLimit) this.#search(sequence);
			ring = this.#foundSector;
			base = this.#foundBase;
			slotBytes = this.#foundSlotBytes;
		}
		if (ring < 0 || sequence < base) return NOWHERE;
		if (slotBytes > this.#slotBytes) return TOO_LARGE;
		const slot = sequence - base;
		if (slot >= this.#slotsOf(slotBytes)) return NOWHERE;
		this.#locatedSlotBytes = slotBytes;
		return this.#slotAddress(ring, slotBytes, slot);
	}

	/** Erases a sector outside the log that is not wholly blank, so that nothing old stays in flash. */
	#finishErase(ring: number): void {
		if (this.#inChain(ring)) return;
		const state = this.#inspectHeader(ring);
		if (state === Sector.erased || state === Sector.used) return;
		if (state === Sector.blank && this.#isBlank(this.#address(ring), this.#sectorBytes)) return;
		if (this.#eraseSector(ring, this.#sectorEraseCount) === Status.ok) this.counters.erasesFinished++;
	}

	/** Takes the next usable sector as the new head. */
	#takeSector(): Status {
		if (this.#newerFormat) return Status.badVersion;
		if (this.#prepared >= 0 && this.#enterSector(this.#prepared) === Status.ok) return Status.ok;
		let status: Status = Status.corrupt;
		for (let step = 1; step <= this.#sectorCount; step++) {
			const ring = (this.#head + step) % this.#sectorCount;
			if (ring === this.#newestSector) continue;
			status = this.#prepareSector(ring);
			if (status === Status.ok) status = this.#enterSector(ring);
			if (status === Status.ok) return Status.ok;
			this.counters.writeFailures++;
			// Passing over a sector that still looks like a part of the log would hide what is before it.
			if (this.#inspectHeader(ring) === Sector.used) return status;
		}
		return status;
	}

	/** Makes a sector erased and marked as such; it leaves the log if it was part of it. */
	#prepareSector(ring: number): Status {
		const state = this.#inspectHeader(ring);
		const bodyAddress = this.#address(ring) + SECTOR_HEADER_BYTES;
		if (state !== Sector.erased || !this.#isBlank(bodyAddress, this.#sectorBytes - SECTOR_HEADER_BYTES)) {
			const eraseCount = this.#sectorEraseCount;
			if (ring === this.#tail && ring !== this.#head) {
				this.#tail = this.#nextInUse(ring);
				this.#oldestSequence = this.#baseOf(this.#tail);
			}
			return this.#eraseSector(ring, eraseCount);
		}
		return Status.ok;
	}

	/** Erase, check, block A of the header. */
	#eraseSector(ring: number, eraseCount: number): Status {
		const address = this.#address(ring);
		this.counters.erases++;
		const status = this.#flash.erase(this.#firstSector + ring);
		if (status !== Status.ok) this.counters.flashFailures++;
		if (status !== Status.ok || !this.#isBlank(address, this.#sectorBytes)) {
			this.#disown(ring);
			return status === Status.ok ? Status.notErased : status;
		}
		const view = this.#view;
		view.setUint32(0, this.#kind);
		view.setUint8(4, FORMAT_VERSION);
		view.setUint8(5, this.#slotBytes / BLOCK_BYTES);
		view.setUint16(6, 0xffff);
		view.setUint32(8, Math.min(eraseCount + 1, 0xffff_fffe));
		view.setUint32(12, crc32(this.#header, 0, 12));
		return this.#program(address, this.#header, BLOCK_BYTES);
	}

	/**
	 * Spoils the header of a sector that would not erase, so that its old sequences are not taken for a part of the log.
	 * The only place where a block is programmed twice; whatever that leaves in encrypted flash will do.
	 */
	#disown(ring: number): void {
		if (this.#inspectHeader(ring) !== Sector.used) return;
		this.#header.fill(0);
		this.#program(this.#address(ring), this.#header, SECTOR_HEADER_BYTES);
	}

	/** Block B of the header: the sector becomes the head. */
	#enterSector(ring: number): Status {
		this.#prepared = -1;
		if (this.#inspectHeader(ring) !== Sector.erased) return Status.corrupt;
		const bytes = this.#header;
		const view = this.#view;
		view.setUint32(16, this.#nextSequence);
		view.setUint32(20, 0xffff_ffff);
		view.setUint32(24, 0xffff_ffff);
		view.setUint32(28, crc32(bytes, 0, 28));
		for (let i = 0; i < BLOCK_BYTES; i++) bytes[i] = bytes[BLOCK_BYTES + i]!;
		const status = this.#program(this.#address(ring) + BLOCK_BYTES, bytes, BLOCK_BYTES);
		if (status !== Status.ok) return status;
		if (this.#inspectHeader(ring) !== Sector.used || this.#sectorBase !== this.#nextSequence) return Status.corrupt;
		if (this.#tail < 0) {
			this.#tail = ring;
			this.#oldestSequence = this.#nextSequence;
		}
		this.#head = ring;
		this.#headBase = this.#nextSequence;
		this.#headSlotBytes = this.#sectorSlotBytes;
		this.#headEraseCount = this.#sectorEraseCount;
		this.#headNextSlot = 0;
		this.#headSlots = this.#slotsOf(this.#slotBytes);
		return Status.ok;
	}

	/** Sets `#found…` to the sector that holds `sequence`, older than the head. */
	#search(sequence: number): void {
		const count = this.#sectorCount;
		let low = 0;
		let high = ((this.#head - this.#tail + count) % count) - 1;
		let limit = this.#headBase;
		this.#foundSector = -1;
		this.#foundBase = 0;
		this.#foundSlotBytes = 0;
		while (low <= high) {
			const middle = (low + high) >> 1;
			let probe = middle;
			let ring = (this.#tail + probe) % count;
			// A sector in between may be no part of the log (would not erase): take the one before it.
			while (probe >= low && !this.#isInUse(ring)) {
				probe--;
				ring = (this.#tail + probe) % count;
			}
			if (probe < low) {
				low = middle + 1;
			} else if (this.#sectorBase <= sequence) {
				this.#foundSector = ring;
				this.#foundBase = this.#sectorBase;
				this.#foundSlotBytes = this.#sectorSlotBytes;
				low = middle + 1;
			} else {
				limit = this.#sectorBase;
				high = probe - 1;
			}
		}
		this.#foundLimit = limit;
	}

	#inChain(ring: number): boolean {
		const count = this.#sectorCount;
		return (ring - this.#tail + count) % count <= (this.#head - this.#tail + count) % count;
	}

	/** The next sector after `ring` that is in use, at last the head. */
	#nextInUse(ring: number): number {
		do ring = (ring + 1) % this.#sectorCount;
		while (ring !== this.#head && !this.#isInUse(ring));
		return ring;
	}

	#isInUse(ring: number): boolean {
		const state = this.#inspect(ring);
		return (state === Sector.used || state === Sector.salvaged) && this.#sectorBase >= this.#oldestSequence;
	}

	#baseOf(ring: number): number {
		if (ring === this.#head) return this.#headBase;
		this.#inspect(ring);
		return this.#sectorBase;
	}

	/** The header, and where that is damaged the records. Sets `#sector…`. */
	#inspect(ring: number): Sector {
		const state = this.#inspectHeader(ring);
		if (state !== Sector.damaged) return state;
		const slots = this.#slotsOf(this.#slotBytes);
		for (let slot = 0; slot < slots; slot++) {
			const address = this.#slotAddress(ring, this.#slotBytes, slot);
			if (!this.#read(address, this.#slot, RECORD_HEADER_BYTES)) continue;
			const sequence = this.#view.getUint32(SLOT_AT);
			if (sequence <= slot || sequence > SEQUENCE_MAX || this.#view.getUint16(SLOT_AT + 4) > this.#recordBytes)
				continue;
			if (this.#readSlot(address, this.#slotBytes, sequence) !== Status.ok) continue;
			this.#sectorBase = sequence - slot;
			this.#sectorSlotBytes = this.#slotBytes;
			return Sector.salvaged;
		}
		return Sector.damaged;
	}

	#inspectHeader(ring: number): Sector {
		const bytes = this.#header;
		const view = this.#view;
		this.#sectorBase = 0;
		this.#sectorSlotBytes = 0;
		this.#sectorEraseCount = this.#headEraseCount;
		if (!this.#read(this.#address(ring), bytes, SECTOR_HEADER_BYTES)) return Sector.damaged;
		if (allOnes(bytes, 0, SECTOR_HEADER_BYTES)) return Sector.blank;
		if (view.getUint32(0) !== this.#kind) return Sector.damaged;
		if (view.getUint32(12) !== crc32(bytes, 0, 12)) return Sector.damaged;
		if (bytes[4]! > FORMAT_VERSION) return Sector.newer;
		const slotBytes = bytes[5]! * BLOCK_BYTES;
		if (slotBytes < 2 * BLOCK_BYTES || slotBytes > this.#sectorBytes - SECTOR_HEADER_BYTES) return Sector.damaged;
		this.#sectorEraseCount = view.getUint32(8);
		// Erased by a firmware with another record size: as good as not marked.
		if (allOnes(bytes, BLOCK_BYTES, BLOCK_BYTES)) return slotBytes === this.#slotBytes ? Sector.erased : Sector.blank;
		const base = view.getUint32(16);
		if (view.getUint32(28) !== crc32(bytes, 0, 28) || base === 0 || base > SEQUENCE_MAX) return Sector.damaged;
		this.#sectorBase = base;
		this.#sectorSlotBytes = slotBytes;
		return Sector.used;
	}

	/** Fills `#slot` with the record; the bytes to program, whole blocks. */
	#encode(sequence: number, payload: Uint8Array, byteLength: number, payloadVersion: number): number {
		const bytes = this.#slot;
		const view = this.#view;
		view.setUint32(SLOT_AT, sequence);
		view.setUint16(SLOT_AT + 4, byteLength);
		view.setUint8(SLOT_AT + 6, payloadVersion);
		view.setUint8(SLOT_AT + 7, 0xff);
		for (let i = 0; i < byteLength; i++) bytes[RECORD_HEADER_BYTES + i] = payload[i]!;
		const checksumAt = RECORD_HEADER_BYTES + byteLength;
		view.setUint32(SLOT_AT + checksumAt, crc32(bytes, 0, checksumAt, this.#kindChecksum));
		const written = slotBytesOf(byteLength);
		bytes.fill(0xff, checksumAt + 4);
		return written;
	}

	/** Reads one slot into `#slot`: `ok`, `notFound` when blank, `badChecksum` when anything else. */
	#readSlot(address: number, slotBytes: number, sequence: number): Status {
		if (!this.#read(address, this.#slot, slotBytes)) return Status.badChecksum;
		const view = this.#view;
		const checksumAt = RECORD_HEADER_BYTES + view.getUint16(SLOT_AT + 4);
		if (view.getUint32(SLOT_AT) === sequence && checksumAt + 4 <= slotBytes)
			if (view.getUint32(SLOT_AT + checksumAt) === crc32(this.#slot, 0, checksumAt, this.#kindChecksum))
				return Status.ok;
		return allOnes(this.#slot, 0, slotBytes) ? Status.notFound : Status.badChecksum;
	}

	/** Whether all is 0xFF; overwrites `#slot`. */
	#isBlank(address: number, byteLength: number): boolean {
		for (let done = 0; done < byteLength; ) {
			const part = Math.min(this.#slotBytes, byteLength - done);
			if (!this.#read(address + done, this.#slot, part) || !allOnes(this.#slot, 0, part)) return false;
			done += part;
		}
		return true;
	}

	#read(address: number, into: Uint8Array, byteLength: number): boolean {
		this.counters.reads++;
		this.counters.bytesRead += byteLength;
		if (this.#flash.read(address, into, byteLength) === Status.ok) return true;
		this.counters.flashFailures++;
		return false;
	}

	#program(address: number, from: Uint8Array, byteLength: number): Status {
		this.counters.programs++;
		this.counters.bytesProgrammed += byteLength;
		const status = this.#flash.program(address, from, byteLength);
		if (status !== Status.ok) this.counters.flashFailures++;
		return status;
	}

	#address(ring: number): number {
		return (this.#firstSector + ring) * this.#sectorBytes;
	}

	#slotAddress(ring: number, slotBytes: number, slot: number): number {
		return this.#address(ring) + SECTOR_HEADER_BYTES + slot * slotBytes;
	}

	#slotsOf(slotBytes: number): number {
		return slotBytes === 0 ? 0 : Math.floor((this.#sectorBytes - SECTOR_HEADER_BYTES) / slotBytes);
	}
}

/** Bytes of a slot for payloads of at most `recordBytes`, whole blocks, at least 32. */
export function slotBytesOf(recordBytes: number): number {
	return Math.max(2, Math.ceil((recordBytes + RECORD_OVERHEAD_BYTES) / BLOCK_BYTES)) * BLOCK_BYTES;
}

/** Records that `sectorCount` sectors hold at least, one sector being empty. */
export function recordsHeldMin(sectorCount: number, sectorBytes: number, recordBytes: number): number {
	return (sectorCount - 1) * Math.floor((sectorBytes - SECTOR_HEADER_BYTES) / slotBytesOf(recordBytes));
}

function allOnes(bytes: Uint8Array, start: number, byteLength: number): boolean {
	const end = start + byteLength;
	for (let i = start; i < end; i++) if (bytes[i] !== 0xff) return false;
	return true;
}
