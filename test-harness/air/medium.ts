import type { Random } from "../waveforms/random.js";
import type { VirtualClock } from "./clock.js";

/** Microseconds for one byte at 250 kbit/s. */
const BYTE_MICROSECONDS = 32;
/** Preamble, start delimiter and length. */
const HEADER_BYTES = 6;

/** One direction of a radio link. */
export interface RadioLink {
	/** Frames in a thousand that do not arrive. */
	readonly lossPerMille: number;
	/** Link quality as the receiver reports it, 0 to 255. */
	readonly lqi: number;
	/** How much later than light the frame is handed over, for a slow receiver. */
	readonly delayMicroseconds: number;
}

export interface RadioListener {
	/** A frame ended. Damaged ones do not come. */
	radioReceived(frame: Uint8Array, lqi: number): void;
}

/** A radio in the air. It hears while `isListening` and while it does not send. */
export class Radio {
	channel = 11;
	isListening = false;
	isSending = false;
	readonly name: string;
	readonly listener: RadioListener;
	/** Where it stands, metres. */
	x = 0;
	y = 0;

	constructor(name: string, listener: RadioListener) {
		this.name = name;
		this.listener = listener;
	}
}

interface Transmission {
	readonly radio: Radio;
	readonly channel: number;
	readonly endMicroseconds: number;
}

interface Reception {
	readonly radio: Radio;
	isDamaged: boolean;
}

export interface MediumStatistics {
	frames: number;
	bytes: number;
	airtimeMicroseconds: number;
	collisions: number;
	losses: number;
}

/**
 * A shared radio channel: who hears whom, how well, and what happens when two send at once. A frame takes
 * `(6 + bytes) * 32` microseconds. A receiver that hears two frames at the same time gets neither; one that sends or
 * sleeps hears nothing. There is no capture effect and no propagation delay (300 m are one microsecond).
 */
export class Medium {
	readonly clock: VirtualClock;
	readonly statistics: MediumStatistics = { frames: 0, bytes: 0, airtimeMicroseconds: 0, collisions: 0, losses: 0 };
	/** Sees every frame as it is sent. */
	tap: ((nowMicroseconds: number, frame: Uint8Array, from: Radio) => void) | undefined;
	/** The link of every pair that has none of its own; undefined: they do not hear each other. */
	defaultLink: RadioLink | undefined = { lossPerMille: 0, lqi: 180, delayMicroseconds: 0 };
	readonly #random: Random;
	readonly #radios: Radio[] = [];
	readonly #links = new Map<Radio, Map<Radio, RadioLink | undefined>>();
	readonly #transmissions = new Set<Transmission>();
	readonly #receptions = new Map<Radio, Set<Reception>>();
	#jammedUntil = 0;

	constructor(clock: VirtualClock, random: Random) {
		this.clock = clock;
		this.#random = random;
	}

	add(radio: Radio): void {
		this.#radios.push(radio);
		this.#receptions.set(radio, new Set());
	}

	get radios(): readonly Radio[] {
		return this.#radios;
	}

	/** Sets the link of a pair in both directions; undefined cuts it. */
	link(a: Radio, b: Radio, link: Partial<RadioLink> | undefined): void {
		this.linkOneWay(a, b, link);
		this.linkOneWay(b, a, link);
	}

	linkOneWay(from: Radio, to: Radio, link: Partial<RadioLink> | undefined): void {
		let row = this.#links.get(from);
		if (!row) this.#links.set(from, (row = new Map()));
		row.set(to, link && { lossPerMille: 0, lqi: 180, delayMicroseconds: 0, ...link });
	}

	/** The link, undefined where nothing is heard. */
	linkOf(from: Radio, to: Radio): RadioLink | undefined {
		const row = this.#links.get(from);
		return row?.has(to) ? row.get(to) : this.defaultLink;
	}

	/**
	 * Links all radios by their distance: full quality up to a third of the range, then falling, with loss growing to
	 * half of all frames at the edge.
	 */
	linkByDistance(rangeMetres: number): void {
		for (const a of this.#radios)
			for (const b of this.#radios) {
				if (a === b) continue;
				const part = Math.hypot(a.x - b.x, a.y - b.y) / rangeMetres;
				const far = Math.max(0, (part - 1 / 3) * 1.5);
				this.linkOneWay(
					a,
					b,
					part > 1
						? undefined
						: { lqi: Math.round(255 - 235 * Math.min(1, far)), lossPerMille: Math.round(500 * far ** 3) },
				);
			}
	}

	/** Noise for so long: everybody finds the channel busy, and no frame gets through. */
	jam(microseconds: number): void {
		this.#jammedUntil = this.clock.nowMicroseconds + microseconds;
		for (const receptions of this.#receptions.values()) for (const reception of receptions) reception.isDamaged = true;
	}

	/** Clear channel assessment: does this radio hear anyone send? */
	isBusy(radio: Radio): boolean {
		if (this.clock.nowMicroseconds < this.#jammedUntil) return true;
		for (const sent of this.#transmissions)
			if (sent.radio !== radio && sent.channel === radio.channel && this.linkOf(sent.radio, radio)) return true;
		return false;
	}

	static airtimeMicroseconds(byteLength: number): number {
		return (HEADER_BYTES + byteLength) * BYTE_MICROSECONDS;
	}

	/** Sends now, whatever the channel is doing. `done` follows when the last byte is out. */
	send(radio: Radio, frame: Uint8Array, done: () => void): void {
		const duration = Medium.airtimeMicroseconds(frame.length);
		const sent: Transmission = {
			radio,
			channel: radio.channel,
			endMicroseconds: this.clock.nowMicroseconds + duration,
		};
		this.#transmissions.add(sent);
		radio.isSending = true;
		for (const reception of this.#receptions.get(radio)!) reception.isDamaged = true;
		this.statistics.frames++;
		this.statistics.bytes += frame.length;
		this.statistics.airtimeMicroseconds += duration;
		this.tap?.(this.clock.nowMicroseconds, frame, radio);
		const receptions: { reception: Reception; link: RadioLink }[] = [];
		for (const other of this.#radios) {
			if (other === radio || other.channel !== radio.channel) continue;
			const link = this.linkOf(radio, other);
			if (!link) continue;
			const heard = this.#receptions.get(other)!;
			const reception: Reception = {
				radio: other,
				isDamaged: !other.isListening || other.isSending || this.clock.nowMicroseconds < this.#jammedUntil,
			};
			if (heard.size > 0 && other.isListening) {
				for (const earlier of heard) {
					if (!earlier.isDamaged) this.statistics.collisions++;
					earlier.isDamaged = true;
				}
				reception.isDamaged = true;
			}
			heard.add(reception);
			receptions.push({ reception, link });
		}
		this.clock.after(duration, () => {
			this.#transmissions.delete(sent);
			radio.isSending = false;
			for (const { reception, link } of receptions) {
				const to = reception.radio;
				this.#receptions.get(to)!.delete(reception);
				if (reception.isDamaged || !to.isListening) continue;
				if (this.#random.unit() * 1_000 < link.lossPerMille) {
					this.statistics.losses++;
					continue;
				}
				if (link.delayMicroseconds === 0) to.listener.radioReceived(frame, link.lqi);
				else this.clock.after(link.delayMicroseconds, () => to.listener.radioReceived(frame, link.lqi));
			}
			done();
		});
	}
}
