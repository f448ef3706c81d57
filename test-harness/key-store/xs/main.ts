import { InvariantError, Status } from "../../../src/bytes/status.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { type NativeCrypto, WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { KeyStore } from "../../../src/key-store/key-store.js";
import { ODOMETER_STATE_BYTES, startOdometer } from "../../../src/key-store/odometer.js";
import { ServerUnicast } from "../../../src/key-store/server-unicast.js";
import { MemoryFlash } from "../memory-flash.js";
import { runScenario, ScenarioDeviceKey, scenarioProvisioning } from "../scenario.js";

/** What the runner is asked, one JSON object a line. */
export type KeyStoreRequest =
	| { readonly crypto: "noble" | "native"; readonly scenario: true; readonly from: number; readonly to: number }
	| { readonly crypto: "noble" | "native"; readonly prepare: Operation; readonly times: number }
	| { readonly crypto: "noble" | "native"; readonly measure: Operation; readonly times: number };

export const OPERATIONS = Object.freeze([
	"nothing",
	"seal 64",
	"seal 64, with a reservation",
	"open 64",
	"refuse a forged one, 31 ahead",
	"refuse one of another day",
	"roll one day",
	"jump 365 days",
	"end yesterday",
	"use a slot",
	"open the journal",
] as const);
export type Operation = (typeof OPERATIONS)[number];

const AREA = Object.freeze({ firstSector: 0, sectorCount: 8 });
const DAY = 40_000;

const root = globalThis as unknown as {
	readonly wattlockHost: NativeCrypto;
	wattlockStart: (line: string) => string;
};

/** A meter and its head end, and what an operation needs beforehand. */
class Bench {
	readonly crypto: Crypto;
	readonly flash = new MemoryFlash(4096, AREA.sectorCount);
	readonly store: KeyStore;
	readonly server: ServerUnicast;
	readonly #message = new Uint8Array(64);
	readonly #into = new Uint8Array(128);
	readonly #prepared: Uint8Array[] = [];
	#epoch = DAY;
	#slot = 0;

	constructor(crypto: Crypto) {
		this.crypto = crypto;
		const provisioning = scenarioProvisioning(1, DAY);
		this.store = new KeyStore(crypto, this.flash, new ScenarioDeviceKey(), AREA);
		this.store.open();
		this.#check(this.store.provision(provisioning));
		this.#check(this.store.witness(0));
		const { id, domain, shortAddress } = provisioning;
		this.server = new ServerUnicast(crypto, { branch: 0, id, domain, shortAddress, save: () => true });
		this.#startServer();
	}

	#check(status: Status): void {
		if (status !== Status.ok) throw new InvariantError(`status ${status}`);
	}

	#startServer(): void {
		const bytes = new Uint8Array(ODOMETER_STATE_BYTES + 32);
		bytes.set(scenarioProvisioning(1, DAY).roots.subarray(0, 32), ODOMETER_STATE_BYTES);
		startOdometer(this.crypto, bytes, 0, this.#epoch, ODOMETER_STATE_BYTES);
		this.#check(this.server.startDay(this.#epoch, bytes, ODOMETER_STATE_BYTES));
	}

	#nextDay(days: number): void {
		this.#epoch += days;
		this.#check(this.store.stageEpoch(this.#epoch, true));
		this.#check(this.store.commitEpoch());
	}

	#seal(): void {
		if (this.store.sealMessage(0, 0x08, this.#message, 64, this.#into) === 0) throw new InvariantError("not sealed");
	}

	#sealDown(): Uint8Array {
		const into = new Uint8Array(82);
		this.#prepared.push(into);
		if (this.server.sealMessage(0x09, this.#message, 64, into) === 0) throw new InvariantError("not sealed");
		return into;
	}

	/** What is not measured. A new day first, so that indices and windows are at their start. */
	prepare(what: Operation, times: number): void {
		this.#nextDay(1);
		this.#startServer();
		this.#prepared.length = 0;
		if (what === "seal 64, with a reservation") for (let i = 0; i < 64; i++) this.#seal();
		if (what === "open 64") for (let i = 0; i < times; i++) this.#sealDown();
		if (what === "refuse a forged one, 31 ahead") {
			for (let i = 0; i < 32; i++) this.#sealDown();
			this.#prepared[31]![40] = this.#prepared[31]![40]! ^ 1;
		}
		if (what === "refuse one of another day") {
			this.#sealDown();
			this.#prepared[0]![5] = 0xff;
		}
	}

	measure(what: Operation, times: number): void {
		const { store } = this;
		for (let i = 0; i < times; i++)
			switch (what) {
				case "nothing":
					break;
				case "seal 64":
				case "seal 64, with a reservation":
					this.#seal();
					break;
				case "open 64":
					this.#check(store.openMessage(this.#prepared[i]!, 82, this.#into));
					break;
				case "refuse a forged one, 31 ahead":
					if (store.openMessage(this.#prepared[31]!, 82, this.#into) !== Status.badTag)
						throw new InvariantError("opened");
					break;
				case "refuse one of another day":
					if (store.openMessage(this.#prepared[0]!, 82, this.#into) === Status.ok) throw new InvariantError("opened");
					break;
				case "roll one day":
					this.#nextDay(1);
					break;
				case "jump 365 days":
					this.#nextDay(365);
					break;
				case "end yesterday":
					this.#check(store.endYesterday());
					break;
				case "use a slot":
					this.#check(store.useFlashSlot(this.#slot++));
					break;
				case "open the journal":
					this.#check(store.open());
					break;
				default:
					throw new RangeError(what);
			}
		if (what === "open the journal") this.#check(store.witness(0));
	}
}

class State {
	noble: Bench | undefined;
	native: Bench | undefined;
	get(name: "noble" | "native"): Bench {
		if (name === "noble") return (this.noble ??= new Bench(new NobleCrypto()));
		return (this.native ??= new Bench(new WrappedNativeCrypto(root.wattlockHost)));
	}
}

/** Answers in JSON: lines of the scenario, or "done". */
root.wattlockStart = (line) => {
	const request = JSON.parse(line) as KeyStoreRequest;
	const clone = globalThis as unknown as { wattlockState?: State };
	if ("scenario" in request) {
		const crypto = request.crypto === "noble" ? new NobleCrypto() : new WrappedNativeCrypto(root.wattlockHost);
		return JSON.stringify(runScenario(crypto, request.from, request.to));
	}
	const bench = (clone.wattlockState ??= new State()).get(request.crypto);
	if ("prepare" in request) bench.prepare(request.prepare, request.times);
	else bench.measure(request.measure, request.times);
	return '"done"';
};
