import type { Device } from "./bench.js";
import type { Mains } from "./mains.js";
import type { SerialLine, SerialPeer } from "./serial-line.js";

/** Silence that ends a frame: 3.5 characters at 9600 baud. */
const FRAME_GAP_MILLISECONDS = 4;
const ANSWER_MILLISECONDS = 20;
const START_WATTS = 0.4;

/** CRC by table, another way than the driver's. */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
	let crc = byte;
	for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
	return crc;
});

function crcOf(bytes: readonly number[]): number {
	return bytes.reduce((crc, byte) => (crc >>> 8) ^ TABLE[(crc ^ byte) & 255]!, 0xffff);
}

/** PZEM-004T V3.0: a Modbus module that keeps its energy over power cuts, in whole Wh. */
export class Pzem004tChip implements SerialPeer, Device {
	readonly baud = 9600;
	readonly parity = "none";
	isPowered = true;
	alarmWatts = 23_000;
	address = 1;
	/** Answers the next so many questions with this exception code. */
	exceptionCount = 0;
	writeCount = 0;
	readonly #mains: Mains;
	readonly #line: SerialLine;
	readonly #received: number[] = [];
	#receivedAt = 0;
	#answerAt = Number.POSITIVE_INFINITY;
	#answer: number[] = [];
	#wattHours = 0;
	#atMilliseconds = 0;

	constructor(mains: Mains, line: SerialLine) {
		this.#mains = mains;
		this.#line = line;
		line.connect(this);
	}

	setEnergy(wattHours: number): void {
		this.#wattHours = wattHours;
	}

	advance(nowMilliseconds: number): void {
		const hours = (nowMilliseconds - this.#atMilliseconds) / 3_600_000;
		this.#atMilliseconds = nowMilliseconds;
		const watts = Math.abs(this.#mains.seen(0).watts);
		if (this.isPowered && watts >= START_WATTS) this.#wattHours = (this.#wattHours + watts * hours) % 10_000_000;
		if (this.#answerAt > nowMilliseconds) return;
		this.#answerAt = Number.POSITIVE_INFINITY;
		this.#line.send(this.#answer, nowMilliseconds);
	}

	deadlineMilliseconds(): number {
		return this.#answerAt;
	}

	receive(byte: number, nowMilliseconds: number): void {
		if (!this.isPowered) return;
		if (nowMilliseconds - this.#receivedAt > FRAME_GAP_MILLISECONDS) this.#received.length = 0;
		this.#receivedAt = nowMilliseconds;
		this.#received.push(byte);
		// these two are shorter, and neither is for a meter
		const code = this.#received[1];
		if (code === 0x41 || code === 0x42) this.#line.illegal("PZEM-004T: calibration, or reset of its energy");
		if (this.#received.length < 8) return;
		const frame = this.#received.splice(0);
		if (crcOf(frame) === 0) this.#question(frame, nowMilliseconds);
		else this.#line.illegal("PZEM-004T: a question with a wrong CRC");
	}

	#question(frame: readonly number[], nowMilliseconds: number): void {
		const [address, code, high = 0, low = 0, countHigh = 0, countLow = 0] = frame;
		if (address !== this.address && address !== 0xf8) return;
		if (this.#answerAt < Number.POSITIVE_INFINITY) this.#line.illegal("PZEM-004T: asked before it answered");
		const register = high * 256 + low;
		const count = countHigh * 256 + countLow;
		let answer: number[];
		if (this.exceptionCount > 0) {
			this.exceptionCount--;
			answer = [address, code! | 0x80, 4];
		} else if (code === 0x04 && register + count <= 10)
			answer = [address, code, 2 * count, ...this.#inputs(register, count)];
		else if (code === 0x03 && register >= 1 && register + count <= 3) {
			const values = [this.alarmWatts, this.address].slice(register - 1, register - 1 + count);
			answer = [address, code, 2 * count, ...values.flatMap((value) => [value >> 8, value & 255])];
		} else if (code === 0x06 && register === 1) {
			this.alarmWatts = count;
			this.writeCount++;
			answer = frame.slice(0, 6);
		} else {
			this.#line.illegal(`PZEM-004T: function ${code}, register ${register}, ${count}`);
			return;
		}
		const crc = crcOf(answer);
		this.#answer = [...answer, crc & 255, crc >> 8];
		this.#answerAt = nowMilliseconds + ANSWER_MILLISECONDS;
	}

	#inputs(register: number, count: number): number[] {
		const seen = this.#mains.seen(0);
		const watts = Math.abs(seen.watts) < START_WATTS ? 0 : Math.abs(seen.watts);
		const current = Math.round(seen.amperes * 1000);
		const power = Math.round(watts * 10);
		const energy = Math.floor(this.#wattHours);
		const factor = seen.volts * seen.amperes > 0 ? Math.round((100 * watts) / (seen.volts * seen.amperes)) : 0;
		const all = [
			Math.round(seen.volts * 10),
			current & 0xffff,
			current >> 16,
			power & 0xffff,
			power >> 16,
			energy & 0xffff,
			energy >> 16,
			Math.round(this.#mains.frequencyHertz * 10),
			factor,
			watts > this.alarmWatts ? 0xffff : 0,
		];
		return all.slice(register, register + count).flatMap((value) => [value >> 8, value & 255]);
	}
}
