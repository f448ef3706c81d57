import { type Control, createControl, encodeControl } from "../../src/messages/control.js";
import type { Fleet } from "./fleet.js";
import type { MeterState } from "./meter-state.js";

/** Seals what goes to a meter and hands it to the link. */
export class Sending {
	readonly #fleet: Fleet;
	readonly #outgoing = new Uint8Array(64);
	readonly #outgoingView = new DataView(this.#outgoing.buffer);
	readonly #control: Control = createControl();

	constructor(fleet: Fleet) {
		this.#fleet = fleet;
	}

	/** Sends a short message. @returns false when it cannot be sent now */
	send(meter: MeterState, kind: number, requestId: number, first: number, second: number): boolean {
		if (!this.#fleet.link?.connected) return false;
		const control = this.#control;
		control.kind = kind;
		control.requestId = requestId;
		control.first = first;
		control.second = second;
		const byteLength = encodeControl(control, this.#outgoingView);
		if (!this.#fleet.channel.send(meter.id, this.#outgoing, byteLength)) return false;
		this.#fleet.messages.sent++;
		return true;
	}
}
