import { createDeviceFile, type DeviceFile, wipeDeviceFile } from "../../src/provisioning/device-file.js";
import { UserError } from "../user-error.js";
import { saveDeviceFile } from "./device-files.js";
import type { KeyAuthority } from "./key-authority.js";
import type { FileLock } from "./sealed-file.js";

const SHORT_ADDRESSES = 0x1_0000;

export interface BatchOptions {
	readonly count: number;
	readonly domain: number;
	/** EUI-64 of the first device, 16 hexadecimal digits; the others follow by one. */
	readonly firstId: string;
	/** The first day of the keys, days since 2000-01-01. */
	readonly epoch: number;
	/** Where the sealed device files go. */
	readonly folder: string;
	onProgress?(done: number): void;
}

/** Sixteen hexadecimal digits, or one line that says what is wrong. */
export function parseId(text: string): string {
	const id = text.toLowerCase().replaceAll(/[:-]/g, "");
	if (!/^[0-9a-f]{16}$/.test(id)) throw new UserError(`${text} is no EUI-64: 16 hexadecimal digits`);
	if (/^(0{16}|f{16})$/.test(id)) throw new UserError(`${text} is nobody's EUI-64`);
	return id;
}

function following(id: string, by: number): string {
	const next = BigInt(`0x${id}`) + BigInt(by);
	if (next >= 1n << 64n) throw new UserError("the ids of the batch run over the end of EUI-64");
	return next.toString(16).padStart(16, "0");
}

/**
 * Makes keys for a batch of devices: an entry in the registry and a sealed device file for each. The first taken id
 * stops it before anything was made.
 * @returns paths of the device files
 */
export function makeBatch(authority: KeyAuthority, lock: FileLock, options: BatchOptions): string[] {
	const { count, domain, firstId, epoch, folder } = options;
	const known = new Map(authority.list().map((entry) => [entry.id, entry]));
	const usedAddresses = new Set<number>();
	for (const entry of known.values())
		if (entry.domain === domain && !entry.isDecommissioned) usedAddresses.add(entry.shortAddress);
	if (usedAddresses.size + count > SHORT_ADDRESSES)
		throw new UserError(`domain ${domain} has ${usedAddresses.size} meters; ${count} more do not fit`);
	const ids = Array.from({ length: count }, (_, i) => following(parseId(firstId), i));
	for (const id of ids)
		if (known.get(id)?.isDecommissioned === false)
			throw new UserError(`${id} has keys already; renew them (provision reseed), or choose another --first-id`);
	const paths: string[] = [];
	const file = createDeviceFile();
	let shortAddress = 0;
	for (const id of ids) {
		while (usedAddresses.has(shortAddress)) shortAddress++;
		usedAddresses.add(shortAddress);
		authority.add({ id, domain, shortAddress, epoch }, file);
		try {
			paths.push(saveDeviceFile(folder, file, lock));
		} finally {
			wipeDeviceFile(file);
		}
		options.onProgress?.(paths.length);
	}
	return paths;
}

/** What a batch must be: no two secrets alike, none empty. @returns one line for each thing that is wrong */
export function checkUnique(files: Iterable<DeviceFile>): string[] {
	const seen = new Map<string, string>();
	const wrong: string[] = [];
	for (const file of files) {
		const id = Buffer.from(file.id).toString("hex");
		for (const [name, at] of [
			["R_E", 0],
			["R_N", 32],
		] as const) {
			const secret = Buffer.from(file.roots.subarray(at, at + 32));
			const key = secret.toString("latin1");
			const other = seen.get(key);
			if (other !== undefined) wrong.push(`${id}: ${name} is the same as ${other}`);
			else if (secret.every((byte) => byte === secret[0])) wrong.push(`${id}: ${name} is no random value`);
			seen.set(key, `${id}'s ${name}`);
		}
	}
	return wrong;
}
