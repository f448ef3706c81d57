/** Sequences from `first` up to but not including `next`. */
export interface Range {
	first: number;
	next: number;
}

/** A set of sequence numbers kept as ordered ranges that neither overlap nor touch. Memory follows the holes, not the rows. */
export class Ranges {
	readonly #ranges: Range[] = [];
	/** How many sequences are in the set. */
	count = 0;

	/** Index of the first range that ends after `sequence`. */
	#indexAfter(sequence: number): number {
		let low = 0;
		let high = this.#ranges.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (this.#ranges[middle]!.next > sequence) high = middle;
			else low = middle + 1;
		}
		return low;
	}

	has(sequence: number): boolean {
		const range = this.#ranges[this.#indexAfter(sequence)];
		return range !== undefined && range.first <= sequence;
	}

	/** Adds `first` to `next - 1`; an empty range changes nothing. */
	add(first: number, next: number = first + 1): void {
		if (next <= first) return;
		let index = this.#indexAfter(first - 1); // a range that ends at `first` touches it and is joined
		if (index > 0 && this.#ranges[index - 1]!.next === first) index--;
		let joined = 0;
		let joinedFirst = first;
		let joinedNext = next;
		while (index + joined < this.#ranges.length && this.#ranges[index + joined]!.first <= next) {
			const range = this.#ranges[index + joined]!;
			joinedFirst = Math.min(joinedFirst, range.first);
			joinedNext = Math.max(joinedNext, range.next);
			this.count -= range.next - range.first;
			joined++;
		}
		this.#ranges.splice(index, joined, { first: joinedFirst, next: joinedNext });
		this.count += joinedNext - joinedFirst;
	}

	/** Takes `first` to `next - 1` out; an empty range changes nothing. */
	remove(first: number, next: number = first + 1): void {
		if (next <= first) return;
		const index = this.#indexAfter(first);
		const kept: Range[] = [];
		let touched = 0;
		while (index + touched < this.#ranges.length && this.#ranges[index + touched]!.first < next) {
			const range = this.#ranges[index + touched]!;
			this.count -= range.next - range.first;
			if (range.first < first) kept.push({ first: range.first, next: first });
			if (range.next > next) kept.push({ first: next, next: range.next });
			touched++;
		}
		for (const range of kept) this.count += range.next - range.first;
		this.#ranges.splice(index, touched, ...kept);
	}

	/** The greatest member below `sequence`, NaN when there is none. */
	below(sequence: number): number {
		const index = this.#indexAfter(sequence - 1);
		const range = this.#ranges[index];
		if (range !== undefined && range.first < sequence) return sequence - 1;
		return index > 0 ? this.#ranges[index - 1]!.next - 1 : Number.NaN;
	}

	/** The least member above `sequence`, NaN when there is none. */
	above(sequence: number): number {
		const range = this.#ranges[this.#indexAfter(sequence + 1)];
		return range === undefined ? Number.NaN : Math.max(range.first, sequence + 1);
	}

	/** Where the range that holds `sequence` ends; `sequence` itself when it is not a member. */
	endOf(sequence: number): number {
		const range = this.#ranges[this.#indexAfter(sequence)];
		return range !== undefined && range.first <= sequence ? range.next : sequence;
	}

	/** The greatest member, NaN when empty. */
	last(): number {
		const range = this.#ranges[this.#ranges.length - 1];
		return range === undefined ? Number.NaN : range.next - 1;
	}

	list(): Range[] {
		return this.#ranges.map((range) => ({ ...range }));
	}
}

/**
 * What of `first` to `next - 1` is in neither set, in order.
 * @param rangesMax stops after so many ranges
 */
export function missingRanges(
	first: number,
	next: number,
	present: Ranges,
	gone: Ranges,
	rangesMax = Number.POSITIVE_INFINITY,
): Range[] {
	const missing: Range[] = [];
	let at = first;
	while (at < next && missing.length < rangesMax) {
		if (present.has(at) || gone.has(at)) {
			// leap over the range that holds `at`
			const inPresent = present.has(at) ? present.endOf(at) : at;
			const inGone = gone.has(at) ? gone.endOf(at) : at;
			at = Math.max(inPresent, inGone);
			continue;
		}
		const untilPresent = present.above(at);
		const untilGone = gone.above(at);
		const end = Math.min(
			next,
			Number.isNaN(untilPresent) ? next : untilPresent,
			Number.isNaN(untilGone) ? next : untilGone,
		);
		missing.push({ first: at, next: end });
		at = end;
	}
	return missing;
}
