import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Status, statusName } from "../../src/bytes/status.js";
import { startOdometer } from "../../src/key-store/odometer.js";
import { ServerUnicast } from "../../src/key-store/server-unicast.js";
import { UnicastType } from "../../src/key-store/unicast.js";
import { CONTENT_PREFIX_BYTES } from "../../src/messages/channel.js";
import {
	createKeyReceipt,
	decodeKeyReceipt,
	fileSubject,
	KEY_RECEIPT_BYTES,
	type KeyReceipt,
	SUBJECT_BYTES,
} from "../../src/provisioning/authorisation.js";
import {
	createDeviceFile,
	DEVICE_FILE_BYTES,
	type DeviceFile,
	decodeDeviceFile,
	encodeDeviceFile,
} from "../../src/provisioning/device-file.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { UserError } from "../user-error.js";
import { type FileLock, writeSecret } from "./sealed-file.js";

/** `<id>-g<generation>.wldf`, so that a folder of a batch is read at a glance. */
export function deviceFileName(file: Pick<DeviceFile, "id" | "generation">): string {
	return `${Buffer.from(file.id).toString("hex")}-g${file.generation}.wldf`;
}

/** Seals a device file into a folder; one that is there already is never replaced. @returns its path */
export function saveDeviceFile(folder: string, file: DeviceFile, lock: FileLock): string {
	const path = join(folder, deviceFileName(file));
	if (existsSync(path)) throw new UserError(`${path} is there already; write it to its meter, or remove it yourself`);
	const bytes = Buffer.alloc(DEVICE_FILE_BYTES);
	encodeDeviceFile(file, bytes, 0);
	writeSecret(path, lock.seal(bytes));
	bytes.fill(0);
	return path;
}

/** A device file of a technician, opened: `bytes` goes to the meter. Wipe both. */
export interface OpenedDeviceFile {
	readonly file: DeviceFile;
	readonly bytes: Buffer;
}

export function loadDeviceFile(path: string, lock: FileLock): OpenedDeviceFile {
	let sealed: Buffer;
	try {
		sealed = readFileSync(path);
	} catch {
		throw new UserError(`there is no device file ${path}`);
	}
	const bytes = lock.open(sealed, path);
	const file = createDeviceFile();
	const status = decodeDeviceFile(bytes, 0, bytes.length, file);
	if (status !== Status.ok) {
		bytes.fill(0);
		throw new UserError(`${path} holds no device file of this version (${statusName(status)}); make it again`);
	}
	return { file, bytes };
}

/**
 * Checks the receipt that a meter gave for a device file: it is sealed under the keys of that file, so the meter has them.
 * @returns what it says; undefined when it is not of these keys, or names another file
 */
export function openReceiptOfFile({ file, bytes }: OpenedDeviceFile, sealed: Uint8Array): KeyReceipt | undefined {
	const crypto = new NodeCrypto();
	const odometer = Buffer.alloc(160);
	odometer.set(file.roots.subarray(0, 32), 128);
	startOdometer(crypto, odometer, 0, file.epoch, 128);
	const { id, domain, shortAddress } = file;
	const server = new ServerUnicast(crypto, { branch: 0, id, domain, shortAddress, save: () => true });
	server.startDay(file.epoch, odometer, 128);
	odometer.fill(0);
	const content = new Uint8Array(sealed.length);
	if (server.openMessage(sealed, sealed.length, content) !== Status.ok || server.opened.type !== UnicastType.data)
		return undefined;
	const receipt = createKeyReceipt();
	const messageBytes = server.openedByteLength - CONTENT_PREFIX_BYTES;
	if (messageBytes !== KEY_RECEIPT_BYTES) return undefined;
	if (decodeKeyReceipt(content, CONTENT_PREFIX_BYTES, messageBytes, receipt) !== Status.ok) return undefined;
	const subject = new Uint8Array(SUBJECT_BYTES);
	fileSubject(crypto, bytes, 0, subject);
	const isSame = Buffer.from(receipt.subject).equals(subject);
	return isSame && receipt.generation === file.generation ? receipt : undefined;
}
