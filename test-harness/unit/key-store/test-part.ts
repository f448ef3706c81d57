import { Status } from "../../../src/bytes/status.js";
import type { LeafKeys, RecordPart } from "../../../src/key-store/record-part.js";

/**
 * The smallest group scheme: a generation that moves with each staged message, and the leaf keys of two trees. 36 bytes:
 * 0x50, generation 1, epoch 2, two keys of 16.
 */
export class TestPart implements RecordPart {
	readonly byteLengthMax: number;
	state: Uint8Array = new Uint8Array(0);
	staged: Uint8Array | undefined;
	restores = 0;
	refuse: Status = Status.ok;

	constructor(byteLengthMax = 36) {
		this.byteLengthMax = byteLengthMax;
	}

	get generation(): number {
		return this.state[1] ?? -1;
	}

	stageDay(epoch: number, keys: LeafKeys, isNew: boolean): void {
		const staged = new Uint8Array(36);
		staged[0] = 0x50;
		staged[1] = isNew ? 0 : this.generation + 1;
		staged[2] = epoch >> 8;
		staged[3] = epoch;
		for (const tree of [0, 1])
			if (keys.deriveLeafKey(tree, staged, 4 + 16 * tree) !== Status.ok) throw new Error("no leaf key at hand");
		this.staged = staged;
	}

	/** What a message of the group would do. */
	stageGeneration(): void {
		this.staged = this.state.slice();
		this.staged[1]!++;
	}

	encodeStaged(into: DataView): number {
		const bytes = this.staged ?? this.state;
		for (const [i, byte] of bytes.entries()) into.setUint8(i, byte);
		return bytes.length;
	}

	commit(): void {
		if (this.staged !== undefined) this.state = this.staged;
		this.staged = undefined;
	}

	abort(): void {
		this.staged = undefined;
	}

	restore(from: DataView, byteLength: number): Status {
		this.restores++;
		this.staged = undefined;
		this.state = Uint8Array.from({ length: byteLength }, (_, i) => from.getUint8(i));
		return byteLength === 0 ? Status.ok : this.refuse;
	}
}
