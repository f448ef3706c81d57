import { Status } from "../bytes/status.js";
import type { NorFlash } from "../platform/flash.js";
import { SETTINGS_KIND, SETTINGS_SECTORS, type SectorRange } from "./layout.js";
import { RecordLog } from "./record-log.js";

/** Largest settings blob. */
export const SETTINGS_BYTES_MAX = 1024;

/**
 * One blob of settings, replaced in two phases: the new one is committed in a sector of its own, then the old one is
 * erased (it may hold a password), then a second copy is written beside the first. Before the first commit has
 * happened the old blob is read, after it the new one. Log kind "Sett"; the payload is the blob itself and its version
 * is the record's payloadVersion.
 */
export class SettingsStore {
	readonly log: RecordLog;
	/** Of the last good `load`. */
	byteLength = 0;
	version = 0;

	constructor(flash: NorFlash, area: SectorRange = SETTINGS_SECTORS) {
		this.log = new RecordLog(flash, area.firstSector, area.sectorCount, SETTINGS_KIND, SETTINGS_BYTES_MAX);
	}

	/** Also erases what an interrupted replacement left. See `RecordLog.open`. */
	open(): Status {
		const status = this.log.open();
		if (status !== Status.ok) return status;
		// The old blob goes only when a newer one is good.
		return this.log.eraseBefore(this.log.newestSequence);
	}

	/**
	 * @returns `ok`, with `byteLength` and `version` set; `notFound` when there never were settings; `badChecksum` when
	 * there were and none is good; `badLength` when `into` is too short
	 */
	load(into: Uint8Array): Status {
		const status = this.log.readNewest(into);
		if (status !== Status.ok) return status;
		this.byteLength = this.log.readByteLength;
		this.version = this.log.readVersion;
		return Status.ok;
	}

	/**
	 * Replaces the settings: old or new after a power cut, never neither, never a mixture. One erase, two programs.
	 * @param version of the blob's own format, 0 to 255
	 * @returns `ok` when the new settings are durable; else the old ones stand
	 */
	replace(blob: Uint8Array, byteLength: number, version: number): Status {
		if (!(byteLength >= 0 && byteLength <= SETTINGS_BYTES_MAX && byteLength <= blob.length)) return Status.badLength;
		let status = this.log.startSector();
		if (status !== Status.ok) return status;
		status = this.log.append(blob, byteLength, version);
		if (status !== Status.ok) return status;
		this.log.eraseBefore(this.log.nextSequence - 1);
		this.log.append(blob, byteLength, version);
		return Status.ok;
	}
}
