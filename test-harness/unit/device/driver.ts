import type { PowerOn, Statistics, Target, TargetEvents } from "../../device/target.js";

/** What a meter said, in order, as lines that a test can read. */
export type Lines = string[];

const HOW: PowerOn = {
	nowMilliseconds: 1000,
	utcSeconds: 800_000_000,
	sectorBytes: 4096,
	sectorCount: 16,
	bootReason: 0,
	typeScriptKernel: false,
	entropySeed: new Uint8Array(32),
	deviceKey: new Uint8Array(32).fill(1),
	settingsText: '{"linkAtStart":true}',
};

/** Drives the trial firmware: commands through its link, answers and events as lines. Opens and closes links at once. */
export class Driver implements TargetEvents {
	readonly target: Target;
	readonly lines = new Map<number, Lines>();
	readonly images = new Map<number, Uint8Array>();
	failure = "";
	readonly #waiting = new Map<number, (line: string) => void>();
	readonly #statistics = new Map<number, (statistics: Statistics) => void>();
	readonly #failing: ((reason: string) => void)[] = [];

	constructor(target: Target) {
		this.target = target;
	}

	start(): Promise<void> {
		return this.target.start(this);
	}

	/** Lines of a meter since the last call. */
	take(meter: number): Lines {
		const lines = this.lines.get(meter) ?? [];
		this.lines.set(meter, []);
		return lines;
	}

	/** @returns the line that ended the wait: done, aborted or off */
	#until(meter: number, ask: () => void): Promise<string> {
		return new Promise((resolve) => {
			this.#waiting.set(meter, resolve);
			ask();
		});
	}

	/** Powers the meter on with the flash content that the board has of it. */
	powerOn(meter: number, how: Partial<PowerOn> = {}): Promise<string> {
		const options = { ...HOW, ...how };
		const image = this.images.get(meter) ?? new Uint8Array(options.sectorBytes * options.sectorCount).fill(0xff);
		this.images.set(meter, image);
		for (let at = 0; at < image.length; at += 4096) {
			const piece = image.subarray(at, at + 4096);
			if (piece.some((byte) => byte !== 0xff)) this.target.flashLoad(meter, at, piece);
		}
		return this.#until(meter, () => this.target.powerOn(meter, options));
	}

	advance(meter: number, untilMilliseconds: number): Promise<string> {
		return this.#until(meter, () => this.target.advance(meter, untilMilliseconds));
	}

	powerCut(meter: number): Promise<string> {
		return this.#until(meter, () => this.target.powerCut(meter, 0, 0));
	}

	/** Sends a command, lets it run, and gives what was said. */
	async ask(meter: number, command: string, untilMilliseconds = 0): Promise<Lines> {
		this.take(meter);
		this.target.linkData(meter, Buffer.from(command));
		const end = await this.advance(meter, untilMilliseconds);
		const lines = this.take(meter);
		return end.startsWith("done") ? lines.filter((line) => !line.startsWith("done")) : lines;
	}

	askStatistics(meter: number): Promise<Statistics> {
		return new Promise((resolve) => {
			this.#statistics.set(meter, resolve);
			this.target.queryStatistics(meter);
		});
	}

	whenFailed(): Promise<string> {
		return new Promise((resolve) => {
			if (this.failure !== "") resolve(this.failure);
			else this.#failing.push(resolve);
		});
	}

	#say(meter: number, line: string): void {
		const lines = this.lines.get(meter);
		if (lines) lines.push(line);
		else this.lines.set(meter, [line]);
	}

	#end(meter: number, line: string): void {
		this.#say(meter, line);
		const resolve = this.#waiting.get(meter);
		this.#waiting.delete(meter);
		resolve?.(line);
	}

	done(meter: number, nowMilliseconds: number, deadlineMilliseconds: number): void {
		this.#end(meter, `done ${nowMilliseconds} ${deadlineMilliseconds}`);
	}

	linkOpen(meter: number): void {
		this.#say(meter, "linkOpen");
		this.target.linkOpened(meter);
	}

	linkSend(meter: number, bytes: Uint8Array): void {
		this.#say(meter, `sent ${Buffer.from(bytes).toString("latin1")}`);
	}

	linkClose(meter: number): void {
		this.#say(meter, "linkClose");
		this.target.linkClosed(meter);
	}

	flashProgram(meter: number, address: number, bytes: Uint8Array): void {
		this.#say(meter, `program ${address} ${Buffer.from(bytes.subarray(0, 8)).toString("hex")} ${bytes.length}`);
		const image = this.images.get(meter)!;
		for (let i = 0; i < bytes.length; i++) image[address + i]! &= bytes[i]!;
	}

	flashErase(meter: number, sectorIndex: number): void {
		this.#say(meter, `erase ${sectorIndex}`);
		this.images.get(meter)!.fill(0xff, sectorIndex * 4096, (sectorIndex + 1) * 4096);
	}

	output(meter: number, which: number, value: number): void {
		this.#say(meter, `output ${which} ${value}`);
	}

	log(meter: number, text: string): void {
		this.#say(meter, text);
	}

	aborted(meter: number, reason: number, text: string): void {
		this.#end(meter, `aborted ${reason} ${text}`);
	}

	poweredOff(meter: number, flashOperations: number): void {
		this.#end(meter, `off ${flashOperations}`);
	}

	statistics(meter: number, statistics: Statistics): void {
		this.#statistics.get(meter)?.(statistics);
	}

	opticalSend(meter: number, bytes: Uint8Array): void {
		this.#say(meter, `opticalSend ${Buffer.from(bytes).toString("hex")}`);
	}

	clockSet(meter: number, utcSeconds: number, atMilliseconds: number): void {
		this.#say(meter, `clockSet ${utcSeconds} ${atMilliseconds}`);
	}

	failed(reason: string): void {
		this.failure = reason;
		for (const resolve of this.#failing) resolve(reason);
		for (const meter of [...this.#waiting.keys()]) this.#end(meter, `failed ${reason}`);
	}
}
