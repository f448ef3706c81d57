import { crc32 } from "../../src/bytes/crc.js";
import type { Device } from "./bench.js";
import type { I2cBus, I2cPeer, SpiBus, SpiPeer } from "./buses.js";
import type { Mains } from "./mains.js";

const FULL_SCALE_VOLTS = 0.5 / Math.SQRT2;
const BOOT_MILLISECONDS = 100;
const UPDATE_MILLISECONDS = 150;

/** Registers that can be written: bytes and value after reset. Addresses of 24 bits stand for their 32-bit twin. */
const WRITABLE: Readonly<Record<number, readonly [byteLength: number, reset: number]>> = {
	0: [1, 0],
	1: [1, 0],
	4: [1, 0x40],
	7: [1, 0],
	8: [1, 0],
	9: [1, 0],
	64: [1, 0],
	258: [2, 0x8004],
	264: [2, 0],
	265: [2, 0],
	272: [2, 0],
	288: [2, 0],
	513: [3, 0],
	515: [3, 0x00_e419],
	516: [3, 0x00_e419],
	517: [3, 0],
	556: [3, 0x10_0000],
	...Object.fromEntries(
		[0x280, 0x281, 0x282, 0x283, 0x284, 0x28c, 0x28d, 0x28e, 0x28f, 0x290].map((at) => [at, [3, 0x40_0000] as const]),
	),
};

/** Registers that can only be read, and their bytes. */
const READABLE: Readonly<Record<number, number>> = {
	253: 1,
	270: 2,
	510: 2,
	530: 3,
	531: 3,
	532: 3,
	533: 3,
	538: 3,
	539: 3,
	540: 3,
	542: 3,
	543: 3,
	544: 3,
	545: 3,
	557: 3,
	558: 3,
	639: 4,
	1794: 1,
};

/** ADE7953 with one voltage and two currents, after its data sheet Rev. B. Phase 0 of the mains is A, phase 1 is B. */
export class Ade7953Chip implements SpiPeer, I2cPeer, Device {
	readonly modes = [0, 3];
	readonly address = 0x38;
	hzMax = 5_000_000;
	resetCount = 0;
	readonly #mains: Mains;
	readonly #bus: SpiBus | I2cBus;
	readonly #ratio: number;
	readonly #ohms: readonly number[];
	readonly #values = new Map<number, number>();
	readonly #measured = new Map<number, number>();
	/** Exact counts of AENERGYA, AENERGYB, RENERGYA, RENERGYB. */
	readonly #energies = [0, 0, 0, 0];
	#interrupts = 0;
	#lastAddress = 0;
	#lastOperation = 0;
	#lastData = 0;
	#unlocked = false;
	#bootedAt = 0;
	#atMilliseconds = 0;
	#updateAt = 0;
	#i2cAddress = 0;
	#digest: number | undefined;

	constructor(mains: Mains, bus: SpiBus | I2cBus, ratio: number, microohms: readonly number[]) {
		this.#mains = mains;
		this.#bus = bus;
		this.#ratio = ratio;
		this.#ohms = microohms.map((each) => each / 1e6);
		if ("connect" in bus) (bus as { connect(peer: Ade7953Chip): void }).connect(this);
		this.reset();
	}

	get isThere(): boolean {
		return this.#atMilliseconds >= this.#bootedAt;
	}

	reset(): void {
		this.resetCount++;
		this.#digest = undefined;
		this.#values.clear();
		for (const [address, [, value]] of Object.entries(WRITABLE)) this.#values.set(Number(address), value);
		this.#energies.fill(0);
		this.#interrupts = 0x10_0000;
		this.#bootedAt = this.#atMilliseconds + BOOT_MILLISECONDS;
	}

	/** One bit of one setting turns over, as a disturbance does it. */
	upset(address: number): void {
		this.#digest = undefined;
		this.#values.set(address, this.#values.get(address)! ^ 1);
	}

	setCounters(count: number): void {
		this.#energies.fill(count);
	}

	setting(address: number): number {
		return this.#values.get(address) ?? Number.NaN;
	}

