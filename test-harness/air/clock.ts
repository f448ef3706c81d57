/** Something to happen at a time; `cancel` makes it not happen. */
export interface Timer {
	cancel(): void;
}

interface Event {
	readonly atMicroseconds: number;
	readonly sequence: number;
	work: (() => void) | undefined;
}

/** The one clock of an air. Events of the same microsecond happen in the order in which they were scheduled. */
export class VirtualClock {
	nowMicroseconds = 0;
	#sequence = 0;
	readonly #heap: Event[] = [];

	get nowMilliseconds(): number {
		return this.nowMicroseconds / 1_000;
	}

	/** @param microseconds from now, 0 or more */
	after(microseconds: number, work: () => void): Timer {
		const event: Event = {
			atMicroseconds: this.nowMicroseconds + Math.max(0, Math.round(microseconds)),
			sequence: this.#sequence++,
			work,
		};
		const heap = this.#heap;
		let at = heap.push(event) - 1;
		while (at > 0) {
			const parent = (at - 1) >> 1;
			if (!isBefore(event, heap[parent]!)) break;
			heap[at] = heap[parent]!;
			at = parent;
		}
		heap[at] = event;
		return {
			cancel: () => {
				event.work = undefined;
			},
		};
	}

	/** Time of the next event; Infinity for none. */
	nextMicroseconds(): number {
		while (this.#heap.length > 0 && this.#heap[0]!.work === undefined) this.#pop();
		return this.#heap[0]?.atMicroseconds ?? Number.POSITIVE_INFINITY;
	}

	/** Runs everything up to and at this time, then stands there. */
	runUntil(microseconds: number): void {
		while (this.nextMicroseconds() <= microseconds) {
			const event = this.#pop();
			this.nowMicroseconds = event.atMicroseconds;
			const work = event.work;
			event.work = undefined;
			work?.();
		}
		this.nowMicroseconds = Math.max(this.nowMicroseconds, microseconds);
	}

	runSeconds(seconds: number): void {
		this.runUntil(this.nowMicroseconds + seconds * 1_000_000);
	}

	/** Runs until `isDone`, at most so many seconds. @returns whether it was done */
	runUntilTrue(isDone: () => boolean, secondsMax: number): boolean {
		const end = this.nowMicroseconds + secondsMax * 1_000_000;
		while (!isDone()) {
			const next = this.nextMicroseconds();
			if (next > end) {
				this.nowMicroseconds = end;
				return false;
			}
			this.runUntil(next);
		}
		return true;
	}

	#pop(): Event {
		const heap = this.#heap;
		const first = heap[0]!;
		const last = heap.pop()!;
		if (heap.length > 0) {
			let at = 0;
			for (;;) {
				let child = at * 2 + 1;
				if (child >= heap.length) break;
				if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
				if (!isBefore(heap[child]!, last)) break;
				heap[at] = heap[child]!;
				at = child;
			}
			heap[at] = last;
		}
		return first;
	}
}

function isBefore(a: Event, b: Event): boolean {
	return a.atMicroseconds < b.atMicroseconds || (a.atMicroseconds === b.atMicroseconds && a.sequence < b.sequence);
}

/** Lets virtual time follow real time, `speed` times as fast; for peers on real sockets. */
export class RealTimeDriver {
	readonly #clock: VirtualClock;
	readonly #speed: number;
	readonly #startReal: number;
	readonly #startVirtual: number;
	#timer: NodeJS.Timeout | undefined;
	#stopped = false;

	constructor(clock: VirtualClock, speed = 1) {
		this.#clock = clock;
		this.#speed = speed;
		this.#startReal = performance.now();
		this.#startVirtual = clock.nowMicroseconds;
		this.poke();
	}

	/** Brings virtual time up to now and waits for the next event. Call after giving the air something to do. */
	poke(): void {
		if (this.#stopped) return;
		const now = this.#startVirtual + (performance.now() - this.#startReal) * 1_000 * this.#speed;
		this.#clock.runUntil(now);
		clearTimeout(this.#timer);
		const wait = Math.min((this.#clock.nextMicroseconds() - now) / 1_000 / this.#speed, 1_000);
		this.#timer = setTimeout(() => this.poke(), Math.max(0, wait));
	}

	stop(): void {
		this.#stopped = true;
		clearTimeout(this.#timer);
	}
}
