import { Status } from "../../src/bytes/status.js";
import { CONTENT_PREFIX_BYTES } from "../../src/messages/channel.js";
import {
	AUTHORISATION_BYTES,
	AuthorisationKind,
	createKeyReceipt,
	decodeKeyReceipt,
	encodeAuthorisation,
	fileSubject,
	meterSubject,
	SUBJECT_BYTES,
} from "../../src/provisioning/authorisation.js";
import type { DeviceFile } from "../../src/provisioning/device-file.js";
import { OpticalRequest } from "../../src/provisioning/optical-port.js";
import { KeyState } from "../../src/provisioning/provisioning-target.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { UserError } from "../user-error.js";
import { type OpenedDeviceFile, openReceiptOfFile } from "./device-files.js";
import type { KeyAuthority } from "./key-authority.js";
import { type OpticalClient, type OpticalIdentity, OpticalRefusal } from "./optical-client.js";

const STATE_TEXTS: Readonly<Record<number, string>> = Object.freeze({
	[KeyState.unprovisioned]: "has no keys",
	[KeyState.provisioned]: "has keys",
	[KeyState.unreadable]: "cannot read its keys",
	[KeyState.rolledBack]: "has flash that was put back",
	[KeyState.newer]: "has keys of a newer firmware",
});

/** What the meter says of itself, in one line. */
export function describe({ id, firmware, keyState, generation, epoch, failedAttempts }: OpticalIdentity): string {
	const keys = generation > 0 ? `, generation ${generation}, day ${epoch} (${dayText(epoch)})` : "";
	const attempts = failedAttempts > 0 ? `, ${failedAttempts} failed attempts` : "";
	return `${id}, firmware ${firmware}, ${STATE_TEXTS[keyState] ?? `state ${keyState}`}${keys}${attempts}`;
}

const DAY_MILLISECONDS = 86_400_000;
const EPOCH_0 = Date.UTC(2000, 0, 1);

/** A day as people write it. */
export function dayText(epoch: number): string {
	return new Date(EPOCH_0 + epoch * DAY_MILLISECONDS).toISOString().slice(0, 10);
}

/** A day as people write it, or a number of days since 2000-01-01. */
export function parseDay(text: string): number {
	const epoch = /^\d{1,5}$/.test(text) ? Number(text) : (Date.parse(`${text}T00:00:00Z`) - EPOCH_0) / DAY_MILLISECONDS;
	if (!Number.isInteger(epoch) || epoch < 0 || epoch > 0xffff)
		throw new UserError(`${text} is no day from 2000-01-01 to ${dayText(0xffff)}`);
	return epoch;
}

export function today(): number {
	return Math.floor((Date.now() - EPOCH_0) / DAY_MILLISECONDS);
}

/** Whose flash was put back has keys, too: it is silent, and yet it can be renewed or decommissioned. */
function hasKeys({ keyState }: OpticalIdentity): boolean {
	return keyState === KeyState.provisioned || keyState === KeyState.rolledBack;
}

const idOf = ({ file }: OpenedDeviceFile) => Buffer.from(file.id).toString("hex");

function requireId(identity: OpticalIdentity, id: string): void {
	if (identity.id !== id)
		throw new UserError(`the meter in front of the optical head is ${identity.id}, not ${id}; nothing was sent to it`);
}

/** @returns whether the meter proved, with the keys of the file, that it has them */
function isProven(device: OpenedDeviceFile, receipt: Buffer): boolean {
	if (receipt.length === 0) return false;
	if (openReceiptOfFile(device, receipt)) return true;
	throw new UserError("the meter's receipt is not of the keys that were sent; do not install it, send it in");
}

/**
 * The question was repeated and the answer to the first one is lost: the meter then says that it has keys already.
 * @returns true when they are of the generation that was sent
 */
async function tookItAnyway(client: OpticalClient, device: OpenedDeviceFile, error: unknown, repeats: number) {
	const mayHave = error instanceof OpticalRefusal && client.repeats > repeats;
	if (!mayHave) return false;
	const identity = await client.identify();
	return identity.keyState === KeyState.provisioned && identity.generation === device.file.generation;
}

export interface Written {
	/** The meter's own receipt under the new keys was opened. False: it took the file, and the first message will tell. */
	readonly isProven: boolean;
}

/** Gives a meter its first keys. Nothing is sent before it has said that it is the right one and takes them. */
export async function writeDevice(client: OpticalClient, device: OpenedDeviceFile): Promise<Written> {
	const identity = await client.identify();
	requireId(identity, idOf(device));
	if (hasKeys(identity))
		throw new UserError(
			identity.generation === device.file.generation
				? `the meter has keys of generation ${identity.generation} already; if it does not report, renew them (provision reseed)`
				: `the meter has keys already; renew them (provision reseed) or have it forget them (provision decommission)`,
		);
	const { repeats } = client;
	try {
		return { isProven: isProven(device, await client.provision(device.bytes)) };
	} catch (error) {
		if (await tookItAnyway(client, device, error, repeats)) return { isProven: false };
		throw error;
	}
}

/**
 * The next keys for the meter that said so: made now, or made before and lost on their way. The generation of the meter
 * decides, so that no failed attempt costs one.
 */
