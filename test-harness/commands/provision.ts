import { renameSync } from "node:fs";
import type { Command } from "commander";
import type { KeyAuthority } from "../provisioning/key-authority.js";
import type { OpticalClient } from "../provisioning/optical-client.js";
import type { FileLock, LockOptions } from "../provisioning/sealed-file.js";
import { UserError } from "../user-error.js";
import { progress, progressEnd } from "./build.js";
import { integer } from "./options.js";

interface RegistryOptions extends LockOptions {
	readonly registry: string;
	readonly domain?: number;
}

interface PortOptions {
	readonly port: string;
}

const PROGRESS_AFTER_MILLISECONDS = 2000;

/** Shows progress when something takes longer than two seconds. */
function slowly(total: number): (done: number) => void {
	const start = Date.now();
	let shown = start;
	return (done) => {
		const now = Date.now();
		if (now - start < PROGRESS_AFTER_MILLISECONDS || now - shown < 500) return;
		shown = now;
		progress(`${done} of ${total}`);
	};
}

/** Opens lock and registry, and closes both whatever happens. */
async function withRegistry<T>(
	options: RegistryOptions,
	isNew: boolean,
	action: (authority: KeyAuthority, lock: FileLock) => T | Promise<T>,
): Promise<T> {
	const { openLock } = await import("../provisioning/sealed-file.js");
	const { createAuthority, openAuthority } = await import("../provisioning/registry-authority.js");
	const { Registry } = await import("../head-end/registry.js");
	const creates = isNew && !Registry.exists(options.registry);
	const lock = await openLock(options, creates);
	try {
		if (creates) {
			progress(`a new registry in ${options.registry}: its calendar of 44 years takes some seconds`);
			progressEnd();
		}
		const authority = creates
			? createAuthority(options.registry, lock, options.domain ?? 1)
			: openAuthority(options.registry, lock);
		try {
			return await action(authority, lock);
		} finally {
			authority.close();
		}
	} finally {
		lock.close();
	}
}

/** Speaks with the meter; a refusal of the meter is exit code 1, in one line. */
async function withMeter(options: PortOptions, action: (client: OpticalClient) => Promise<void>): Promise<void> {
	const { OpticalClient, OpticalRefusal } = await import("../provisioning/optical-client.js");
	const { openLine } = await import("../provisioning/optical-line.js");
	const client = new OpticalClient(await openLine(options.port));
	try {
		await action(client);
	} catch (error) {
		if (!(error instanceof OpticalRefusal)) throw error;
		process.stderr.write(`wattlock: ${error.message}\n`);
		process.exitCode = 1;
	} finally {
		client.close();
	}
}

function say(text: string): void {
	process.stdout.write(`${text}\n`);
}

const PROVEN = "its receipt under the new keys was opened";
const NOT_PROVEN = "it gave no receipt; its first message to the head end will tell";

function addMake(group: Command): void {
	group
		.command("make")
		.description(
			"make keys for new devices: entries in the registry of the head end, and a sealed device file for each",
		)
		.requiredOption("--count <number>", "how many devices", integer(1, 10_000))
		.requiredOption("--domain <number>", "of their concentrator", integer(0, 0xfffe))
		.requiredOption("--first-id <eui64>", "id of the first device, 16 hexadecimal digits; the others follow by one")
		.requiredOption("--registry <folder>", "of the head end; made when there is none")
		.requiredOption("--out <folder>", "where the device files go")
		.option("--epoch <day>", "first day of the keys, such as 2026-11-24; default: today")
		.option("--passphrase-file <file>", "first line: what seals registry and device files")
		.option("--key-file <file>", "instead of a passphrase; made when there is none")
		.action(
			async (
				options: RegistryOptions & { count: number; domain: number; firstId: string; out: string; epoch?: string },
			) => {
				const { makeBatch } = await import("../provisioning/batch.js");
				const { parseDay, today } = await import("../provisioning/operations.js");
				const { count, domain, firstId, out } = options;
				const epoch = options.epoch === undefined ? today() : parseDay(options.epoch);
				await withRegistry(options, true, (authority, lock) => {
					const onProgress = slowly(count);
					const paths = makeBatch(authority, lock, { count, domain, firstId, epoch, folder: out, onProgress });
					progressEnd();
					for (const path of paths) say(path);
				});
			},
		);
}

