import { installFirmware } from "../../../../hosts/xs/entry.js";
import type { CryptoPlatform } from "../../../../src/crypto/crypto-platform.js";
import type { LinkEvents } from "../../../../src/platform/link.js";
import type { MeterEvents } from "../../../../src/platform/platform.js";
import type { SampleKernel, SampleLayout } from "../../../../src/platform/sample-kernel.js";

/** Firmware that does what a test asks, through its link: one command a line. */

interface TrialSettings {
	readonly layout?: SampleLayout;
	readonly linkAtStart?: boolean;
	readonly tickEvery?: number;
	readonly failAtStart?: boolean;
}

const SHARED_TABLE = Uint8Array.of(1, 2, 3, 4);
const SHARED_LIST = [1, 2, 3];
const SHARED_OBJECT = { count: 0 };
const SHARED_MAP = new Map<string, number>([["a", 1]]);
const SHARED_PATTERN = /^(\w+)-(\d+)$/;
let sharedCount = 0;

class NoKernel implements SampleKernel {
	process(_block: Uint8Array, _rowIndex: number, rowCount: number): number {
		return rowCount;
	}

	windowClosed(): boolean {
		return false;
	}

	configure(): void {}
	close(): void {}
}

class Node {
	next: Node | undefined;
	constructor(next: Node | undefined) {
		this.next = next;
	}
}

/** XS 13.3 has neither Uint8Array.fromHex nor toHex. */
function toHex(bytes: Uint8Array, byteLength: number): string {
	let text = "";
	for (let i = 0; i < byteLength; i++) text += (bytes[i]! + 256).toString(16).slice(1);
	return text;
}

function fromHex(text: string): Uint8Array {
	return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(i * 2, i * 2 + 2), 16));
}

class Trial implements MeterEvents, LinkEvents {
	readonly #platform: CryptoPlatform;
	readonly #settings: TrialSettings;
	readonly #page = new Uint8Array(256);
	#deadline = Number.POSITIVE_INFINITY;
	#ticks = 0;
	#rows = 0;
	#sum = 0;
	#held: unknown;
	#isStuck = false;

	constructor(platform: CryptoPlatform, settings: TrialSettings) {
		this.#platform = platform;
		this.#settings = settings;
		if (settings.layout) platform.createSampleKernel(settings.layout);
		if (settings.linkAtStart) platform.link.open();
		if (settings.tickEvery) this.#deadline = settings.tickEvery;
	}

