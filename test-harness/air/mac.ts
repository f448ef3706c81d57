import type { Random } from "../waveforms/random.js";
import type { Timer, VirtualClock } from "./clock.js";
import {
	BROADCAST_ADDRESS,
	BROADCAST_PAN,
	decodeMacFrame,
	encodeMacFrame,
	type MacAddress,
	MacCommand,
	type MacFrame,
	MacType,
	NO_SHORT_ADDRESS,
} from "./mac-frame.js";
import { type Medium, Radio, type RadioListener } from "./medium.js";

/** Statuses of IEEE 802.15.4 as a Z-Stack reports them. */
export const MacStatus = Object.freeze({
	success: 0,
	channelAccessFailure: 0xe1,
	noAck: 0xe9,
	noData: 0xeb,
	transactionExpired: 0xf0,
} as const);

/** aUnitBackoffPeriod, 20 symbols of 16 microseconds. */
const BACKOFF_MICROSECONDS = 320;
const CCA_MICROSECONDS = 128;
/** aTurnaroundTime, 12 symbols. */
const TURNAROUND_MICROSECONDS = 192;
/** macAckWaitDuration, 54 symbols. */
const ACK_WAIT_MICROSECONDS = 864;
const BACKOFF_EXPONENT_MINIMUM = 3;
const BACKOFF_EXPONENT_MAXIMUM = 5;
const BACKOFFS_MAX = 4;
const RETRIES_MAX = 3;
/** How long a frame waits for a sleeping child: macTransactionPersistenceTime as Zigbee sets it. */
const PERSISTENCE_MICROSECONDS = 7_680_000;
/** macMaxFrameTotalWaitTime, rounded up: how long a sleepy device listens after "frame pending". */
const TOTAL_WAIT_MICROSECONDS = 100_000;

export interface MacListener {
	macData(source: MacAddress, target: MacAddress, payload: Uint8Array, lqi: number): void;
	macCommand(command: number, frame: MacFrame, lqi: number): void;
	macBeacon(frame: MacFrame, lqi: number): void;
}

interface Outgoing {
	readonly frame: MacFrame;
	readonly done: (status: number) => void;
	/** Called when the acknowledgement came with "frame pending". */
	readonly pending?: () => void;
	retries: number;
}

interface Indirect {
	readonly target: MacAddress;
	readonly outgoing: Outgoing;
	timer: Timer;
	/** It was asked for and is on its way. */
	isReleased: boolean;
}

/**
 * The MAC sublayer of one radio: CSMA-CA with back-off, acknowledgements, retries, duplicates, indirect frames for
 * sleeping children, and polling. IEEE 802.15.4-2006 without beacons (unslotted).
 */
export class Mac implements RadioListener {
	readonly radio: Radio;
	readonly extendedAddress: string;
	panId = BROADCAST_PAN;
	shortAddress = NO_SHORT_ADDRESS;
	/** macRxOnWhenIdle; false for sleepy devices. */
	isReceiverOnWhenIdle = true;
	/** A device that holds frames for this child until it polls. */
	isSleepyChild: (address: MacAddress) => boolean = () => false;
	isPoweredOn = true;
	retryCount = 0;
	readonly #medium: Medium;
	readonly #clock: VirtualClock;
	readonly #random: Random;
	readonly #listener: MacListener;
	readonly #queue: Outgoing[] = [];
	readonly #indirect: Indirect[] = [];
	readonly #seen = new Map<string, number>();
	#current: Outgoing | undefined;
	#ackTimer: Timer | undefined;
	#awaitedSequence = -1;
	#sequence: number;
	#listenUntil = 0;

	constructor(medium: Medium, random: Random, extendedAddress: string, listener: MacListener) {
		this.radio = new Radio(extendedAddress, this);
		this.extendedAddress = extendedAddress;
		this.#medium = medium;
		this.#clock = medium.clock;
		this.#random = random;
		this.#listener = listener;
		this.#sequence = random.integer(0, 255);
		medium.add(this.radio);
		this.#listen();
	}

	/** Call after changing `isReceiverOnWhenIdle` or power. */
	refresh(): void {
		this.#listen();
	}