export function nextKeys(authority: KeyAuthority, identity: OpticalIdentity, epoch: number, into: DeviceFile): void {
	const { id, generation, keyState } = identity;
	if (!hasKeys(identity)) throw new UserError(`the meter ${STATE_TEXTS[keyState]}: ${adviceFor(keyState)}`);
	const entry = authority.list().find((meter) => meter.id === id);
	if (!entry || entry.isDecommissioned) throw new UserError(`the registry knows no meter ${id}, or none any more`);
	if (generation === entry.generation) {
		authority.confirm(id, generation);
		authority.renew(id, Math.max(epoch, identity.epoch), into);
	} else if (
		generation + 1 === entry.generation &&
		entry.confirmedGeneration < entry.generation &&
		keyState === KeyState.provisioned
	)
		authority.again(id, into);
	else
		throw new UserError(
			`the meter has generation ${generation}, the head end ${entry.generation}: have it forget its keys (provision decommission), then make new ones`,
		);
}

async function bringToDay(client: OpticalClient, authority: KeyAuthority, identity: OpticalIdentity, day: number) {
	if (identity.epoch >= day) return identity;
	const anchor = authority.anchor(day);
	if (anchor === undefined) return identity;
	await client.anchor(anchor);
	return client.identify();
}

/** Has a meter change its keys for those of the file. @param day of today: the meter is brought there first */
export async function reseedDevice(
	client: OpticalClient,
	authority: KeyAuthority,
	device: OpenedDeviceFile,
	day: number,
): Promise<Written> {
	let identity = await client.identify();
	const id = idOf(device);
	requireId(identity, id);
	const { file, bytes } = device;
	if (!hasKeys(identity))
		throw new UserError(`the meter ${STATE_TEXTS[identity.keyState]}: ${adviceFor(identity.keyState)}`);
	if (identity.generation === file.generation)
		throw new UserError(`the meter has keys of generation ${file.generation} already`);
	if (identity.generation + 1 !== file.generation)
		throw new UserError(
			`the meter has generation ${identity.generation}, the device file ${file.generation}: it takes the next one only`,
		);
	identity = await bringToDay(client, authority, identity, day);
	const message = new Uint8Array(AUTHORISATION_BYTES);
	const subject = new Uint8Array(SUBJECT_BYTES);
	fileSubject(new NodeCrypto(), bytes, 0, subject);
	encodeAuthorisation({ kind: AuthorisationKind.reseed, subject }, message, 0);
	const sealed = authority.authorise(id, identity.generation, identity.epoch, message);
	const { repeats } = client;
	let written: Written;
	try {
		written = { isProven: isProven(device, await client.reseed(bytes, sealed)) };
	} catch (error) {
		if (!(await tookItAnyway(client, device, error, repeats))) throw error;
		written = { isProven: false };
	}
	authority.confirm(id, file.generation);
	return written;
}

/** Has a meter forget its keys, and the head end the meter. @returns whether the meter's last message was opened */
export async function decommissionDevice(
	client: OpticalClient,
	authority: KeyAuthority,
	id: string,
	day: number,
): Promise<Written> {
	let identity = await client.identify();
	requireId(identity, id);
	if (identity.keyState === KeyState.unprovisioned) {
		authority.decommission(id);
		return { isProven: false };
	}
	if (!hasKeys(identity))
		throw new UserError(`the meter ${STATE_TEXTS[identity.keyState]}: ${adviceFor(identity.keyState)}`);
	identity = await bringToDay(client, authority, identity, day);
	const message = new Uint8Array(AUTHORISATION_BYTES);
	const subject = new Uint8Array(SUBJECT_BYTES);
	meterSubject(new NodeCrypto(), Buffer.from(id, "hex"), identity.generation, subject);
	encodeAuthorisation({ kind: AuthorisationKind.decommission, subject }, message, 0);
	const sealed = authority.authorise(id, identity.generation, identity.epoch, message);
	const { repeats } = client;
	let isReceiptRight = false;
	try {
		const receipt = await client.decommission(sealed);
		const content = receipt.length > 0 ? authority.open(id, identity.generation, receipt) : undefined;
		const decoded = createKeyReceipt();
		isReceiptRight =
			content !== undefined &&
			decodeKeyReceipt(content, CONTENT_PREFIX_BYTES, content.length - CONTENT_PREFIX_BYTES, decoded) === Status.ok &&
			decoded.request === OpticalRequest.decommission &&
			Buffer.from(decoded.subject).equals(subject);
	} catch (error) {
		if (!(error instanceof OpticalRefusal) || client.repeats === repeats) throw error;
	}
	const after = await client.identify();
	if (after.keyState !== KeyState.unprovisioned)
		throw new UserError(`the meter says that it still ${STATE_TEXTS[after.keyState]}; try again`);
	authority.decommission(id);
	return { isProven: isReceiptRight };
}

function adviceFor(state: KeyState): string {
	if (state === KeyState.unprovisioned) return "give it some (provision write)";
	if (state === KeyState.unreadable) return "give it new ones (provision renew, then provision write)";
	return "update its firmware first";
}
