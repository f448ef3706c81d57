import { installFirmware } from "../../hosts/xs/entry.js";
import { InvariantError, Status } from "../../src/bytes/status.js";
import { type Aead, NO_BYTES, ZERO_NONCE } from "../../src/crypto/crypto.js";
import type { CryptoPlatform } from "../../src/crypto/crypto-platform.js";
import { KeyStore } from "../../src/key-store/key-store.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import type { LinkEvents } from "../../src/platform/link.js";
import type { MeterEvents } from "../../src/platform/platform.js";
import type { SampleLayout } from "../../src/platform/sample-kernel.js";
import { ScenarioDeviceKey, scenarioProvisioning } from "../key-store/scenario.js";

/** Firmware that does one operation so many times: "name|times" through its link. */

const LAYOUT: SampleLayout = { phaseCount: 3, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 4000 };
const ROWS = 200;

class Bench implements MeterEvents, LinkEvents {
	readonly #operations: ReadonlyMap<string, () => void>;
	readonly #message = new Uint8Array(1200);
	readonly #into = new Uint8Array(1300);

	constructor(platform: CryptoPlatform) {
		const { crypto } = platform;
		const [message, into] = [this.#message, this.#into];
		const aead = (made: Aead): Aead => {
			made.setKey(message, 0);
			return made;
		};
		const [ccm, gcm, hmac, cmac, wrap, aes] = [
			aead(crypto.createCcm(13, 8)),
			aead(crypto.createGcm(12, 16)),
			crypto.createHmac(),
			crypto.createCmac(),
			crypto.createKeyWrap(),
			crypto.createAes(),
		];
		hmac.setKey(message, 0, 32);
		cmac.setKey(message, 0, 16);
		wrap.setKey(message, 0);
		aes.setKey(message, 0);
		const kdf = (label: number, at: number): void => crypto.kdf(message, 0, 16, label, NO_BYTES, 0, 0, into, at, 16);
		const store = new KeyStore(crypto, platform.flash, new ScenarioDeviceKey(), { firstSector: 0, sectorCount: 8 });
		if (store.open() === Status.notFound)
			if (store.provision(scenarioProvisioning(1, 40_000)) !== Status.ok) throw new InvariantError("not provisioned");
		if (store.witness(0) !== Status.ok) throw new InvariantError("no witness");
		const block = new Uint8Array(ROWS * 14).map((_, i) => i);
		const sums = new Uint8Array(1536);
		const [kernel, twin] = [platform.createSampleKernel(LAYOUT), createSampleKernel(LAYOUT)];
		this.#operations = new Map<string, () => void>([
			["nothing", () => {}],
			["sha256 64", () => crypto.sha256(message, 0, 64, into, 0, 32)],
			["sha256 1024", () => crypto.sha256(message, 0, 1024, into, 0, 32)],
			["kdf", () => kdf(0x6d, 0)],
			["hmac 64", () => hmac.sign(message, 0, 64, into, 0, 32)],
			["hkdf 32", () => crypto.hkdf(message, 0, 16, message, 0, 32, message, 0, 10, into, 0, 32)],
			["aes key", () => aes.setKey(message, 0)],
			["aes block", () => aes.encryptBlock(message, 0, into, 0)],
			["ccm seal 64", () => ccm.seal(ZERO_NONCE, 0, message, 0, 18, message, 18, 64, into, 0)],
			["gcm seal 64", () => gcm.seal(ZERO_NONCE, 0, message, 0, 13, message, 18, 64, into, 0)],
			["cmac 16", () => cmac.sign(message, 0, 16, into, 0, 16)],
			["key wrap 16", () => wrap.wrap(message, 0, 16, into, 0)],
			[
				"reading 64, primitives",
				() => {
					kdf(0x6d, 200);
					kdf(0x63, 300);
					ccm.setKey(into, 200);
					ccm.seal(ZERO_NONCE, 0, message, 100, 18, message, 118, 64, into, 0);
				},
			],
			[
				"reading 64, sealed by the key store",
				() => {
					if (store.sealMessage(0, 0x08, message, 64, into) === 0) throw new InvariantError("not sealed");
				},
			],
			["kernel 200 rows, C", () => void kernel.process(block, 0, ROWS, sums)],
			["kernel 200 rows, TypeScript", () => void twin.process(block, 0, ROWS, sums)],
		]);
		platform.link.open();
	}

	linkReceived(bytes: Uint8Array, byteLength: number): void {
		const [name = "", times] = String.fromCharCode(...bytes.subarray(0, byteLength)).split("|");
		const operation = this.#operations.get(name);
		if (!operation) throw new RangeError(`no operation ${name}`);
		for (let i = Number(times); i > 0; i--) operation();
	}

	deadlineMilliseconds(): number {
		return Number.POSITIVE_INFINITY;
	}

	samples(): void {}
	samplesLost(): void {}
	inputChanged(): void {}
	tick(): void {}
	linkOpened(): void {}
	linkWritable(): void {}
	linkClosed(): void {}
	opticalReceived(): void {}
}

installFirmware((platform) => new Bench(platform), createSampleKernel);
