import { Status } from "../bytes/status.js";
import { Source } from "../commands/authorisation.js";
import { CONTENT_PREFIX_BYTES } from "../messages/channel.js";
import { createControl, decodeControl, encodeControl } from "../messages/control.js";
import { PLAIN_ENVELOPE_BYTES } from "../messages/envelope.js";
import { Kind } from "../messages/kinds.js";
import { downTopic } from "../messages/topics.js";
import {
	type Channel,
	type ChannelListener,
	ROUND_TRIP_MAX_MILLISECONDS,
	TIME_PERIOD_MILLISECONDS,
	TIME_RETRY_MILLISECONDS,
} from "./channel.js";
import { SLEW_LIMIT_SECONDS } from "./wall-clock.js";

/** Messages as they are, in the frame of `PlainEnvelope`: for tests, and to compare costs with. It protects nothing. */
export class PlainChannel implements Channel {
	readonly overheadBytesMax = 0;
	readonly isReady = true;
	messageBytes = 0;
	readonly arrival = { source: Source.headEnd, index: 0, isExpired: false };
	readonly #listener: ChannelListener;
	readonly #random: () => number;
	readonly #topics: readonly string[];
	readonly #control = createControl();
	#timeDue = Number.POSITIVE_INFINITY;
	#requestId = 0;
	#sentAt = Number.NEGATIVE_INFINITY;
	/** Step that the last answer asked for, s; NaN: none. */
	#unconfirmedOffset = Number.NaN;

	constructor(identifier: string, random: () => number, listener: ChannelListener) {
		this.#topics = [downTopic(identifier)];
		this.#random = random;
		this.#listener = listener;
	}

	topics(): readonly string[] {
		return this.#topics;
	}

	connected(nowMilliseconds: number): void {
		if (this.#timeDue === Number.POSITIVE_INFINITY || Number.isNaN(this.#listener.utcSeconds()))
			this.#timeDue = nowMilliseconds;
	}

	disconnected(): void {
		this.#sentAt = Number.NEGATIVE_INFINITY;
	}

	transmit(nowMilliseconds: number, into: Uint8Array): number {
		if (nowMilliseconds < this.#timeDue) return 0;
		const control = this.#control;
		control.kind = Kind.timeRequest;
		// Random, not counted: a counter starts again with each boot, and the answer to a question of an earlier boot may
		// still wait at the broker, with the time of then.
		control.requestId = this.#requestId = 1 + Math.floor(this.#random() * 0xffff);
		this.#sentAt = nowMilliseconds;
		this.#timeDue = nowMilliseconds + TIME_RETRY_MILLISECONDS;
		into[0] = 1;
		into[1] = 0;
		return (
			PLAIN_ENVELOPE_BYTES + encodeControl(control, new DataView(into.buffer, into.byteOffset + PLAIN_ENVELOPE_BYTES))
		);
	}

	deadlineMilliseconds(): number {
		return this.#timeDue;
	}

	tick(): void {}

	requestTime(nowMilliseconds: number): void {
		this.#timeDue = nowMilliseconds;
	}

	seal(content: Uint8Array, contentBytes: number, into: Uint8Array): number {
		content[0] = 1;
		content[1] = 0;
		for (let i = 0; i < contentBytes; i++) into[i] = content[i]!;
		return contentBytes;
	}

	receive(
		nowMilliseconds: number,
		_topic: string,
		payload: Uint8Array,
		byteLength: number,
		content: Uint8Array,
	): Status {
		const messageBytes = byteLength - PLAIN_ENVELOPE_BYTES;
		if (messageBytes < 2 || byteLength > content.length) return Status.badLength; // ENV-1
		if (payload[0] !== 1) return Status.badVersion; // ENV-2
		if (payload[1] !== 0) return Status.unsupported; // ENV-3
		for (let i = 0; i < byteLength; i++) content[i] = payload[i]!;
		this.messageBytes = messageBytes;
		if (content[CONTENT_PREFIX_BYTES] !== Kind.time) return Status.ok;
		this.messageBytes = 0;
		return this.#time(
			nowMilliseconds,
			new DataView(content.buffer, content.byteOffset + CONTENT_PREFIX_BYTES),
			messageBytes,
		);
	}

	#time(nowMilliseconds: number, view: DataView, byteLength: number): Status {
		const control = this.#control;
		const status = decodeControl(view, byteLength, control);
		if (status !== Status.ok) return status;
		if (control.requestId === 0) {
			this.#timeDue = nowMilliseconds; // ask, so that the round trip is known
			return Status.ok;
		}
		const roundTrip = nowMilliseconds - this.#sentAt;
		if (control.requestId !== this.#requestId || !(roundTrip <= ROUND_TRIP_MAX_MILLISECONDS)) return Status.outOfOrder;
		this.#sentAt = Number.NEGATIVE_INFINITY; // an answer counts once
		this.#timeDue = nowMilliseconds + TIME_PERIOD_MILLISECONDS;
		const half = roundTrip / 2000;
		const utcSeconds = control.first + control.second / 1000 + half;
		// A step of a valid clock wants a second answer that agrees: an answer may have waited at the broker since an
		// earlier boot and, once in 65 535, carry the number of the question of now.
		const offset = utcSeconds - this.#listener.utcSeconds();
		if (Math.abs(offset) > SLEW_LIMIT_SECONDS && !(Math.abs(offset - this.#unconfirmedOffset) <= SLEW_LIMIT_SECONDS)) {
			this.#unconfirmedOffset = offset;
			this.#timeDue = nowMilliseconds;
			return Status.ok;
		}
		this.#unconfirmedOffset = Number.NaN;
		this.#listener.timeReceived(utcSeconds, half);
		return Status.ok;
	}
}
