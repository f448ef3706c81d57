import type { Status } from "../../../src/bytes/status.js";
import { chooseScale } from "../../../src/zigbee/zcl/scale.js";
import { ZclServer } from "../../../src/zigbee/zcl/zcl-server.js";
import { describeDevice, FixedLoad, MemoryStore } from "../../air/virtual-meter.js";

/** A server fed with frames in a buffer with something behind them. */
export class MessageBench {
	readonly server: ZclServer;
	readonly store = new MemoryStore();
	#answers: string[] = [];

	constructor(phaseCount: 1 | 3) {
		const load = new FixedLoad(phaseCount, 1_000_000);
		load.profile = [1_000_000, 2_000_000];
		this.server = new ZclServer(
			{
				device: describeDevice(phaseCount),
				scale: chooseScale(phaseCount, 300_000, 100_000),
				manufacturerCode: 0x1234,
				evaluationMilliseconds: 1_000,
				timeRequestSeconds: 86_400,
				retryMilliseconds: 2_000,
			},
			load,
			this.store,
			{
				send: (_mode, _address, _endpoint, _cluster, bytes, byteLength) => {
					this.#answers.push(Buffer.from(bytes.subarray(0, byteLength)).toString("hex"));
					return 1;
				},
			},
		);
		this.server.start(0);
	}

	at(
		frame: Uint8Array,
		cluster: number,
		second: number,
		behind: number,
		isBroadcast: boolean,
	): { status: Status; answers: Buffer[] } {
		this.#answers = [];
		const payload = new Uint8Array(frame.length + 24).fill(behind);
		payload.set(frame, 4);
		const status = this.server.receive(second * 1_000, {
			sourceAddress: 0,
			sourceEndpoint: 1,
			targetEndpoint: 1,
			group: 0,
			cluster,
			isBroadcast,
			linkQuality: 1,
			payload,
			start: 4,
			byteLength: frame.length,
		});
		return { status, answers: this.#answers.map((hex) => Buffer.from(hex, "hex")) };
	}
}
