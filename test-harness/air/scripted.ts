import assert from "node:assert/strict";
import { Commissioning, DeviceState, Mt, MtItem } from "../../src/zigbee/mt-commands.js";
import type { Air } from "./air.js";
import { extendedBytes } from "./mac-frame.js";
import { MtHost } from "./mt-host.js";
import { LogicalType } from "./node.js";
import { ZnpModule } from "./znp-module.js";

export const NETWORK_KEY = "0102030405060708090a0b0c0d0e0f10";
export const LINK_KEY = Buffer.from("ZigBeeAlliance09").toString("hex");
/** Channel 15. */
export const CHANNEL_MASK = 1 << 15;
export const COORDINATOR = "00124b0000000001";

function u16(value: number): number[] {
	return [value & 0xff, value >> 8];
}

/** A scripted coordinator with a formed network and endpoint 1, for tests without a real host. */
export class ScriptedCoordinator extends MtHost {
	#transaction = 0;

	constructor(air: Air) {
		super(air, new ZnpModule(air, COORDINATOR));
		assert.ok(this.wait(Mt.sysResetIndication, 2), "the module boots");
		this.setItem(MtItem.logicalType, [LogicalType.coordinator]);
		this.setItem(MtItem.panId, u16(0x1a62));
		this.setItem(MtItem.preconfiguredKey, Buffer.from(NETWORK_KEY, "hex"));
		this.request(Mt.bdbSetChannel, [1, ...u16(CHANNEL_MASK), 0, 0]);
		this.request(Mt.bdbStartCommissioning, [Commissioning.formation]);
		assert.ok(
			this.wait(Mt.zdoStateChangeIndication, 5, (data) => data[0] === DeviceState.coordinator),
			"formed",
		);
		this.request(Mt.afRegister, [1, ...u16(0x0104), ...u16(5), 0, 0, 0, 0]);
	}

	setItem(id: number, bytes: readonly number[] | Uint8Array): void {
		this.request(Mt.sysNvItemInit, [...u16(id), ...u16(bytes.length), bytes.length, ...bytes]);
		assert.equal(this.request(Mt.sysNvWrite, [...u16(id), 0, bytes.length, ...bytes])[0], 0, `item ${id}`);
	}

	permitJoin(seconds: number): void {
		this.request(Mt.zdoManagementPermitJoinRequest, [15, ...u16(0xfffc), seconds, 1]);
	}

	addInstallCode(extendedAddress: string, codeWithCheck: Uint8Array): void {
		this.request(Mt.bdbAddInstallCode, [1, ...extendedBytes(extendedAddress), ...codeWithCheck]);
	}

	/** @returns the status of its confirmation */
	sendZcl(target: number, cluster: number, zcl: Uint8Array): number {
		const transaction = (this.#transaction = (this.#transaction + 1) & 0xff);
		const head = [2, ...u16(target), 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, ...u16(cluster), transaction, 0x10, 30];
		assert.equal(this.request(Mt.afDataRequestExtended, [...head, ...u16(zcl.length), ...zcl])[0], 0, "taken");
		return this.wait(Mt.afDataConfirm, 60, (data) => data[2] === transaction)?.[0] ?? -1;
	}

	/** The next ZCL frame on this cluster. */
	waitZcl(cluster: number, seconds: number): Buffer | undefined {
		const data = this.wait(Mt.afIncomingMessage, seconds, (one) => one.readUInt16LE(2) === cluster);
		return data?.subarray(17, 17 + data[16]!);
	}

	/** Binds a cluster of a device's endpoint 1 to ours. @returns the status */
	bind(target: number, extendedAddress: string, cluster: number): number {
		this.request(Mt.zdoBindRequest, [
			...u16(target),
			...extendedBytes(extendedAddress),
			1,
			...u16(cluster),
			3,
			...extendedBytes(COORDINATOR),
			1,
		]);
		return this.wait(0x05a1, 10)?.[2] ?? -1;
	}
}