	samples(block: Uint8Array, rowCount: number): void {
		this.#rows += rowCount;
		for (let i = 0; i < rowCount; i++) this.#sum += block[i * 4]!;
		this.#platform.log.line(
			`samples ${rowCount} at ${this.#platform.clock.monotonicMilliseconds()} first ${block[0]} last ${block[(rowCount - 1) * 4]}`,
		);
	}

	samplesLost(rowCount: number): void {
		this.#platform.log.line(`lost ${rowCount}`);
	}

	inputChanged(which: number, value: number): void {
		this.#platform.board.setOutput(0, value + 1);
		this.#platform.log.line(`input ${which} ${value} ${this.#platform.board.input(which as 0)}`);
	}

	tick(): void {
		if (this.#isStuck) return;
		this.#ticks++;
		this.#platform.log.line(`tick ${this.#ticks} at ${this.#platform.clock.monotonicMilliseconds()}`);
		const every = this.#settings.tickEvery;
		this.#deadline = every ? this.#deadline + every : Number.POSITIVE_INFINITY;
	}

	deadlineMilliseconds(): number {
		return this.#deadline;
	}

	linkOpened(): void {
		this.#platform.log.line("opened");
	}

	linkWritable(): void {
		this.#platform.log.line("writable");
	}

	opticalReceived(bytes: Uint8Array, byteLength: number): void {
		this.#platform.opticalPort.send(bytes, byteLength); // an echo
	}

	linkClosed(): void {
		this.#platform.log.line("closed");
	}

	linkReceived(bytes: Uint8Array, byteLength: number): void {
		if (bytes[0] === 0) {
			this.#platform.link.send(bytes, byteLength);
			return;
		}
		const [command = "", ...words] = String.fromCharCode(...bytes.subarray(0, byteLength)).split(" ");
		this.#answer(this.#obey(command, words));
	}

	#answer(text: string): void {
		const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
		this.#platform.link.send(bytes, bytes.length);
	}

	#obey(command: string, words: string[]): string {
		const number = Number(words[0]);
		const { flash, board, clock, entropy, link } = this.#platform;
		switch (command) {
			case "time":
				return `${clock.monotonicMilliseconds()} ${clock.utcSeconds()}`;
			case "setTime":
				clock.setUtcSeconds(number);
				return "ok";
			case "entropy": {
				const bytes = new Uint8Array(number);
				entropy.fill(bytes);
				return toHex(bytes, number);
			}
			case "deviceKey": {
				const key = new Uint8Array(34);
				this.#platform.deviceKey.copyTo(key, 1);
				return toHex(key.subarray(1), 32);
			}
			case "sha256": {
				const bytes = fromHex(words[0] ?? "");
				const digest = new Uint8Array(32);
				this.#platform.crypto.sha256(bytes, 0, bytes.length, digest, 0, 32);
				return toHex(digest, 32);
			}
			case "program": {
				const bytes = fromHex(words[1] ?? "");
				return `${flash.program(number, bytes, bytes.length)}`;
			}
			case "erase":
				return `${flash.erase(number)}`;
			case "read": {
				const status = flash.read(number, this.#page, Number(words[1]));
				return status === 0 ? toHex(this.#page, Number(words[1])) : `${status}`;
			}
			case "geometry":
				return `${flash.sectorBytes} ${flash.sectorCount}`;
			case "deadline":
				this.#deadline = number;
				return "ok";
			case "kernel": {
				const kernel = this.#platform.createSampleKernel({
					phaseCount: 1,
					neutralCurrent: false,
					sampleBytes: 2,
					samplesPerSecond: 4000,
				});
				const taken = kernel.process(new Uint8Array(number * 4), 0, number, new Uint8Array(1536));
				this.#held = kernel;
				return `${kernel.constructor.name} ${taken} ${kernel.windowClosed()}`;
			}
			case "rows":
				return `${this.#rows} ${this.#sum}`;
			case "close":
				link.close();
				return "";
			case "restart":
				return board.restart();
			case "slots": {
				// live data of so many objects
				let list: Node | undefined;
				for (let i = 0; i < number; i++) list = new Node(list);
				this.#held = list;
				return "ok";
			}
			case "bytes":
				this.#held = new Uint8Array(number);
				return "ok";
			case "garbage": {
				let count = 0;
				for (let i = 0; i < number; i++) count += new Node(undefined).next === undefined ? `${i}`.length : 0;
				return `${count}`;
			}
			case "release":
				this.#held = undefined;
				return "ok";
			case "holds":
				return this.#held === undefined ? "no" : "yes";
			case "deep": {
				const down = (level: number): number => (level === 0 ? 0 : 1 + down(level - 1));
				return `${down(number)}`;
			}
			case "throw":
				throw new RangeError(words.join(" "));
			case "throwOdd":
				throw {
					toString(): string {
						throw new Error("no");
					},
				};
			case "reject":
				Promise.reject(new TypeError("rejected"));
				return "ok";
			case "promise":
				Promise.resolve("later").then((text) => this.#answer(text));
				return "";
			case "loop":
				for (;;) this.#ticks++;
			case "sameDeadline":
				this.#deadline = 0;
				this.#isStuck = true;
				return "ok";
			case "writeTable":
				SHARED_TABLE[0] = 9;
				return "written";
			case "writeMap":
				SHARED_MAP.set("b", 2);
				return "written";
			case "writeBuiltIn":
				(Array.prototype as unknown as Record<string, unknown>)["extra"] = 1;
				return "written";
			case "writeShared":
				sharedCount++;
				SHARED_OBJECT.count++;
				SHARED_LIST.push(SHARED_LIST.length);
				return `${sharedCount} ${SHARED_OBJECT.count} ${SHARED_LIST.join("")}`;
			case "readShared": {
				const match = SHARED_PATTERN.exec("meter-12");
				return `${SHARED_TABLE[2]} ${SHARED_MAP.get("a")} ${match?.[1]} ${match?.[2]} ${JSON.stringify({ shared: SHARED_LIST.length, deadlineMilliseconds: 1 })}`;
			}
			case "names": {
				const object: Record<string, number> = {};
				for (let i = 0; i < number; i++) object[`name${i}`] = i;
				return `${Object.keys(object).length}`;
			}
			default:
				return `unknown ${command}`;
		}
	}
}

installFirmware(
	(platform, settingsText) => {
		const settings = JSON.parse(settingsText) as TrialSettings;
		if (settings.failAtStart) throw new Error("fails at start");
		return new Trial(platform, settings);
	},
	() => new NoKernel(),
);
