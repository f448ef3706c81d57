import type { Status } from "../../src/bytes/status.js";
import type { Crypto } from "../../src/crypto/crypto.js";
import type { CryptoPlatform } from "../../src/crypto/crypto-platform.js";
import { type NativeCrypto, WrappedNativeCrypto } from "../../src/crypto/native-crypto.js";
import type { BootLoader } from "../../src/firmware-update/boot.js";
import type { Input, Output } from "../../src/platform/board.js";
import type { NorFlash } from "../../src/platform/flash.js";
import type { LinkEvents } from "../../src/platform/link.js";
import type { MeterEvents } from "../../src/platform/platform.js";
import { rowBytes, type SampleKernel, type SampleLayout } from "../../src/platform/sample-kernel.js";

/** A sample kernel in C; lives until it is closed or its machine is gone. */
type KernelHandle = object;

/**
 * What board.c puts on the root machine. Calls while modules are loaded throw: nothing is powered yet. Those of
 * `NativeCrypto` (hosts/xs/crypto) need no power.
 */
interface Host extends NativeCrypto {
	monotonic(): number;
	utc(): number;
	setUtc(utcSeconds: number): void;
	entropy(into: Uint8Array): void;
	deviceKey(into: Uint8Array, offset: number): void;
	flashRead(address: number, into: Uint8Array, byteLength: number): Status;
	flashProgram(address: number, from: Uint8Array, byteLength: number): Status;
	flashErase(sectorIndex: number): Status;
	sectorBytes(): number;
	sectorCount(): number;
	linkOpen(): void;
	linkSend(bytes: Uint8Array, byteLength: number): number;
	linkClose(): void;
	opticalSend(bytes: Uint8Array, byteLength: number): number;
	/** Whether flash holds an archive of this engine there. */
	isFirmware(address: number, byteLength: number): boolean;
	/** By `wattlockBoot` alone: what starts instead of what is built in. */
	startImage(slot: number, address: number, byteLength: number): void;
	bootedSlot(): number;
	bootReason(): number;
	input(which: Input): number;
	setOutput(which: Output, value: number): void;
	restart(): never;
	log(text: string): void;
	typeScriptKernel(): boolean;
	/** @returns bytes that `setSampleBlock` needs */
	layout(rowBytes: number, samplesPerSecond: number): number;
	setSampleBlock(block: Uint8Array): void;
	setLinkBuffer(buffer: Uint8Array): void;
	/** @returns undefined where no C kernel is compiled in */
	kernelCreate(
		phaseCount: number,
		neutralCurrent: number,
		sampleBytes: number,
		samplesPerSecond: number,
	): KernelHandle | undefined;
	kernelConfigure(kernel: KernelHandle, parameters: Uint8Array): number;
	kernelProcess(kernel: KernelHandle, block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array): number;
	kernelWindowClosed(kernel: KernelHandle): boolean;
	kernelClose(kernel: KernelHandle): void;
}

interface Root {
	readonly wattlockHost: Host;
	wattlockStart: (settingsText: string) => MeterEvents & LinkEvents;
	/** Runs at each power-on, in a machine that ends with it. */
	wattlockBoot: () => void;
}

const root = globalThis as unknown as Root;
const host = root.wattlockHost;

/** Link data arrives in pieces of at most this: WATTLOCK_LINK_BUFFER_BYTES of host.h. */
const LINK_BUFFER_BYTES = 512;

class HostFlash implements NorFlash {
	readonly sectorBytes = host.sectorBytes();
	readonly sectorCount = host.sectorCount();

	read(address: number, into: Uint8Array, byteLength: number): Status {
		return host.flashRead(address, into, byteLength);
	}

	program(address: number, from: Uint8Array, byteLength: number): Status {
		return host.flashProgram(address, from, byteLength);
	}

	erase(sectorIndex: number): Status {
		return host.flashErase(sectorIndex);
	}
}

class HostKernel implements SampleKernel {
	readonly #kernel: KernelHandle;

	constructor(kernel: KernelHandle) {
		this.#kernel = kernel;
	}