function addRenew(group: Command): void {
	group
		.command("renew")
		.description(
			"make the next keys of a device: for reseed at another place, or for a meter that cannot read its keys",
		)
		.requiredOption("--id <eui64>", "of the meter")
		.requiredOption("--registry <folder>", "of the head end")
		.requiredOption("--out <folder>", "where the device file goes")
		.option("--epoch <day>", "first day of the keys; default: today")
		.option("--again", "the newest keys once more: their device file was lost and never reached the meter", false)
		.option("--passphrase-file <file>", "first line: what opens the registry and seals the device file")
		.option("--key-file <file>", "instead of a passphrase")
		.action(async (options: RegistryOptions & { id: string; out: string; epoch?: string; again: boolean }) => {
			const { createDeviceFile, wipeDeviceFile } = await import("../../src/provisioning/device-file.js");
			const { parseId } = await import("../provisioning/batch.js");
			const { saveDeviceFile } = await import("../provisioning/device-files.js");
			const { parseDay, today } = await import("../provisioning/operations.js");
			const epoch = options.epoch === undefined ? today() : parseDay(options.epoch);
			await withRegistry(options, false, (authority, lock) => {
				const file = createDeviceFile();
				try {
					if (options.again) authority.again(parseId(options.id), file);
					else authority.renew(parseId(options.id), epoch, file);
					say(saveDeviceFile(options.out, file, lock));
				} finally {
					wipeDeviceFile(file);
				}
			});
		});
}

const PORT_HELP = "tcp:127.0.0.1:<port> of a virtual board, or a serial device";
const WRITTEN = ".written";

function addWrite(group: Command): void {
	group
		.command("write")
		.description("give a new meter its keys through the optical port; the device file is then overwritten and removed")
		.requiredOption("--device <file>", "sealed device file")
		.requiredOption("--port <port>", PORT_HELP)
		.option("--registry <folder>", "of the head end, where it is at hand: it then knows that the meter has its keys")
		.option("--keep", `keep the device file, with the ending ${WRITTEN}: it is never written again`, false)
		.option("--passphrase-file <file>", "first line: what the device file is sealed with")
		.option("--key-file <file>", "instead of a passphrase")
		.action(async (options: LockOptions & PortOptions & { device: string; keep: boolean; registry?: string }) => {
			const { loadDeviceFile } = await import("../provisioning/device-files.js");
			const { wipeDeviceFile } = await import("../../src/provisioning/device-file.js");
			const { writeDevice } = await import("../provisioning/operations.js");
			const { openLock, shred } = await import("../provisioning/sealed-file.js");
			const path = options.device;
			if (path.endsWith(WRITTEN))
				throw new UserError(
					`${path} was written to its meter; keys are never given twice: make new ones (provision renew)`,
				);
			const lock = await openLock(options, false);
			try {
				const device = loadDeviceFile(path, lock);
				try {
					await withMeter(options, async (client) => {
						const { isProven } = await writeDevice(client, device);
						if (options.keep) renameSync(path, `${path}${WRITTEN}`);
						else shred(path);
						const id = Buffer.from(device.file.id).toString("hex");
						if (options.registry !== undefined) {
							const { openAuthority } = await import("../provisioning/registry-authority.js");
							const authority = openAuthority(options.registry, lock);
							try {
								authority.confirm(id, device.file.generation);
							} finally {
								authority.close();
							}
						}
						say(`${id} has its keys; ${isProven ? PROVEN : NOT_PROVEN}`);
					});
				} finally {
					device.bytes.fill(0);
					wipeDeviceFile(device.file);
				}
			} finally {
				lock.close();
			}
		});
}