	advance(nowMilliseconds: number): void {
		while (this.#updateAt <= nowMilliseconds) {
			this.#integrate(this.#updateAt);
			this.#update();
			this.#updateAt += UPDATE_MILLISECONDS;
		}
		this.#integrate(nowMilliseconds);
	}

	deadlineMilliseconds(): number {
		return Number.POSITIVE_INFINITY;
	}

	transfer(bytes: Uint8Array): void {
		if (!this.isThere) {
			bytes.fill(255);
			return;
		}
		const address = (bytes[0]! << 8) | bytes[1]!;
		const command = bytes[2]!;
		if (command === 0x80) this.#answer(address, bytes.subarray(3));
		else if (command === 0x00) this.#set(address, bytes.subarray(3));
		else this.#bus.illegal(`ADE7953: SPI command 0x${command.toString(16)}`);
	}

	write(bytes: Uint8Array): void {
		const address = (bytes[0]! << 8) | bytes[1]!;
		if (bytes.length === 2) this.#i2cAddress = address;
		else this.#set(address, bytes.subarray(2));
	}

	read(into: Uint8Array): void {
		this.#answer(this.#i2cAddress, into);
	}

	#place(address: number): number {
		return address >= 0x300 && address < 0x400 ? address - 0x100 : address;
	}

	#answer(address: number, into: Uint8Array): void {
		const last = [0x0ff, 0x1ff, 0x2ff, 0x3ff].indexOf(address);
		let value: number;
		if (last >= 0) {
			if (into.length !== last + 1) return void this.#refuse("ADE7953: length of LAST_RWDATA", into);
			value = this.#lastData;
		} else if (address === 0x1fe) value = this.#lastAddress;
		else if (address === 0x0fd) value = this.#lastOperation;
		else {
			const place = this.#place(address);
			const known = WRITABLE[place]?.[0] ?? READABLE[place];
			const byteLength = known === 3 && address !== place ? 4 : known;
			if (byteLength !== into.length) return void this.#refuse(`ADE7953: no register 0x${address.toString(16)}`, into);
			value = this.#value(place);
			if (byteLength === 4 && place < 0x22c && value >= 0x80_0000) value += 0xff00_0000;
			this.#lastAddress = address;
			this.#lastOperation = 0x35;
			this.#lastData = value;
		}
		for (let i = into.length - 1; i >= 0; i--) {
			into[i] = value & 255;
			value = Math.floor(value / 256);
		}
	}

	#refuse(what: string, into: Uint8Array): void {
		this.#bus.illegal(what);
		into.fill(0);
	}

	#value(place: number): number {
		const energy = [0x21e, 0x21f, 0x220, 0x221].indexOf(place);
		if (energy >= 0) {
			const count = Math.trunc(this.#energies[energy]!);
			if ((this.#values.get(0x004)! & 0x40) !== 0) this.#energies[energy]! -= count;
			return ((count % 0x100_0000) + 0x100_0000) % 0x100_0000;
		}
		if (place === 0x22d) return this.#interrupts;
		if (place === 0x22e) {
			const value = this.#interrupts;
			this.#interrupts = 0;
			return value;
		}
		if (place === 0x27f) return this.#checksum();
		return this.#values.get(place) ?? this.#measured.get(place) ?? 0;
	}

	/** Its polynomial does not matter to anybody who only compares: any change of a setting changes it. */
	#checksum(): number {
		if ((this.#values.get(0x102)! & 0x0100) === 0) return 0xffff_ffff;
		if (this.#digest !== undefined) return this.#digest;
		const bytes = new Uint8Array(Float64Array.from([...this.#values].sort(([a], [b]) => a - b).flat()).buffer);
		this.#digest = crc32(bytes, 0, bytes.length);
		return this.#digest;
	}

	#set(address: number, from: Uint8Array): void {
		let value = 0;
		for (const byte of from) value = value * 256 + byte;
		if (address === 0x0fe && from.length === 1) {
			this.#unlocked = value === 0xad;
			return;
		}
		const place = this.#place(address);
		const known = WRITABLE[place];
		const byteLength = known?.[0] === 3 && address !== place ? 4 : known?.[0];
		if (byteLength !== from.length)
			return void this.#bus.illegal(`ADE7953: 0x${address.toString(16)} cannot be written with ${from.length} bytes`);
		const guard = byteLength === 1 ? 1 : byteLength === 2 ? 2 : 4;
		if (place !== 0x040 && (this.#values.get(0x040)! & guard) !== 0)
			return void this.#bus.illegal("ADE7953: written while protected");
		if (place === 0x120 && (!this.#unlocked || value !== 0x30))
			return void this.#bus.illegal("ADE7953: 0x120 takes 0x30 behind 0xFE = 0xAD");
		if ((place === 0x203 || place === 0x204) && (this.#values.get(0x001)! & 3) !== 3)
			return void this.#bus.illegal("ADE7953: no-load detection is off while its threshold is written");
		if (place >= 0x280 && (value < 0x20_0000 || value > 0x60_0000)) return void this.#bus.illegal("ADE7953: gain");
		if ((place === 0x108 || place === 0x109) && value > 0x3ff) return void this.#bus.illegal("ADE7953: phase");
		this.#unlocked = false;
		if (place === 0x102 && (value & 0x80) !== 0) return void this.reset();
		this.#values.set(place, value);
		this.#digest = undefined;
		this.#lastAddress = address;
		this.#lastOperation = 0xca;
		this.#lastData = value;
	}

	#power(channel: number): { watts: number; vars: number } {
		if (channel >= this.#ohms.length) return { watts: 0, vars: 0 };
		const phase = this.#values.get(0x108 + channel)!;
		const nanoseconds = (phase & 0x1ff) * 1117 * ((phase & 0x200) !== 0 ? 1 : -1);
		const seen = this.#mains.seen(channel, nanoseconds);
		const gain = this.#values.get(channel === 0 ? 0x282 : 0x28e)! / 0x40_0000;
		const reactiveGain = this.#values.get(channel === 0 ? 0x283 : 0x28f)! / 0x40_0000;
		return { watts: seen.watts * gain, vars: seen.vars * reactiveGain };
	}

	#fullScaleWatts(channel: number): number {
		return (FULL_SCALE_VOLTS * this.#ratio * FULL_SCALE_VOLTS) / this.#ohms[channel]!;
	}

	/** The part below its no-load threshold is not counted. */
	#loaded(channel: number, value: number, place: number, bit: number): number {
		if ((this.#values.get(0x001)! & bit) !== 0) return value;
		const ratio = (65_536 - this.#values.get(place)!) * 1.4;
		return Math.abs(value) < this.#fullScaleWatts(channel) / ratio ? 0 : value;
	}

	#integrate(nowMilliseconds: number): void {
		const seconds = (nowMilliseconds - Math.max(this.#atMilliseconds, this.#bootedAt)) / 1000;
		this.#atMilliseconds = nowMilliseconds;
		if (seconds <= 0) return;
		for (let i = 0; i < this.#ohms.length; i++) {
			const { watts, vars } = this.#power(i);
			const perSecond = 206_900 / this.#fullScaleWatts(i);
			this.#energies[i]! += this.#loaded(i, watts, 0x203, 1) * perSecond * seconds;
			this.#energies[2 + i]! += this.#loaded(i, vars, 0x204, 2) * perSecond * seconds;
		}
	}

	#update(): void {
		const put = (place: number, value: number): void => {
			this.#measured.set(place, (Math.round(value) + 0x100_0000) % 0x100_0000);
		};
		put(0x10e, 223_750 / this.#mains.frequencyHertz - 1);
		for (let i = 0; i < this.#ohms.length; i++) {
			const seen = this.#mains.seen(i);
			const { watts, vars } = this.#power(i);
			if (i === 0) put(0x21c, (seen.volts / this.#ratio / FULL_SCALE_VOLTS) * 9_032_007);
			put(0x21a + i, ((seen.amperes * this.#ohms[i]!) / FULL_SCALE_VOLTS) * 9_032_007);
			put(0x212 + i, (watts / this.#fullScaleWatts(i)) * 4_862_401);
			put(0x214 + i, (vars / this.#fullScaleWatts(i)) * 4_862_401);
		}
	}
}