	process(block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array): number {
		return host.kernelProcess(this.#kernel, block, rowIndex, rowCount, sums);
	}

	windowClosed(): boolean {
		return host.kernelWindowClosed(this.#kernel);
	}

	configure(parameters: Uint8Array): void {
		if (host.kernelConfigure(this.#kernel, parameters) !== 0) throw new RangeError("kernel parameters");
	}

	close(): void {
		host.kernelClose(this.#kernel);
	}
}

/** The parts that are the same for every meter: made once in the root machine, so that they cost a meter nothing. */
const clock: CryptoPlatform["clock"] = Object.freeze({
	monotonicMilliseconds: host.monotonic,
	utcSeconds: host.utc,
	setUtcSeconds: host.setUtc,
});
const entropy: CryptoPlatform["entropy"] = Object.freeze({ fill: host.entropy });
const link: CryptoPlatform["link"] = Object.freeze({ open: host.linkOpen, send: host.linkSend, close: host.linkClose });
const opticalPort: CryptoPlatform["opticalPort"] = Object.freeze({ send: host.opticalSend });
const deviceKey: CryptoPlatform["deviceKey"] = Object.freeze({ copyTo: host.deviceKey });
const board: CryptoPlatform["board"] = Object.freeze({
	bootReason: host.bootReason,
	input: host.input,
	setOutput: host.setOutput,
	restart: host.restart,
});
const crypto: CryptoPlatform["crypto"] = Object.freeze(new WrappedNativeCrypto(host));
const log: CryptoPlatform["log"] = Object.freeze({ line: host.log });

type CreateKernel = (layout: SampleLayout) => SampleKernel;
type CreateBootLoader = (
	flash: NorFlash,
	crypto: Crypto,
	canStart: (address: number, byteLength: number) => boolean,
) => BootLoader;

class HostPlatform implements CryptoPlatform {
	readonly clock = clock;
	readonly entropy = entropy;
	readonly flash = new HostFlash();
	readonly link = link;
	readonly opticalPort = opticalPort;
	readonly deviceKey = deviceKey;
	readonly crypto = crypto;
	readonly board = board;
	readonly log = log;
	readonly bootedSlot = host.bootedSlot();
	readonly #createTypeScriptKernel: CreateKernel;

	constructor(createTypeScriptKernel: CreateKernel) {
		this.#createTypeScriptKernel = createTypeScriptKernel;
	}

	createSampleKernel(layout: SampleLayout): SampleKernel {
		host.setSampleBlock(new Uint8Array(host.layout(rowBytes(layout), layout.samplesPerSecond)));
		const kernel = host.typeScriptKernel()
			? undefined
			: host.kernelCreate(
					layout.phaseCount,
					layout.neutralCurrent ? 1 : 0,
					layout.sampleBytes,
					layout.samplesPerSecond,
				);
		return kernel === undefined ? this.#createTypeScriptKernel(layout) : new HostKernel(kernel);
	}
}

/**
 * Makes a firmware of an application: the module `main` of every XS host calls this once, at its top level.
 * @param startMeter the application; gets its platform and the settings as JSON at each power-on
 * @param createTypeScriptKernel the per-sample loop where the host has none in C, or is told not to use it
 * @param createBootLoader absent: nothing is ever started out of flash
 */
export function installFirmware(
	startMeter: (platform: CryptoPlatform, settingsText: string) => MeterEvents & LinkEvents,
	createTypeScriptKernel: CreateKernel,
	createBootLoader?: CreateBootLoader,
): void {
	root.wattlockStart = (settingsText) => {
		host.setLinkBuffer(new Uint8Array(LINK_BUFFER_BYTES));
		return startMeter(new HostPlatform(createTypeScriptKernel), settingsText);
	};
	if (createBootLoader === undefined) return;
	root.wattlockBoot = () => {
		const loader = createBootLoader(new HostFlash(), crypto, host.isFirmware);
		const slot = loader.choose();
		if (slot > 0) host.startImage(slot, loader.bodyAddress, loader.bodyBytes);
	};
}