function addReseed(group: Command): void {
	group
		.command("reseed")
		.description("renew the keys of the meter in front of the optical head, with the head end's authorisation")
		.requiredOption("--registry <folder>", "of the head end")
		.requiredOption("--port <port>", PORT_HELP)
		.option("--device <file>", "device file of the next keys (provision renew); default: they are made now")
		.option("--epoch <day>", "first day of the keys that are made now; default: today")
		.option("--passphrase-file <file>", "first line: what opens the registry")
		.option("--key-file <file>", "instead of a passphrase")
		.action(async (options: RegistryOptions & PortOptions & { device?: string; epoch?: string }) => {
			const { createDeviceFile, DEVICE_FILE_BYTES, encodeDeviceFile, wipeDeviceFile } = await import(
				"../../src/provisioning/device-file.js"
			);
			const { loadDeviceFile } = await import("../provisioning/device-files.js");
			const { describe, nextKeys, parseDay, reseedDevice, today } = await import("../provisioning/operations.js");
			const { shred } = await import("../provisioning/sealed-file.js");
			const epoch = options.epoch === undefined ? today() : parseDay(options.epoch);
			await withRegistry(options, false, (authority, lock) =>
				withMeter(options, async (client) => {
					const identity = await client.identify();
					say(describe(identity));
					const device =
						options.device === undefined
							? { file: createDeviceFile(), bytes: Buffer.alloc(DEVICE_FILE_BYTES) }
							: loadDeviceFile(options.device, lock);
					try {
						if (options.device === undefined) {
							nextKeys(authority, identity, epoch, device.file);
							encodeDeviceFile(device.file, device.bytes, 0);
						}
						const { isProven } = await reseedDevice(client, authority, device, today());
						if (options.device !== undefined) shred(options.device);
						say(`${identity.id} has keys of generation ${device.file.generation}; ${isProven ? PROVEN : NOT_PROVEN}`);
					} finally {
						device.bytes.fill(0);
						wipeDeviceFile(device.file);
					}
				}),
			);
		});
}

function addDecommission(group: Command): void {
	group
		.command("decommission")
		.description("have the meter in front of the optical head forget all keys, and the head end the meter")
		.requiredOption("--id <eui64>", "of the meter")
		.requiredOption("--registry <folder>", "of the head end")
		.option("--port <port>", PORT_HELP)
		.option("--lost", "the meter is gone: the head end alone forgets it", false)
		.option("--passphrase-file <file>", "first line: what opens the registry")
		.option("--key-file <file>", "instead of a passphrase")
		.action(async (options: RegistryOptions & { port?: string; id: string; lost: boolean }) => {
			const { parseId } = await import("../provisioning/batch.js");
			const { decommissionDevice, today } = await import("../provisioning/operations.js");
			const id = parseId(options.id);
			const { port } = options;
			if (options.lost === (port !== undefined))
				throw new UserError("give --port for a meter that is here, or --lost for one that is gone");
			await withRegistry(options, false, async (authority) => {
				if (port === undefined) {
					authority.decommission(id);
					say(`the head end forgets ${id}; the meter itself still has its keys`);
					return;
				}
				await withMeter({ port }, async (client) => {
					const { isProven } = await decommissionDevice(client, authority, id, today());
					say(`${id} has forgotten its keys${isProven ? "; its last message was opened" : ""}`);
				});
			});
		});
}

function addShow(group: Command): void {
	group
		.command("show")
		.description("what the meter in front of the optical head says of itself")
		.requiredOption("--port <port>", PORT_HELP)
		.action((options: PortOptions) =>
			withMeter(options, async (client) => {
				const { describe } = await import("../provisioning/operations.js");
				const identity = await client.identify();
				const { headSequence, witnessedSequence, headTag } = await client.witness();
				say(describe(identity));
				say(`key records ${headSequence}, witnessed ${witnessedSequence}, newest ${headTag}`);
				for (const [name, { port, keyStore }] of Object.entries(identity.refusals))
					say(`refused ${name}: ${port} by the optical port, ${keyStore} by the key store`);
			}),
		);
}

function addList(group: Command): void {
	group
		.command("list")
		.description("the meters of a registry; no secrets")
		.requiredOption("--registry <folder>", "of the head end")
		.option("--passphrase-file <file>", "first line: what opens the registry")
		.option("--key-file <file>", "instead of a passphrase")
		.action((options: RegistryOptions) =>
			withRegistry(options, false, (authority) => {
				for (const { id, domain, shortAddress, generation, isDecommissioned } of authority.list())
					say(
						`${id} domain ${domain} address ${shortAddress} generation ${generation}${isDecommissioned ? " decommissioned" : ""}`,
					);
			}),
		);
}

export function addProvision(program: Command): Command {
	const group = program
		.command("provision")
		.description("a meter's keys from factory to scrap: make, write, renew, forget")
		.addHelpText(
			"after",
			"\nExit codes: 0 done, 1 the meter refused, 2 could not run; both in one line. docs/PROVISIONING.md has the rest.",
		);
	for (const add of [addMake, addWrite, addRenew, addReseed, addDecommission, addShow, addList]) add(group);
	return group;
}