	/** Forgets everything that was on its way. */
	reset(): void {
		this.#queue.length = 0;
		for (const indirect of this.#indirect.splice(0)) indirect.timer.cancel();
		this.#ackTimer?.cancel();
		this.#awaitedSequence = -1;
		this.#current = undefined;
		this.#seen.clear();
		this.panId = BROADCAST_PAN;
		this.shortAddress = NO_SHORT_ADDRESS;
		this.#listenUntil = 0;
		this.#listen();
	}

	/** Sends a data frame; to a sleepy child when it asks for it. */
	sendData(target: MacAddress, payload: Uint8Array, done: (status: number) => void): void {
		const isBroadcast = target === BROADCAST_ADDRESS;
		const frame: MacFrame = {
			type: MacType.data,
			sequence: this.#nextSequence(),
			ackRequest: !isBroadcast,
			panId: this.panId,
			target,
			source: this.shortAddress,
			payload,
		};
		this.#sendOrHold({ frame, done, retries: 0 });
	}

	/** Sends a frame that is already made, except for its sequence number. */
	sendFrame(frame: Omit<MacFrame, "sequence">, done: (status: number) => void = () => {}): void {
		this.#sendOrHold({ frame: { ...frame, sequence: this.#nextSequence() }, done, retries: 0 });
	}

	/** A sleepy device asks its parent. `done`: success when a frame is to come, `noData`, or the failure. */
	poll(parent: MacAddress, done: (status: number) => void): void {
		let isPending = false;
		const source = this.shortAddress === NO_SHORT_ADDRESS ? this.extendedAddress : this.shortAddress;
		this.#enqueue({
			frame: {
				type: MacType.command,
				sequence: this.#nextSequence(),
				ackRequest: true,
				panId: this.panId,
				target: parent,
				source,
				payload: Uint8Array.of(MacCommand.dataRequest),
			},
			pending: () => {
				isPending = true;
				this.#listenUntil = this.#clock.nowMicroseconds + TOTAL_WAIT_MICROSECONDS;
				this.#listen();
				this.#clock.after(TOTAL_WAIT_MICROSECONDS, () => this.#listen());
			},
			done: (status) => done(status !== MacStatus.success ? status : isPending ? status : MacStatus.noData),
			retries: 0,
		});
	}

	radioReceived(bytes: Uint8Array, lqi: number): void {
		if (!this.isPoweredOn) return;
		const frame = decodeMacFrame(bytes);
		if (!frame) return;
		if (frame.type === MacType.acknowledgement) {
			this.#acknowledged(frame);
			return;
		}
		if (!this.#isForMe(frame)) return;
		if (frame.ackRequest && frame.target !== BROADCAST_ADDRESS) this.#acknowledge(frame);
		if (frame.source !== undefined && frame.type !== MacType.beacon) {
			const key = `${frame.source}.${frame.type}`;
			if (this.#seen.get(key) === frame.sequence) {
				// The acknowledgement was lost. A data request is answered again all the same.
				if (frame.type !== MacType.command) return;
			}
			this.#seen.set(key, frame.sequence);
		}
		switch (frame.type) {
			case MacType.beacon:
				this.#listener.macBeacon(frame, lqi);
				return;
			case MacType.data:
				if (frame.source === undefined || frame.target === undefined) return;
				this.#listener.macData(frame.source, frame.target, frame.payload, lqi);
				return;
			case MacType.command:
				if (frame.payload[0] === MacCommand.dataRequest) {
					if (frame.source !== undefined) this.#release(frame.source);
					return;
				}
				this.#listener.macCommand(frame.payload[0] ?? 0, frame, lqi);
				return;
			default:
		}
	}

	#isForMe(frame: MacFrame): boolean {
		if (frame.type === MacType.beacon) return true;
		if (frame.target === undefined) return false;
		if (frame.panId !== BROADCAST_PAN && frame.panId !== this.panId) return false;
		if (frame.target === BROADCAST_ADDRESS) return true;
		return typeof frame.target === "number"
			? frame.target === this.shortAddress && this.shortAddress !== NO_SHORT_ADDRESS
			: frame.target === this.extendedAddress;
	}

	#nextSequence(): number {
		this.#sequence = (this.#sequence + 1) & 0xff;
		return this.#sequence;
	}

	#listen(): void {
		this.radio.isListening =
			this.isPoweredOn &&
			(this.isReceiverOnWhenIdle || this.#awaitedSequence >= 0 || this.#clock.nowMicroseconds < this.#listenUntil);
	}

	/** Opens the receiver for a while, for a scan or an answer. */
	listenFor(microseconds: number): void {
		this.#listenUntil = Math.max(this.#listenUntil, this.#clock.nowMicroseconds + microseconds);
		this.#listen();
		this.#clock.after(microseconds, () => this.#listen());
	}

	#sendOrHold(outgoing: Outgoing): void {
		const target = outgoing.frame.target;
		if (target !== undefined && target !== BROADCAST_ADDRESS && this.isSleepyChild(target)) {
			const indirect: Indirect = {
				target,
				outgoing,
				isReleased: false,
				timer: this.#clock.after(PERSISTENCE_MICROSECONDS, () => {
					const at = this.#indirect.indexOf(indirect);
					if (at < 0) return;
					this.#indirect.splice(at, 1);
					outgoing.done(MacStatus.transactionExpired);
				}),
			};
			this.#indirect.push(indirect);
		} else this.#enqueue(outgoing);
	}

	/** The child polled: its oldest frame goes out. It stays in the list until it is acknowledged or its time is over. */
	#release(child: MacAddress): void {
		const indirect = this.#indirect.find((one) => one.target === child);
		if (!indirect || indirect.isReleased) return;
		indirect.isReleased = true;
		const { frame } = indirect.outgoing;
		const framePending = this.#indirect.some((other) => other !== indirect && other.target === child);
		this.#enqueue({
			frame: { ...frame, framePending },
			retries: 0,
			done: (status) => {
				indirect.isReleased = false;
				const at = this.#indirect.indexOf(indirect);
				if (at < 0 || status !== MacStatus.success) return;
				this.#indirect.splice(at, 1);
				indirect.timer.cancel();
				indirect.outgoing.done(status);
			},
		});
	}

	#acknowledge(frame: MacFrame): void {
		const source = frame.source;
		const framePending =
			frame.type === MacType.command &&
			frame.payload[0] === MacCommand.dataRequest &&
			this.#indirect.some((indirect) => indirect.target === source);
		const bytes = encodeMacFrame({
			type: MacType.acknowledgement,
			sequence: frame.sequence,
			framePending,
			payload: new Uint8Array(0),
		});
		this.#clock.after(TURNAROUND_MICROSECONDS, () => {
			if (this.isPoweredOn && !this.radio.isSending) this.#medium.send(this.radio, bytes, () => {});
		});
	}

	#acknowledged(frame: MacFrame): void {
		if (frame.sequence !== this.#awaitedSequence || !this.#current) return;
		this.#ackTimer?.cancel();
		this.#awaitedSequence = -1;
		this.#listen();
		if (frame.framePending) this.#current.pending?.();
		this.#finish(MacStatus.success);
	}

	#enqueue(outgoing: Outgoing): void {
		this.#queue.push(outgoing);
		if (!this.#current) this.#next();
	}

	#next(): void {
		this.#current = this.#queue.shift();
		if (this.#current) this.#contend(this.#current, 0, BACKOFF_EXPONENT_MINIMUM);
	}

	#finish(status: number): void {
		const current = this.#current;
		this.#current = undefined;
		current?.done(status);
		if (!this.#current) this.#next();
	}

	/** Waits a random number of back-off periods, listens, and sends or waits again. */
	#contend(outgoing: Outgoing, backoffs: number, exponent: number): void {
		const wait = this.#random.integer(0, 2 ** exponent - 1) * BACKOFF_MICROSECONDS + CCA_MICROSECONDS;
		this.#clock.after(wait, () => {
			if (this.#current !== outgoing) return;
			if (!this.isPoweredOn) return;
			if (!this.#medium.isBusy(this.radio) && !this.radio.isSending) {
				this.#clock.after(TURNAROUND_MICROSECONDS, () => this.#transmit(outgoing));
			} else if (backoffs < BACKOFFS_MAX) {
				this.#contend(outgoing, backoffs + 1, Math.min(exponent + 1, BACKOFF_EXPONENT_MAXIMUM));
			} else this.#finish(MacStatus.channelAccessFailure);
		});
	}

	#transmit(outgoing: Outgoing): void {
		if (this.#current !== outgoing || !this.isPoweredOn) return;
		if (this.radio.isSending) {
			this.#contend(outgoing, 0, BACKOFF_EXPONENT_MINIMUM);
			return;
		}
		this.#medium.send(this.radio, encodeMacFrame(outgoing.frame), () => {
			if (this.#current !== outgoing) return;
			if (!outgoing.frame.ackRequest) {
				this.#finish(MacStatus.success);
				return;
			}
			this.#awaitedSequence = outgoing.frame.sequence;
			this.#listen();
			this.#ackTimer = this.#clock.after(ACK_WAIT_MICROSECONDS, () => {
				this.#awaitedSequence = -1;
				this.#listen();
				if (outgoing.retries++ < RETRIES_MAX) {
					this.retryCount++;
					this.#contend(outgoing, 0, BACKOFF_EXPONENT_MINIMUM);
				} else this.#finish(MacStatus.noAck);
			});
		});
	}
}
