import { createCipheriv, createDecipheriv } from "node:crypto";
import { extendedBytes } from "./mac-frame.js";

/** The key that every device knows: "ZigBeeAlliance09". */
export const DEFAULT_LINK_KEY = Buffer.from("ZigBeeAlliance09", "ascii");

/** Key identifiers of a security control field. */
export const KeyIdentifier = Object.freeze({ data: 0, network: 1, keyTransport: 2, keyLoad: 3 } as const);

/** Encrypted, 32-bit MIC; on the air the level field is 0. */
const SECURITY_LEVEL = 5;
const MIC_BYTES = 4;
/** Security control, frame counter, source address; the network key adds its sequence number. */
export const AUXILIARY_BYTES = 13;

function aesBlock(key: Uint8Array, block: Uint8Array): Buffer {
	const cipher = createCipheriv("aes-128-ecb", key, null);
	cipher.setAutoPadding(false);
	return cipher.update(block);
}

/** AES-MMO: the hash of Zigbee, 16 bytes. @see Zigbee specification B.6 */
export function mmoHash(data: Uint8Array): Buffer {
	const bits = data.length * 8;
	const long = bits >= 65_536;
	const tail = long ? 6 : 2;
	const padded = Buffer.alloc(Math.ceil((data.length + 1 + tail) / 16) * 16);
	padded.set(data);
	padded[data.length] = 0x80;
	if (long) padded.writeUInt32BE(bits, padded.length - 6);
	else padded.writeUInt16BE(bits, padded.length - 2);
	let hash: Buffer = Buffer.alloc(16);
	for (let at = 0; at < padded.length; at += 16) {
		const block = padded.subarray(at, at + 16);
		const next = aesBlock(hash, block);
		for (let i = 0; i < 16; i++) next[i]! ^= block[i]!;
		hash = next;
	}
	return hash;
}

/** HMAC with AES-MMO of one byte. @see Zigbee specification B.1.4, 4.5.3 */
export function keyedHash(key: Uint8Array, input: number): Buffer {
	const inner = Buffer.alloc(17);
	const outer = Buffer.alloc(32);
	for (let i = 0; i < 16; i++) {
		inner[i] = key[i]! ^ 0x36;
		outer[i] = key[i]! ^ 0x5c;
	}
	inner[16] = input;
	mmoHash(inner).copy(outer, 16);
	return mmoHash(outer);
}

/** CRC-16/X.25 behind an install code, as the code carries it: least significant byte first. */
export function installCodeCheck(code: Uint8Array): Uint8Array {
	let crc = 0xffff;
	for (const byte of code) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x8408 : crc >>> 1;
	}
	crc = ~crc & 0xffff;
	return Uint8Array.of(crc & 0xff, crc >> 8);
}

/** The link key of an install code (with its CRC), or undefined when the CRC is wrong. @see Zigbee BDB 10.1 */
export function installCodeKey(codeWithCheck: Uint8Array): Buffer | undefined {
	const code = codeWithCheck.subarray(0, -2);
	const check = installCodeCheck(code);
	if (codeWithCheck.at(-2) !== check[0] || codeWithCheck.at(-1) !== check[1]) return undefined;
	return mmoHash(codeWithCheck);
}

function nonce(source: string, frameCounter: number, control: number): Buffer {
	const bytes = Buffer.alloc(13);
	bytes.set(extendedBytes(source));
	bytes.writeUInt32LE(frameCounter, 8);
	bytes[12] = control;
	return bytes;
}

export interface Secured {
	readonly keyIdentifier: number;
	readonly frameCounter: number;
	readonly source: string;
	/** Of the network key. */
	readonly keySequence?: number;
}

/** Header, auxiliary header, ciphertext and MIC of a frame at NWK or APS level. */
export function secure(header: Uint8Array, payload: Uint8Array, key: Uint8Array, how: Secured): Buffer {
	const isNetwork = how.keyIdentifier === KeyIdentifier.network;
	const auxiliary = Buffer.alloc(AUXILIARY_BYTES + (isNetwork ? 1 : 0));
	const control = (how.keyIdentifier << 3) | 0x20;
	auxiliary[0] = control | SECURITY_LEVEL;
	auxiliary.writeUInt32LE(how.frameCounter, 1);
	auxiliary.set(extendedBytes(how.source), 5);
	if (isNetwork) auxiliary[13] = how.keySequence ?? 0;
	const cipher = createCipheriv("aes-128-ccm", key, nonce(how.source, how.frameCounter, control | SECURITY_LEVEL), {
		authTagLength: MIC_BYTES,
	});
	cipher.setAAD(Buffer.concat([header, auxiliary]), { plaintextLength: payload.length });
	const secret = Buffer.concat([cipher.update(payload), cipher.final()]);
	auxiliary[0] = control;
	return Buffer.concat([header, auxiliary, secret, cipher.getAuthTag()]);
}

/** The auxiliary header behind `headerLength` bytes, undefined when it is cut. */
export function securedOf(frame: Uint8Array, headerLength: number): (Secured & { byteLength: number }) | undefined {
	const view = Buffer.from(frame);
	if (view.length < headerLength + AUXILIARY_BYTES + MIC_BYTES) return undefined;
	const control = view[headerLength]!;
	const keyIdentifier = (control >> 3) & 3;
	const isNetwork = keyIdentifier === KeyIdentifier.network;
	if ((control & 0xe7) !== 0x20) return undefined; // level 0 on the air, extended nonce
	return {
		keyIdentifier,
		frameCounter: view.readUInt32LE(headerLength + 1),
		source: Buffer.from(view.subarray(headerLength + 5, headerLength + 13))
			.reverse()
			.toString("hex"),
		...(isNetwork ? { keySequence: view[headerLength + 13] ?? 0 } : {}),
		byteLength: AUXILIARY_BYTES + (isNetwork ? 1 : 0),
	};
}

/** The payload, or undefined when the MIC is wrong. */
export function unsecure(
	frame: Uint8Array,
	headerLength: number,
	key: Uint8Array,
	how: Secured & { byteLength: number },
): Buffer | undefined {
	const start = headerLength + how.byteLength;
	const end = frame.length - MIC_BYTES;
	if (end < start) return undefined;
	const control = (how.keyIdentifier << 3) | 0x20 | SECURITY_LEVEL;
	const associated = Buffer.from(frame.subarray(0, start));
	associated[headerLength] = control;
	const decipher = createDecipheriv("aes-128-ccm", key, nonce(how.source, how.frameCounter, control), {
		authTagLength: MIC_BYTES,
	});
	decipher.setAuthTag(frame.subarray(end));
	decipher.setAAD(associated, { plaintextLength: end - start });
	try {
		return Buffer.concat([decipher.update(frame.subarray(start, end)), decipher.final()]);
	} catch {
		return undefined; // the MIC is wrong
	}
}
