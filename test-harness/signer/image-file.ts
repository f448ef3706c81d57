import { createHash } from "node:crypto";
import { Status, statusName } from "../../src/bytes/status.js";
import {
	createManifest,
	decodeManifest,
	encodeManifest,
	FirmwareTarget,
	MANIFEST_BYTES,
	type Manifest,
} from "../../src/messages/firmware-update.js";
import { UserError } from "../user-error.js";
import { type LmsParameters, parametersOfTypes, signatureBytesOf } from "./lms-tree.js";
import { verify } from "./signer-folder.js";

/** Names of targets on the command line. */
export const TARGETS: Readonly<Record<string, number>> = Object.freeze({
	"linux-xs": FirmwareTarget.linuxXs,
	"microcontroller-xs": FirmwareTarget.microcontrollerXs,
	"in-process": FirmwareTarget.inProcess,
});

export function targetName(target: number): string {
	return Object.entries(TARGETS).find(([, value]) => value === target)?.[0] ?? `unknown (${target})`;
}

/** A firmware image file: manifest, signature, body, one after the other (src/messages/firmware-update.ts). */
export interface ImageFile {
	readonly manifest: Manifest;
	readonly manifestBytes: Buffer;
	readonly parameters: LmsParameters;
	readonly signature: Buffer;
	readonly body: Buffer;
	/** First 4 bytes of SHA-256 of the manifest. */
	readonly imageId: number;
}

export function encodeManifestBytes(manifest: Manifest): Buffer {
	const bytes = Buffer.alloc(MANIFEST_BYTES);
	encodeManifest(manifest, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
	return bytes;
}

export function digestOf(body: Uint8Array): Buffer {
	return createHash("sha256").update(body).digest();
}

/** Reads an image whose parts have the right lengths. Whether it is genuine, `checkImage` says. */
export function decodeImageFile(bytes: Buffer, name: string): ImageFile {
	const manifest = createManifest();
	const status = decodeManifest(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, manifest);
	if (status !== Status.ok) throw new UserError(`${name} is no firmware image (${statusName(status)})`);
	const parameters = signatureParameters(bytes.subarray(MANIFEST_BYTES));
	if (parameters === undefined) throw new UserError(`${name} has no LMS signature of a kind that is known`);
	const bodyAt = MANIFEST_BYTES + signatureBytesOf(parameters);
	if (bytes.length !== bodyAt + manifest.bodyBytes)
		throw new UserError(`${name} is not whole: ${bytes.length} bytes instead of ${bodyAt + manifest.bodyBytes}`);
	const manifestBytes = bytes.subarray(0, MANIFEST_BYTES);
	return {
		manifest,
		manifestBytes,
		parameters,
		signature: bytes.subarray(MANIFEST_BYTES, bodyAt),
		body: bytes.subarray(bodyAt),
		imageId: digestOf(manifestBytes).readUInt32BE(),
	};
}

/** @returns undefined: genuine; else why it is not */
export function checkImage(image: ImageFile, publicKey: Buffer): string | undefined {
	if (!publicKey.subarray(8, 24).equals(Buffer.from(image.manifest.keyIdentifier))) return "another key signed it";
	if (verify(publicKey, image.manifestBytes, image.signature) !== Status.ok) return "the signature is wrong";
	if (!digestOf(image.body).equals(Buffer.from(image.manifest.bodyDigest))) return "the body is not what was signed";
	return undefined;
}

/** The two types stand in the signature itself; the second behind chains whose number the first tells. */
function signatureParameters(signature: Buffer): LmsParameters | undefined {
	if (signature.length < 8) return undefined;
	const lmotsType = signature.readUInt32BE(4);
	for (const lmsType of [5, 10]) {
		const known = parametersOfTypes(lmsType, lmotsType);
		if (known === undefined) continue;
		const typeAt = 8 + (1 + known.chainCount) * known.hashBytes;
		return signature.length < typeAt + 4 ? undefined : parametersOfTypes(signature.readUInt32BE(typeAt), lmotsType);
	}
	return undefined;
}
