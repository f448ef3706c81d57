import type { PowerOn, Target, TargetEvents } from "./target.js";

/** Some meters on one target, the others on another: `npm start -- --rv32 2`. */
export class SplitTarget implements Target {
	readonly name: Target["name"];
	readonly #first: Target;
	readonly #others: Target;
	readonly #firstCount: number;

	/**
	 * @param first runs meters 0 to firstCount - 1
	 * @param others runs the rest, and gives the name
	 */
	constructor(first: Target, firstCount: number, others: Target) {
		this.#first = first;
		this.#firstCount = firstCount;
		this.#others = others;
		this.name = others.name;
	}

	get description(): string {
		return `${this.#others.description}; ${this.#firstCount} meters on ${this.#first.description}`;
	}

	#of(meter: number): Target {
		return meter < this.#firstCount ? this.#first : this.#others;
	}

	async start(events: TargetEvents): Promise<void> {
		await this.#first.start(events);
		try {
			await this.#others.start(events);
		} catch (error) {
			await this.#first.stop();
			throw error;
		}
	}

	flashLoad(meter: number, address: number, bytes: Uint8Array): void {
		this.#of(meter).flashLoad(meter, address, bytes);
	}

	powerOn(meter: number, options: PowerOn): void {
		this.#of(meter).powerOn(meter, options);
	}

	advance(meter: number, untilMilliseconds: number): void {
		this.#of(meter).advance(meter, untilMilliseconds);
	}

	samples(meter: number, rowCount: number, repeat: boolean, rows: Uint8Array): void {
		this.#of(meter).samples(meter, rowCount, repeat, rows);
	}

	samplesLost(meter: number, rowCount: number): void {
		this.#of(meter).samplesLost(meter, rowCount);
	}

	linkOpened(meter: number): void {
		this.#of(meter).linkOpened(meter);
	}

	linkClosed(meter: number): void {
		this.#of(meter).linkClosed(meter);
	}

	linkWritable(meter: number): void {
		this.#of(meter).linkWritable(meter);
	}

	linkData(meter: number, bytes: Uint8Array): void {
		this.#of(meter).linkData(meter, bytes);
	}

	opticalData(meter: number, bytes: Uint8Array): void {
		this.#of(meter).opticalData(meter, bytes);
	}

	input(meter: number, which: number, value: number): void {
		this.#of(meter).input(meter, which, value);
	}

	powerCut(meter: number, flashOperations: number, tornBytes: number): void {
		this.#of(meter).powerCut(meter, flashOperations, tornBytes);
	}

	queryStatistics(meter: number): void {
		this.#of(meter).queryStatistics(meter);
	}

	async stop(): Promise<void> {
		await Promise.all([this.#first.stop(), this.#others.stop()]);
	}
}
