import { readFileSync, statSync, writeFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import type { LockOptions } from "../provisioning/sealed-file.js";
import type { LmsParameters } from "../signer/lms-tree.js";
import { UserError } from "../user-error.js";
import { progress, progressEnd } from "./build.js";
import { integer } from "./options.js";

/** UTCTime begins at 2000-01-01T00:00:00Z. */
const EPOCH_SECONDS = 946_684_800;

function say(text: string): void {
	process.stdout.write(`${text}\n`);
}

/** Parser for one of a few numbers. */
function oneNumberOf(...numbers: readonly number[]): (text: string) => number {
	return (text) => {
		if (!numbers.includes(Number(text))) throw new InvalidArgumentError(`Allowed: ${numbers.join(", ")}.`);
		return Number(text);
	};
}

/** Parser for a version such as 1.2.3. */
function version(text: string): readonly [number, number, number] {
	const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
	const parts = match?.slice(1).map(Number);
	if (parts === undefined || parts.some((part) => part > 255))
		throw new InvalidArgumentError("Allowed: three numbers of at most 255, such as 1.2.3.");
	return parts as unknown as readonly [number, number, number];
}

function read(path: string): Buffer {
	try {
		return readFileSync(path);
	} catch {
		throw new UserError(`${path} cannot be read`);
	}
}

function describe({ lmsType, lmotsType, height, width, hashBytes }: LmsParameters): string {
	return `LMS, SHA-256 of ${hashBytes} bytes, h = ${height}, w = ${width} (types ${lmsType}, ${lmotsType})`;
}

function addKeygen(group: Command): void {
	group
		.command("keygen")
		.description("make a signing key in a new folder; public.key in it is what meters are given")
		.argument("<folder>", "new; keep it on one disk of one machine, and keep no copy that could sign")
		.option("--height <number>", "the key can sign 2^height images: 5, 10, 15, 20", oneNumberOf(5, 10, 15, 20), 10)
		.option("--winternitz <number>", "8: short signatures; 4: verified and made 8 times faster", oneNumberOf(4, 8), 8)
		.option("--passphrase-file <file>", "first line: what the private key is sealed with")
		.option("--key-file <file>", "instead of a passphrase; made when there is none")
		.action(async (folder: string, options: LockOptions & { height: number; winternitz: number }) => {
			const { openLock } = await import("../provisioning/sealed-file.js");
			const { lmsParameters } = await import("../signer/lms-tree.js");
			const { SignerFolder } = await import("../signer/signer-folder.js");
			const lock = await openLock(options, true);
			try {
				let shown = Date.now();
				const key = SignerFolder.create(
					folder,
					lock,
					lmsParameters(options.height, options.winternitz),
					(done, total) => {
						if (Date.now() - shown < 500) return;
						shown = Date.now();
						progress(`leaf ${done} of ${total}`);
					},
				);
				progressEnd();
				say(`key ${key.identifier}: ${describe(key.parameters)}, ${key.left} signatures`);
				say(`public key: ${folder}/public.key`);
			} finally {
				lock.close();
			}
		});
}

function addSign(group: Command): void {
	group
		.command("sign")
		.description("sign a firmware; uses up one of the key's signatures, even when it is interrupted")
		.argument("<body>", "what the meter runs: for linux-xs an archive, build/linux/meter.wlxa")
		.requiredOption("--folder <folder>", "of the signing key")
		.requiredOption("--firmware-version <version>", "major.minor.patch; a meter takes only higher ones", version)
		.requiredOption("--security-version <number>", "never goes back on a meter", integer(0, 4_294_967_295))
		.requiredOption("--target <name>", "linux-xs, microcontroller-xs or in-process")
		.requiredOption("--out <file>", "image file to write")
		.option("--moved", "the folder was moved here, and no other copy signs any more", false)
		.option("--passphrase-file <file>", "first line: what the private key is sealed with")
		.option("--key-file <file>", "instead of a passphrase")
		.action(
			async (
				bodyPath: string,
				options: LockOptions & {
					folder: string;
					firmwareVersion: readonly [number, number, number];
					securityVersion: number;
					target: string;
					out: string;
					moved: boolean;
				},
			) => {
				const { openLock } = await import("../provisioning/sealed-file.js");
				const { SignerFolder } = await import("../signer/signer-folder.js");
				const { digestOf, encodeManifestBytes, TARGETS } = await import("../signer/image-file.js");
				const { BODY_BYTES_MAX } = await import("../../src/messages/firmware-update.js");
				const target = TARGETS[options.target];
				if (target === undefined)
					throw new UserError(`no target ${options.target}: allowed are ${Object.keys(TARGETS).join(", ")}`);
				const body = read(bodyPath);
				if (body.length < 1 || body.length > BODY_BYTES_MAX)
					throw new UserError(`${bodyPath} has ${body.length} bytes: allowed are 1 to ${BODY_BYTES_MAX}`);
				const key = SignerFolder.open(options.folder);
				const [major, minor, patch] = options.firmwareVersion;
				const manifest = encodeManifestBytes({
					major,
					minor,
					patch,
					target,
					securityVersion: options.securityVersion,
					bodyBytes: body.length,
					builtSeconds: Math.max(0, Math.floor(statSync(bodyPath).mtimeMs / 1000) - EPOCH_SECONDS),
					keyIdentifier: key.publicKey.subarray(8, 24),
					bodyDigest: digestOf(body),
				});
				const lock = await openLock(options, false);
				try {
					const note = `${major}.${minor}.${patch} ${digestOf(manifest).toString("hex")}`;
					const { signature, leaf, left } = key.sign(lock, manifest, { moved: options.moved, note });
					writeFileSync(options.out, Buffer.concat([manifest, signature, body]));
					say(
						`${options.out}: ${major}.${minor}.${patch}, ${body.length} bytes, leaf ${leaf}; ${left} signatures left`,
					);
				} finally {
					lock.close();
				}
			},
		);
}

function addVerify(group: Command): void {
	group
		.command("verify")
		.description("whether an image is genuine, with the verifier of the meter")
		.argument("<image>", "image file")
		.requiredOption("--key <file>", "public.key, or the folder that has it")
		.action(async (path: string, options: { key: string }) => {
			const { checkImage, decodeImageFile } = await import("../signer/image-file.js");
			const { readPublicKey } = await import("../signer/signer-folder.js");
			const wrong = checkImage(decodeImageFile(read(path), path), readPublicKey(options.key));
			say(`${path}: ${wrong ?? "genuine"}`);
			process.exitCode = wrong === undefined ? 0 : 1;
		});
}

function addInspect(group: Command): void {
	group
		.command("inspect")
		.description("what an image, a public key or the folder of a signing key is; checks no signature")
		.argument("<path>", "image file, public.key or folder")
		.action(async (path: string) => {
			const { readPublicKey, SignerFolder } = await import("../signer/signer-folder.js");
			const { parametersOfTypes } = await import("../signer/lms-tree.js");
			let isFolder = false;
			try {
				isFolder = statSync(path).isDirectory();
			} catch {
				throw new UserError(`${path} cannot be read`);
			}
			if (isFolder) {
				const key = SignerFolder.open(path);
				say(`signing key ${key.identifier}: ${describe(key.parameters)}`);
				say(`signatures left: ${key.left} of ${key.leafCount}`);
				return;
			}
			const bytes = read(path);
			if (bytes.length <= 56) {
				const key = readPublicKey(path);
				const parameters = parametersOfTypes(key.readUInt32BE(0), key.readUInt32BE(4))!;
				say(`public key ${key.subarray(8, 24).toString("hex")}: ${describe(parameters)}`);
				return;
			}
			const { decodeImageFile, targetName } = await import("../signer/image-file.js");
			const image = decodeImageFile(bytes, path);
			const { manifest } = image;
			say(`firmware ${manifest.major}.${manifest.minor}.${manifest.patch} for ${targetName(manifest.target)}`);
			say(`securityVersion ${manifest.securityVersion}`);
			say(`body ${manifest.bodyBytes} bytes, SHA-256 ${Buffer.from(manifest.bodyDigest).toString("hex")}`);
			say(`built ${new Date((manifest.builtSeconds + EPOCH_SECONDS) * 1000).toISOString()}`);
			say(`imageId ${image.imageId.toString(16).padStart(8, "0")}`);
			say(`key ${Buffer.from(manifest.keyIdentifier).toString("hex")}, leaf ${image.signature.readUInt32BE()}`);
			say(`signature ${image.signature.length} bytes: ${describe(image.parameters)}; not checked (verify does)`);
		});
}

function addTrust(group: Command): void {
	group
		.command("trust")
		.description("tell a head end's registry which key signs firmware; meters get it with their next keys")
		.argument("<key>", "public.key, or the folder that has it")
		.requiredOption("--registry <folder>", "of the head end")
		.option("--passphrase-file <file>", "first line: what the registry is sealed with")
		.option("--key-file <file>", "instead of a passphrase")
		.action(async (path: string, options: LockOptions & { registry: string }) => {
			const { openLock } = await import("../provisioning/sealed-file.js");
			const { readPublicKey } = await import("../signer/signer-folder.js");
			const { Registry } = await import("../head-end/registry.js");
			const key = readPublicKey(path);
			if (!Registry.exists(options.registry))
				throw new UserError(`there is no registry in ${options.registry}: wattlock provision make begins one`);
			const lock = await openLock(options, false);
			try {
				const registry = Registry.open(options.registry, lock);
				try {
					registry.setUpdateKey(key);
					const before = registry.list().filter(({ isDecommissioned }) => !isDecommissioned).length;
					say(`${options.registry}: firmware is signed with ${key.subarray(8, 24).toString("hex")}`);
					if (before > 0)
						say(`meters that have keys already: ${before}; they get this one when their keys are renewed`);
				} finally {
					registry.close();
				}
			} finally {
				lock.close();
			}
		});
}

function addSend(group: Command): void {
	group
		.command("send")
		.description("hand an image to a running head end, which brings it to meters, and watch; Ctrl-C ends the watching")
		.requiredOption("--image <file>", "what `firmware sign` wrote")
		.option("--url <url>", "of the head end's page", "http://127.0.0.1:8080")
		.option("--meters <list>", "identifiers, separated by commas; default: all", (text) => text.split(","))
		.option("--no-activate", "bring it there, and start it later with another send")
		.option("--no-wait", "do not watch")
		.action(async (options: { image: string; url: string; meters?: string[]; activate: boolean; wait: boolean }) => {
			const { sendFirmware } = await import("../head-end/sending-firmware.js");
			process.exitCode = await sendFirmware({ ...options, bytes: read(options.image), say, progress, progressEnd });
		})
		.addHelpText(
			"after",
			"\nExit codes: 0 every meter has it (and runs it), 1 one has not, 2 it could not be ordered.",
		);
}

export function addFirmware(program: Command): Command {
	const group = program
		.command("firmware")
		.description("firmware images: make keys, sign, verify, look inside, send to meters");
	for (const add of [addKeygen, addSign, addVerify, addInspect, addTrust, addSend]) add(group);
	return group;
}
