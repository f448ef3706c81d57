import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Status } from "../../src/bytes/status.js";
import type { CalibrationStore } from "../../src/front-end/calibration-record.js";
import { EventCode, eventName } from "../../src/metrology/events.js";
import { UserError } from "../user-error.js";

interface Seal {
	parameterCounter: number;
	events: { code: number; name: string; detail: number }[];
}

/**
 * Corrections of a bench in a folder: `calibration.bin` as the meter would keep it, and `seal.json` with the counter and
 * its events. Each file is written beside the old one and then takes its name.
 */
export class FileCalibrationStore implements CalibrationStore {
	readonly #folder: string;
	readonly #seal: Seal;

	constructor(folder: string) {
		this.#folder = folder;
		mkdirSync(folder, { recursive: true });
		const path = join(folder, "seal.json");
		this.#seal = existsSync(path) ? read(path) : { parameterCounter: 0, events: [] };
	}

	parameterCounter(): number {
		return this.#seal.parameterCounter;
	}

	raiseParameterCounter(): Status {
		this.#seal.parameterCounter++;
		const code = EventCode.parametersChanged;
		this.#seal.events.push({ code, name: eventName(code), detail: this.#seal.parameterCounter });
		this.#write("seal.json", Buffer.from(`${JSON.stringify(this.#seal, undefined, "\t")}\n`));
		return Status.ok;
	}

	replace(record: Uint8Array, byteLength: number): Status {
		this.#write("calibration.bin", record.subarray(0, byteLength));
		return Status.ok;
	}

	load(into: Uint8Array): number {
		const path = join(this.#folder, "calibration.bin");
		if (!existsSync(path)) return 0;
		const bytes = readFileSync(path);
		if (bytes.length > into.length) return bytes.length;
		into.set(bytes);
		return bytes.length;
	}

	#write(name: string, bytes: Uint8Array): void {
		const path = join(this.#folder, name);
		const file = openSync(`${path}.new`, "w");
		try {
			writeSync(file, bytes);
			fsyncSync(file);
		} finally {
			closeSync(file);
		}
		renameSync(`${path}.new`, path);
	}
}

function read(path: string): Seal {
	try {
		const seal = JSON.parse(readFileSync(path, "utf8")) as Seal;
		if (Number.isInteger(seal.parameterCounter) && seal.parameterCounter >= 0 && Array.isArray(seal.events))
			return seal;
	} catch {
		// told below
	}
	throw new UserError(`${path} is not a seal of calibrations`);
}
